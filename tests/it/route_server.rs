//! route_server between msg_servers that are sockets of the test.

use teamtalk::base::im_pdu::{ImPdu, PduHeader};
use teamtalk::pb::base_define::{ClientType, MsgType, ServerUserStat, UserStatType};
use teamtalk::pb::buddy::{ImUserStatNotify, ImUsersStatReq, ImUsersStatRsp};
use teamtalk::pb::cmd::*;
use teamtalk::pb::message::ImMsgData;
use teamtalk::pb::server::{
    ImOnlineUserInfo, ImServerKickUser, ImServerPcLoginStatusNotify, ImUserStatusUpdate,
};
use teamtalk::route_server::{RouteServer, RouteServerConfig};

use crate::running::{Peer, Running, config};

const ONLINE: i32 = UserStatType::UserStatusOnline as i32;
const OFFLINE: i32 = UserStatType::UserStatusOffline as i32;

fn route_server() -> Running {
    let text = "ListenIP=127.0.0.1\nListenMsgPort=0\n";
    Running::start(RouteServer::dispatch(&config(text, RouteServerConfig::read)).unwrap())
}

/// A msg_server whose users all sit at a PC.
struct MsgServer(Peer);

impl MsgServer {
    /// Connected, and the route_server knows the users.
    fn new(route_server: &Running, users: &[u32]) -> Self {
        let mut this = Self::connect(route_server, users);
        this.sync();
        this
    }

    /// Connected, and the users are on their way.
    fn connect(route_server: &Running, users: &[u32]) -> Self {
        let mut this = Self(route_server.peer());
        let stat = |&user_id: &u32| ServerUserStat {
            user_id,
            status: ONLINE,
            client_type: ClientType::Windows.into(),
        };
        let msg = ImOnlineUserInfo { user_stat_list: users.iter().map(stat).collect() };
        this.0.send(&ImPdu::encode(SID_OTHER, CID_OTHER_ONLINE_USER_INFO, 0, &msg));
        this
    }

    /// Returns once the route_server has dealt with all that was sent before.
    fn sync(&mut self) {
        assert_eq!(self.status_of(&[]), [] as [i32; 0]);
    }

    fn status_of(&mut self, user_ids: &[u32]) -> Vec<i32> {
        let msg = ImUsersStatReq { user_id: 1, user_id_list: user_ids.to_vec(), attach_data: None };
        let command_id = CID_BUDDY_LIST_USERS_STATUS_REQUEST;
        self.0.send(&ImPdu::encode(SID_BUDDY_LIST, command_id, 9, &msg));
        let answer: ImUsersStatRsp = self.expect(CID_BUDDY_LIST_USERS_STATUS_RESPONSE);
        answer.user_stat_list.iter().map(|stat| stat.status).collect()
    }

    fn update(&mut self, user_id: u32, status: i32, client_type: ClientType) {
        let user_status = status as u32;
        let msg = ImUserStatusUpdate { user_status, user_id, client_type: client_type.into() };
        self.0.send(&ImPdu::encode(SID_OTHER, CID_OTHER_USER_STATUS_UPDATE, 0, &msg));
    }

    /// The next PDU that is no heartbeat: those come whenever a test is slow.
    #[track_caller]
    fn receive(&mut self) -> ImPdu {
        loop {
            let pdu = self.0.receive();
            if pdu.as_pdu().command_id() != CID_OTHER_HEARTBEAT {
                return pdu;
            }
        }
    }

    #[track_caller]
    fn expect<M: prost::Message + Default>(&mut self, command_id: u16) -> M {
        let pdu = self.receive();
        assert_eq!(pdu.as_pdu().command_id(), command_id);
        pdu.as_pdu().decode().unwrap()
    }

    #[track_caller]
    fn expect_status(&mut self, user_id: u32, status: i32) {
        let stat = self.expect::<ImUserStatNotify>(CID_BUDDY_LIST_STATUS_NOTIFY).user_stat;
        assert_eq!((stat.user_id, stat.status), (user_id, status));
    }

    #[track_caller]
    fn expect_pc(&mut self, user_id: u32, login_status: u32) {
        let msg: ImServerPcLoginStatusNotify = self.expect(CID_OTHER_LOGIN_STATUS_NOTIFY);
        assert_eq!((msg.user_id, msg.login_status), (user_id, login_status));
    }

    #[track_caller]
    fn expect_same(&mut self, pdu: &ImPdu) {
        assert_eq!(self.receive().as_pdu().as_bytes(), pdu.as_pdu().as_bytes());
    }

    /// Nothing has come: the next PDU is the answer to a request made now.
    #[track_caller]
    fn expect_nothing(&mut self) {
        self.sync();
    }
}

fn message(from_user_id: u32, to_session_id: u32, msg_type: MsgType, text: &[u8]) -> ImPdu {
    let msg = ImMsgData {
        from_user_id,
        to_session_id,
        msg_type: msg_type.into(),
        msg_data: text.to_vec().into(),
        ..ImMsgData::default()
    };
    ImPdu::encode(SID_MSG, CID_MSG_DATA, 5, &msg)
}

#[test]
fn presence_of_one_msg_server_is_known_at_the_other() {
    let route_server = route_server();
    let (mut a, mut b) = (MsgServer::new(&route_server, &[1]), MsgServer::new(&route_server, &[]));
    assert_eq!(b.status_of(&[1, 2]), [ONLINE, OFFLINE]);
    a.update(2, ONLINE, ClientType::Mac);
    for msg_server in [&mut a, &mut b] {
        msg_server.expect_pc(2, 1);
        msg_server.expect_status(2, ONLINE);
    }
    b.update(2, ONLINE, ClientType::Ios);
    a.expect_pc(2, 1);
    b.expect_pc(2, 1);
    a.update(2, OFFLINE, ClientType::Mac);
    for msg_server in [&mut a, &mut b] {
        msg_server.expect_pc(2, 0);
        msg_server.expect_status(2, OFFLINE);
        assert_eq!(msg_server.status_of(&[1, 2]), [ONLINE, OFFLINE]);
    }
}

#[test]
fn f59_a_msg_server_that_vanishes_takes_its_users_off_line_until_it_is_back() {
    let route_server = route_server();
    let (a, mut b) =
        (MsgServer::new(&route_server, &[1, 2]), MsgServer::new(&route_server, &[2, 3]));
    drop(a);
    b.expect_status(1, OFFLINE);
    assert_eq!(b.status_of(&[1, 2, 3]), [OFFLINE, ONLINE, ONLINE]);
    let mut a = MsgServer::connect(&route_server, &[1]);
    for msg_server in [&mut a, &mut b] {
        msg_server.expect_pc(1, 1);
        msg_server.expect_status(1, ONLINE);
        assert_eq!(msg_server.status_of(&[1]), [ONLINE]);
    }
}

#[test]
fn f59_a_restarted_route_server_learns_the_truth_from_the_msg_servers() {
    let first = route_server();
    let a = MsgServer::new(&first, &[1]);
    drop(first);
    let MsgServer(mut a) = a;
    a.assert_closed();
    let second = route_server();
    let mut b = MsgServer::new(&second, &[]);
    assert_eq!(b.status_of(&[1]), [OFFLINE]);
    let _a = MsgServer::new(&second, &[1]);
    assert_eq!(b.status_of(&[1]), [ONLINE]);
}

#[test]
fn f62_messages_go_where_their_users_are() {
    let route_server = route_server();
    let mut a = MsgServer::new(&route_server, &[1]);
    let mut b = MsgServer::new(&route_server, &[2]);
    let mut c = MsgServer::new(&route_server, &[1, 3]);
    let text = message(1, 2, MsgType::SingleText, b"to b, and to the other PC of 1 at c");
    a.0.send(&text);
    b.expect_same(&text);
    c.expect_same(&text);
    let text = message(2, 3, MsgType::SingleText, b"to c");
    b.0.send(&text);
    c.expect_same(&text);
    a.expect_nothing();
    let voice = message(8, 9, MsgType::SingleAudio, &vec![7; 900_000]);
    a.0.send(&voice);
    b.expect_same(&voice);
    c.expect_same(&voice);
    let text = message(1, 2, MsgType::GroupText, b"to a group");
    c.0.send(&text);
    a.expect_same(&text);
    b.expect_same(&text);
    c.expect_nothing();
}

#[test]
fn a_kick_is_passed_on_with_the_fields_of_newer_servers() {
    let route_server = route_server();
    let (mut a, mut b) = (MsgServer::new(&route_server, &[]), MsgServer::new(&route_server, &[1]));
    let msg = ImServerKickUser { user_id: 1, client_type: ClientType::Windows.into(), reason: 1 };
    let mut body = prost::Message::encode_to_vec(&msg);
    // Field 100, a number.
    body.extend_from_slice(&[0xa0, 0x06, 42]);
    let kick = ImPdu::with_body(PduHeader::new(SID_OTHER, CID_OTHER_SERVER_KICK_USER, 3), &body);
    a.0.send(&kick);
    b.expect_same(&kick);
    a.expect_nothing();
}

#[test]
fn a_heartbeat_comes_after_five_silent_seconds() {
    let route_server = route_server();
    let mut a = MsgServer::new(&route_server, &[]);
    assert_eq!(a.0.receive().as_pdu().command_id(), CID_OTHER_HEARTBEAT);
}

#[test]
fn f22_f63_what_is_no_pdu_closes_and_what_is_no_message_is_dropped() {
    let route_server = route_server();
    let (mut a, mut b) = (MsgServer::new(&route_server, &[1]), MsgServer::new(&route_server, &[]));
    let mut stranger = route_server.peer();
    stranger.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    stranger.assert_closed();
    let mut short = route_server.peer();
    short.send_bytes(&[0, 0, 0, 15]);
    short.assert_closed();
    let bad = ImPdu::with_body(PduHeader::new(SID_MSG, CID_MSG_DATA, 0), &[0x0a, 0xff]);
    for _ in 0..100 {
        a.0.send(&bad);
    }
    assert_eq!(a.status_of(&[1]), [ONLINE]);
    b.expect_nothing();
}

#[test]
fn f10_strangers_are_not_let_in() {
    let text = "ListenIP=127.0.0.1\nListenMsgPort=0\nAllowIP=192.0.2.1\n";
    let config = config(text, RouteServerConfig::read);
    let route_server = Running::start(RouteServer::dispatch(&config).unwrap());
    route_server.peer().assert_closed();
}
