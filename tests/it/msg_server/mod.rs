//! Several msg_servers with route_server, login_server and db_proxy_server, all over sockets.

mod faults;
mod log;
mod reload;
mod soak;
mod talkers;

use prost::Message;
use teamtalk::base::im_pdu::ImPdu;
use teamtalk::base::md5::md5_hex;
use teamtalk::pb::base_define::{ClientType, MsgType, SessionType, UserStatType};
use teamtalk::pb::buddy::*;
use teamtalk::pb::cmd::*;
use teamtalk::pb::login::*;
use teamtalk::pb::message::*;
use teamtalk::pb::switch_service::ImP2pCmdMsg;

use crate::certificates::peer_tls_keys;
use crate::running::{Peer, Running};
use crate::site::{Site, db_proxy_server, login_server, msg_server, pause, route_server};

const WINDOWS: ClientType = ClientType::Windows;
const IOS: ClientType = ClientType::Ios;

fn login_req(user_id: u32, client_type: ClientType) -> ImLoginReq {
    ImLoginReq {
        user_name: format!("user{user_id}"),
        password: md5_hex(b"secret"),
        online_status: UserStatType::UserStatusOnline.into(),
        client_type: client_type.into(),
        client_version: Some("test".to_owned()),
    }
}

fn message(from_user_id: u32, to_session_id: u32, text: &str) -> ImMsgData {
    ImMsgData {
        from_user_id,
        to_session_id,
        msg_type: MsgType::SingleText.into(),
        msg_data: text.as_bytes().to_vec().into(),
        ..ImMsgData::default()
    }
}

/// A client that keeps what comes while it waits for something else.
pub(crate) struct Client {
    peer: Peer,
    user_id: u32,
    seq_num: u16,
    kept: Vec<ImPdu>,
}

impl Client {
    /// Logged in. A msg_server that was just started may lack a server still: then again.
    #[track_caller]
    pub(crate) fn log_in(server: &Running, user_id: u32, client_type: ClientType) -> Self {
        loop {
            let (client, res) = Self::try_log_in(server, user_id, client_type);
            match res.result_code {
                0 => return client,
                3..=5 => pause(),
                code => panic!("login refused: {code}"),
            }
        }
    }

    fn new(server: &Running, user_id: u32) -> Self {
        Self { peer: server.peer(), user_id, seq_num: 0, kept: Vec::new() }
    }

    fn try_log_in(server: &Running, user_id: u32, client_type: ClientType) -> (Self, ImLoginRes) {
        let mut client = Self::new(server, user_id);
        let msg = login_req(user_id, client_type);
        let res = client.ask(CID_LOGIN_REQ_USERLOGIN, &msg, CID_LOGIN_RES_USERLOGIN);
        (client, res)
    }

    pub(crate) fn send(&mut self, command_id: u16, msg: &impl Message) -> u16 {
        self.seq_num += 1;
        self.peer.send(&ImPdu::encode(command_id >> 8, command_id, self.seq_num, msg));
        self.seq_num
    }

    /// The next PDU with this command, whenever it came.
    #[track_caller]
    fn wait(&mut self, command_id: u16) -> ImPdu {
        let is_it = |pdu: &ImPdu| pdu.as_pdu().command_id() == command_id;
        if let Some(at) = self.kept.iter().position(is_it) {
            return self.kept.remove(at);
        }
        loop {
            let pdu = self.peer.receive();
            if is_it(&pdu) {
                return pdu;
            }
            self.kept.push(pdu);
        }
    }

    #[track_caller]
    pub(crate) fn expect<M: Message + Default>(&mut self, command_id: u16) -> M {
        self.wait(command_id).as_pdu().decode().unwrap()
    }

    #[track_caller]
    pub(crate) fn ask<M>(&mut self, id: u16, msg: &impl Message, answer: u16) -> M
    where
        M: Message + Default,
    {
        let seq_num = self.send(id, msg);
        let pdu = self.wait(answer);
        assert_eq!(pdu.as_pdu().seq_num(), seq_num);
        pdu.as_pdu().decode().unwrap()
    }

    /// Sends a message, waits until it is stored, and returns its number.
    #[track_caller]
    fn say(&mut self, to_session_id: u32, text: &str) -> u32 {
        let msg = message(self.user_id, to_session_id, text);
        let ack: ImMsgDataAck = self.ask(CID_MSG_DATA, &msg, CID_MSG_DATA_ACK);
        assert_eq!(ack.session_id, to_session_id);
        ack.msg_id
    }

    /// The next message, which is acknowledged.
    #[track_caller]
    fn hear(&mut self) -> (u32, u32, String) {
        let msg: ImMsgData = self.expect(CID_MSG_DATA);
        let ack = ImMsgDataAck {
            user_id: self.user_id,
            session_id: msg.from_user_id,
            msg_id: msg.msg_id,
            session_type: SessionType::Single.into(),
        };
        self.send(CID_MSG_DATA_ACK, &ack);
        (msg.from_user_id, msg.msg_id, String::from_utf8(msg.msg_data.to_vec()).unwrap())
    }

    /// Nothing of this kind has come before the answer to a request made now.
    #[track_caller]
    fn assert_not_told(&mut self, command_id: u16) {
        let _: ImClientTimeRsp =
            self.ask(CID_MSG_TIME_REQUEST, &ImClientTimeReq::default(), CID_MSG_TIME_RESPONSE);
        assert!(!self.kept.iter().any(|pdu| pdu.as_pdu().command_id() == command_id));
    }

    /// All of this kind that has come before the answer to a request made now.
    pub(crate) fn told<M: Message + Default>(&mut self, command_id: u16) -> Vec<M> {
        let _: ImClientTimeRsp =
            self.ask(CID_MSG_TIME_REQUEST, &ImClientTimeReq::default(), CID_MSG_TIME_RESPONSE);
        let told = self.kept.extract_if(.., |pdu| pdu.as_pdu().command_id() == command_id);
        told.map(|pdu| pdu.as_pdu().decode().unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn status_of(&mut self, user_id: u32) -> i32 {
        let msg = ImUsersStatReq { user_id: 0, user_id_list: vec![user_id], attach_data: None };
        let answer: ImUsersStatRsp = self.ask(
            CID_BUDDY_LIST_USERS_STATUS_REQUEST,
            &msg,
            CID_BUDDY_LIST_USERS_STATUS_RESPONSE,
        );
        answer.user_stat_list[0].status
    }

    /// Whether something of this kind has come and waits.
    pub(crate) fn was_told(&self, command_id: u16) -> bool {
        self.kept.iter().any(|pdu| pdu.as_pdu().command_id() == command_id)
    }

    /// Until route_server knows of the user.
    pub(crate) fn wait_until_online(&mut self, user_id: u32) {
        while self.status_of(user_id) != i32::from(UserStatType::UserStatusOnline) {}
    }
}

#[test]
fn users_of_two_msg_servers_talk() {
    let site = Site::new(1);
    let (a, b) = (site.msg_server(), site.msg_server());
    let mut one = Client::log_in(&a, 1, WINDOWS);
    let mut one_phone = Client::log_in(&b, 1, IOS);
    let mut two = Client::log_in(&b, 2, WINDOWS);
    one.wait_until_online(2);
    for number in 1..=20 {
        let text = format!("to two, {number}");
        assert_eq!(one.say(2, &text), number);
        assert_eq!(two.hear(), (1, number, text.clone()));
        assert_eq!(one_phone.hear(), (1, number, text));
    }
    assert_eq!(two.say(1, "to one"), 21);
    assert_eq!(one.hear(), (2, 21, "to one".to_owned()));
    assert_eq!(one_phone.hear(), (2, 21, "to one".to_owned()));
    // Read on one device, told to the other one, and gone from the unread messages.
    let unread = |client: &mut Client| -> u32 {
        let req = ImUnreadMsgCntReq { user_id: 0, attach_data: None };
        let rsp: ImUnreadMsgCntRsp =
            client.ask(CID_MSG_UNREAD_CNT_REQUEST, &req, CID_MSG_UNREAD_CNT_RESPONSE);
        rsp.total_cnt
    };
    assert_eq!(unread(&mut one), 1);
    let session_type = SessionType::Single.into();
    let ack = ImMsgDataReadAck { user_id: 0, session_id: 2, msg_id: 21, session_type };
    one.send(CID_MSG_READ_ACK, &ack);
    let notify: ImMsgDataReadNotify = one_phone.expect(CID_MSG_READ_NOTIFY);
    assert_eq!((notify.user_id, notify.session_id, notify.msg_id), (1, 2, 21));
    while unread(&mut one) != 0 {}
    let cmd = ImP2pCmdMsg { from_user_id: 9, to_user_id: 2, cmd_msg_data: b"typing"[..].into() };
    one.send(CID_SWITCH_P2P_CMD, &cmd);
    let got: ImP2pCmdMsg = two.expect(CID_SWITCH_P2P_CMD);
    assert_eq!((got.from_user_id, got.to_user_id), (1, 2));
    one_phone.expect::<ImP2pCmdMsg>(CID_SWITCH_P2P_CMD);
}

/// All kicks that were on their way between two msg_servers have arrived: what a client of one asks
/// route_server comes back behind them.
fn settle(a: &mut Client, b: &mut Client) {
    for _ in 0..3 {
        a.status_of(1);
        b.status_of(1);
    }
}

#[test]
fn a_login_elsewhere_kicks_the_older_client_of_the_same_class() {
    let site = Site::new(1);
    let (a, b) = (site.msg_server(), site.msg_server());
    let mut pc = Client::log_in(&a, 1, WINDOWS);
    let mut phone = Client::log_in(&a, 1, IOS);
    let mut newer = Client::log_in(&b, 1, ClientType::Mac);
    let kick: ImKickUser = pc.expect(CID_LOGIN_KICK_USER);
    assert_eq!((kick.user_id, kick.kick_reason), (1, 1));
    // It is heard no more, and the others stay.
    let ack: ImMsgDataAck = newer.ask(CID_MSG_DATA, &message(1, 2, "still here"), CID_MSG_DATA_ACK);
    assert_eq!(ack.msg_id, 1);
    assert_eq!(phone.hear(), (1, 1, "still here".to_owned()));
    phone.assert_not_told(CID_LOGIN_KICK_USER);
    pc.send(CID_MSG_DATA, &message(1, 2, "from the grave"));
    assert_eq!(newer.say(2, "again"), 2);
    // The phone is told of the PC, and sends it away.
    let told: ImPcLoginStatusNotify = phone.expect(CID_BUDDY_LIST_PC_LOGIN_STATUS_NOTIFY);
    assert_eq!(told.user_id, 1);
    let req = ImKickPcClientReq { user_id: 1 };
    let rsp: ImKickPcClientRsp =
        phone.ask(CID_LOGIN_REQ_KICKPCCLIENT, &req, CID_LOGIN_RES_KICKPCCLIENT);
    assert_eq!(rsp.result_code, 0);
    let kick: ImKickUser = newer.expect(CID_LOGIN_KICK_USER);
    assert_eq!(kick.kick_reason, 2);
}

#[test]
fn f65_of_two_simultaneous_logins_exactly_one_stays() {
    let site = Site::new(1);
    let (a, b) = (site.msg_server(), site.msg_server());
    let (mut at_a, mut at_b) = (Client::log_in(&a, 8, WINDOWS), Client::log_in(&b, 9, WINDOWS));
    for _ in 0..20 {
        let mut rivals = [&a, &b].map(|server| Client::new(server, 1));
        for rival in &mut rivals {
            rival.send(CID_LOGIN_REQ_USERLOGIN, &login_req(1, WINDOWS));
        }
        for rival in &mut rivals {
            let res: ImLoginRes = rival.expect(CID_LOGIN_RES_USERLOGIN);
            assert_eq!(res.result_code, 0);
        }
        settle(&mut at_a, &mut at_b);
        let kicked = rivals.map(|mut rival| {
            // Even who is kicked gets its heartbeats back.
            rival.send(CID_OTHER_HEARTBEAT, &());
            rival.wait(CID_OTHER_HEARTBEAT);
            rival.kept.iter().any(|pdu| pdu.as_pdu().command_id() == CID_LOGIN_KICK_USER)
        });
        assert!(kicked[0] != kicked[1], "{kicked:?}");
    }
}

#[test]
fn a_login_is_refused_without_a_database_and_works_again_with_one() {
    let mut site = Site::new(1);
    let server = site.msg_server();
    let (mut one, mut two) =
        (Client::log_in(&server, 1, ClientType::Android), Client::log_in(&server, 2, WINDOWS));
    let port = site.db.addrs[0].port();
    drop(std::mem::replace(&mut site.db, route_server(0)));
    // The end of the connections may be noticed after the next request.
    while Client::try_log_in(&server, 3, WINDOWS).1.result_code != 3 {
        pause();
    }
    assert_eq!(one.say(2, "not stored"), 0);
    site.db = db_proxy_server(&site.pools, port);
    // Who is logged in stays so.
    while one.say(2, "stored") == 0 {
        pause();
    }
    assert_eq!(two.hear().2, "stored");
    Client::log_in(&server, 3, WINDOWS);
}

#[test]
fn everybody_is_reachable_again_after_a_restart_of_route_server() {
    let mut site = Site::new(1);
    let (a, b) = (site.msg_server(), site.msg_server());
    let (mut one, mut two) = (Client::log_in(&a, 1, WINDOWS), Client::log_in(&b, 2, WINDOWS));
    one.wait_until_online(2);
    let port = site.routes[0].addrs[0].port();
    drop(site.routes.remove(0));
    while Client::try_log_in(&a, 3, WINDOWS).1.result_code != 5 {
        pause();
    }
    let lost = one.say(2, "stored, and not delivered");
    site.routes.push(route_server(port));
    // Both have found it, whoever is first.
    let mut three = Client::log_in(&a, 3, WINDOWS);
    let _four = Client::log_in(&b, 4, WINDOWS);
    three.wait_until_online(2);
    three.wait_until_online(4);
    let number = one.say(2, "delivered");
    assert_eq!((two.hear(), number), ((1, number, "delivered".to_owned()), lost + 1));
}

#[test]
fn nothing_is_lost_or_doubled_when_one_of_two_route_servers_dies() {
    const COUNT: u32 = 100;
    let mut site = Site::new(2);
    let (a, b) = (site.msg_server(), site.msg_server());
    let (mut one, mut two) = (Client::log_in(&a, 1, WINDOWS), Client::log_in(&b, 2, WINDOWS));
    one.wait_until_online(2);
    two.wait_until_online(1);
    for number in 1..=COUNT {
        one.send(CID_MSG_DATA, &message(1, 2, "text"));
        if number == 30 {
            drop(site.routes.remove(0));
        }
    }
    let mut numbers: Vec<u32> = (0..COUNT).map(|_| two.hear().1).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=COUNT).collect::<Vec<_>>());
    two.assert_not_told(CID_MSG_DATA);
}

#[test]
fn f23_before_the_login_only_short_requests_are_read() {
    let site = Site::new(1);
    let server = site.msg_server();
    let mut stranger = server.peer();
    let long = message(1, 2, &"x".repeat(100_000));
    stranger.send(&ImPdu::encode(SID_MSG, CID_MSG_DATA, 1, &long));
    stranger.assert_closed();
    let mut one = Client::log_in(&server, 1, WINDOWS);
    let mut two = Client::log_in(&server, 2, IOS);
    assert_eq!(one.say(2, &"x".repeat(100_000)), 1);
    assert_eq!(two.hear().2.len(), 100_000);
}

#[test]
fn login_server_sends_clients_to_the_msg_server_with_fewer_users() {
    let site = Site::new(1);
    let (a, b) = (site.msg_server(), site.msg_server());
    let _client = Client::log_in(&b, 9, WINDOWS);
    // The last of so many logins may not have been told yet.
    let _clients = [1, 2, 3, 4, 5, 6].map(|user_id| Client::log_in(&a, user_id, WINDOWS));
    let rsp = site.ask_login_server();
    assert_eq!((rsp.result_code, rsp.prior_ip()), (0, "127.0.0.1"));
    assert_eq!(rsp.port(), u32::from(b.addrs[0].port()));
}

#[test]
fn presence_is_seen_on_the_other_msg_server_until_the_user_leaves() {
    let site = Site::new(1);
    let (a, b) = (site.msg_server(), site.msg_server());
    let mut one = Client::log_in(&a, 1, WINDOWS);
    let mut two = Client::log_in(&b, 2, WINDOWS);
    loop {
        let stat = one.expect::<ImUserStatNotify>(CID_BUDDY_LIST_STATUS_NOTIFY).user_stat;
        if (stat.user_id, stat.status) == (2, UserStatType::UserStatusOnline.into()) {
            break;
        }
    }
    let rsp: ImLogoutRsp = two.ask(CID_LOGIN_REQ_LOGINOUT, &(), CID_LOGIN_RES_LOGINOUT);
    assert_eq!(rsp.result_code, 0);
    two.peer.receive_rest();
    let stat = one.expect::<ImUserStatNotify>(CID_BUDDY_LIST_STATUS_NOTIFY).user_stat;
    assert_eq!((stat.user_id, stat.status), (2, UserStatType::UserStatusOffline.into()));
    // A msg_server that stops takes its users along.
    let mut three = Client::log_in(&b, 3, WINDOWS);
    three.wait_until_online(1);
    drop(a);
    loop {
        let stat = three.expect::<ImUserStatNotify>(CID_BUDDY_LIST_STATUS_NOTIFY).user_stat;
        if (stat.user_id, stat.status) == (1, UserStatType::UserStatusOffline.into()) {
            break;
        }
    }
}

#[test]
fn f31_a_client_too_many_is_closed() {
    let site = Site::new(1);
    let server = site.msg_server_with("MaxConnCnt=2\n");
    let (_one, _two) = (Client::log_in(&server, 1, WINDOWS), Client::log_in(&server, 2, WINDOWS));
    server.peer().assert_closed();
}

#[test]
fn a_restarted_login_server_learns_of_everybody_and_clients_notice_nothing() {
    let mut site = Site::new(1);
    let server = site.msg_server_with("MaxConnCnt=3\n");
    let mut clients = [1, 2, 3].map(|user_id| Client::log_in(&server, user_id, WINDOWS));
    let port = site.login.addrs[0].port();
    drop(std::mem::replace(&mut site.login, route_server(0)));
    assert_eq!(clients[0].say(2, "talking"), 1);
    assert_eq!(clients[1].hear().2, "talking");
    site.login = login_server(port);
    // First nobody has registered, then it is full: it was told of all three.
    let full = loop {
        match site.ask_login_server().result_code {
            1 => pause(),
            code => break code,
        }
    };
    assert_eq!(full, 2);
    assert_eq!(clients[2].say(1, "still there"), 1);
}

#[test]
fn no_acknowledged_message_is_lost_with_the_database() {
    let mut site = Site::new(1);
    let server = site.msg_server_with("MaxMsgCntPerSecond=0\n");
    let mut one = Client::log_in(&server, 1, ClientType::Android);
    let text_of = |seq_num: u16| format!("message {seq_num}");
    let send = |one: &mut Client| {
        let msg = message(1, 2, &text_of(one.seq_num + 1));
        one.send(CID_MSG_DATA, &msg);
    };
    (0..100).for_each(|_| send(&mut one));
    let port = site.db.addrs[0].port();
    drop(std::mem::replace(&mut site.db, route_server(0)));
    (0..20).for_each(|_| send(&mut one));
    let last = one.seq_num;
    site.db = db_proxy_server(&site.pools, port);
    let mut acked = Vec::new();
    // Until one of those is stored that were sent after the restart.
    loop {
        send(&mut one);
        let pdu = one.wait(CID_MSG_DATA_ACK);
        let ack: ImMsgDataAck = pdu.as_pdu().decode().unwrap();
        let seq_num = pdu.as_pdu().seq_num();
        if ack.msg_id != 0 {
            acked.push((ack.msg_id, text_of(seq_num)));
            if seq_num > last {
                break;
            }
        }
        pause();
    }
    let mut two = Client::log_in(&server, 2, WINDOWS);
    for acked in acked.chunks(50) {
        let req = ImGetMsgByIdReq {
            session_type: SessionType::Single.into(),
            session_id: 1,
            msg_id_list: acked.iter().map(|(msg_id, _)| *msg_id).collect(),
            ..ImGetMsgByIdReq::default()
        };
        let rsp: ImGetMsgByIdRsp =
            two.ask(CID_MSG_GET_BY_MSG_ID_REQ, &req, CID_MSG_GET_BY_MSG_ID_RES);
        let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
        let stored: Vec<_> =
            rsp.msg_list.iter().map(|info| (info.msg_id, text(&info.msg_data))).collect();
        assert!(acked.iter().all(|acked| stored.contains(acked)), "{acked:?} {stored:?}");
    }
}

#[test]
fn f10_servers_that_prove_who_they_are_serve_and_others_are_not_let_in() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let site = Site::with_common(&peer_tls_keys(directory.path()));
    let (a, b) = (site.msg_server(), site.msg_server());
    let mut one = Client::log_in(&a, 1, WINDOWS);
    let mut two = Client::log_in(&b, 2, WINDOWS);
    one.wait_until_online(2);
    assert_eq!(one.say(2, "hello"), 1);
    assert_eq!(two.hear(), (1, 1, "hello".to_owned()));
    assert_eq!(site.ask_login_server().result_code, 0);
    // One of another installation, and one of the original, which can prove nothing.
    let routes: Vec<_> = site.routes.iter().map(|route| route.addrs[0]).collect();
    for keys in [peer_tls_keys(other.path()), String::new()] {
        let stranger = msg_server(site.db.addrs[0], site.login.addrs[0], &routes, &keys);
        let (_, res) = Client::try_log_in(&stranger, 3, WINDOWS);
        assert!((3..=5).contains(&res.result_code), "{res:?}");
    }
    let mut clear = Peer::connect(site.db.addrs[0]);
    clear.send(&ImPdu::encode(SID_OTHER, CID_OTHER_HEARTBEAT, 1, &()));
    assert!(clear.try_receive().is_err());
}
