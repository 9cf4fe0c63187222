//! Random lives of many clients: after each step all books agree.

use std::collections::HashMap;
use std::env;

use super::*;
use crate::base::public_define::USER_CNT_INC;
use crate::pb::base_define::MsgType;
use crate::pb::login::{ImKickPcClientReq, ImLogoutReq};
use crate::pb::message::{ImMsgData, ImMsgDataAck};
use crate::pb::server::{ImServerKickUser, ImUserCntUpdate, ImUserStatusUpdate};

const USERS: u32 = 6;
const TYPES: [ClientType; 4] = [WINDOWS, MAC, IOS, ANDROID];

/// What the other servers were told.
#[derive(Default)]
struct Told {
    users: i64,
    online: HashMap<(u32, i32), i64>,
}

impl Told {
    fn read(&mut self, bed: &mut Bed) {
        let (login, route) = (bed.login[0], bed.route[0]);
        for pdu in bed.sent(login) {
            if pdu.as_pdu().command_id() == CID_OTHER_USER_CNT_UPDATE {
                let msg: ImUserCntUpdate = pdu.as_pdu().decode().unwrap();
                self.users += if msg.user_action == USER_CNT_INC { 1 } else { -1 };
            }
        }
        for pdu in bed.sent(route) {
            if pdu.as_pdu().command_id() == CID_OTHER_USER_STATUS_UPDATE {
                let msg: ImUserStatusUpdate = pdu.as_pdu().decode().unwrap();
                let count = self.online.entry((msg.user_id, msg.client_type)).or_default();
                *count += if msg.user_status == 1 { 1 } else { -1 };
            }
        }
        self.online.retain(|_, count| *count != 0);
    }
}

fn assert_agreement(bed: &Bed, told: &Told) {
    let srv = &bed.srv;
    let mut online = HashMap::new();
    let mut open = 0;
    for (handle, conn) in srv.msg_conns.iter() {
        assert!(bed.net.is_open(handle));
        if conn.user_id() != 0 {
            *online.entry((conn.user_id(), conn.client_type())).or_default() += 1;
        }
        let listed = srv.im_users.conns(conn.user_id()).iter().any(|c| c.handle == handle);
        assert_eq!(listed, conn.is_open(), "{handle}");
        open += usize::from(conn.is_open());
    }
    assert_eq!(told.online, online);
    assert_eq!(told.users, i64::from(srv.user_conn_cnt()));
    let mut listed = 0;
    for user_id in 1..=USERS {
        let conns = srv.im_users.conns(user_id);
        listed += conns.len();
        for (at, conn) in conns.iter().enumerate() {
            let twin =
                |c: &im_user::UserConn| im_user::is_same_class(c.client_type, conn.client_type);
            assert!(!conns[..at].iter().any(twin), "user {user_id} has two clients of a class");
        }
    }
    assert_eq!(listed, open);
}

#[test]
fn all_books_agree_whatever_clients_do() {
    let seed = env::var("TEAMTALK_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seed.map_or(0..30, |seed| seed..seed + 1) {
        println!("TEAMTALK_SEED={seed}");
        random_lives(seed);
    }
}

fn random_lives(seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % below
    };
    let (mut bed, mut told) = (bed(), Told::default());
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let conns: Vec<NetHandle> = bed.srv.msg_conns.handles().collect();
        let some = (!conns.is_empty()).then(|| conns[random(conns.len().max(1) as u32) as usize]);
        let (user_id, kind) = (1 + random(USERS), TYPES[random(4) as usize]);
        match (random(10), some) {
            (0 | 1, _) => {
                let (_, req) = bed.ask_login(user_id, kind);
                waiting.push((user_id, req));
            }
            (2 | 3, _) if !waiting.is_empty() => {
                // Answers may come in any order, some of them refusals.
                let at = random(waiting.len() as u32) as usize;
                let (user_id, req) = waiting.swap_remove(at);
                let result_code = u32::from(random(4) == 0);
                let rsp = ImValidateRsp { result_code, ..validated(user_id, &req) };
                bed.db_says(CID_OTHER_VALIDATE_RSP, &rsp);
            }
            (4, _) => {
                let msg = ImServerKickUser { user_id, client_type: kind.into(), reason: 1 };
                bed.route_says(CID_OTHER_SERVER_KICK_USER, &msg);
            }
            (5, Some(conn)) => bed.lose(conn),
            (6, Some(conn)) => {
                // A refused command closes.
                if bed.ask(conn, CID_LOGIN_REQ_LOGINOUT, &ImLogoutReq::default()).is_err() {
                    bed.lose(conn);
                }
            }
            (7, Some(conn)) => {
                let kick = ImKickPcClientReq { user_id };
                if bed.ask(conn, CID_LOGIN_REQ_KICKPCCLIENT, &kick).is_err() {
                    bed.lose(conn);
                }
            }
            (8, Some(conn)) => {
                let msg = ImMsgData {
                    from_user_id: user_id,
                    to_session_id: 1 + random(USERS),
                    msg_id: 1 + random(1_000),
                    msg_type: MsgType::SingleText.into(),
                    ..ImMsgData::default()
                };
                bed.route_says(CID_MSG_DATA, &msg);
                let ack = ImMsgDataAck { msg_id: msg.msg_id, ..ImMsgDataAck::default() };
                if bed.ask(conn, CID_MSG_DATA_ACK, &ack).is_err() {
                    bed.lose(conn);
                }
            }
            _ => {
                // The servers live.
                let heartbeat = request(CID_OTHER_HEARTBEAT, &());
                let (db, login, route) = (bed.db[0], bed.login[0], bed.route[0]);
                bed.receive::<DbServConn>(db, &heartbeat).unwrap();
                bed.receive::<LoginServConn>(login, &heartbeat).unwrap();
                bed.receive::<RouteServConn>(route, &heartbeat).unwrap();
                bed.pass_ms(u64::from(random(9_000)));
                let db = bed.db[0];
                bed.sent(db);
            }
        }
        let db = bed.db[0];
        bed.sent(db);
        told.read(&mut bed);
        assert_agreement(&bed, &told);
    }
    msg_conn::close_all(&mut bed.cx());
    told.read(&mut bed);
    assert_agreement(&bed, &told);
    assert!(bed.srv.im_users.is_empty() && bed.srv.msg_conns.is_empty() && told.users == 0);
}
