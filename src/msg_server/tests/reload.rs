//! SIGHUP: the lists of servers are read again.

use std::fs;

use super::*;
use crate::netlib::serv_conns::LET_GO_MS;
use crate::pb::server::ImRoleSet;

/// A msg_server with all servers connected, and its configuration file.
struct Reloading {
    bed: Bed,
    file: tempfile::NamedTempFile,
}

impl Reloading {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), ONE_OF_EACH).unwrap();
        let mut bed = bed();
        let config = ConfigFileReader::load(file.path()).unwrap();
        bed.srv.config_file = ConfigSnapshot::of(&config);
        Self { bed, file }
    }

    /// The file says this now, and the signal comes.
    fn reload(&mut self, text: &str) {
        fs::write(self.file.path(), text).unwrap();
        on_signal(&mut self.bed.cx(), Signal::Hangup);
    }
}

/// With another port for a server, or two servers.
fn changed(from: &str, to: &str) -> String {
    assert!(ONE_OF_EACH.contains(from));
    ONE_OF_EACH.replace(from, to)
}

fn handles(bed: &Bed) -> [Vec<NetHandle>; 5] {
    let srv = &bed.srv;
    [
        srv.db_servers.conns.handles(),
        srv.login_servers.handles(),
        srv.route_servers.conns.handles(),
        srv.push_servers.conns.handles(),
        srv.file_servers.conns.handles(),
    ]
}

/// The one that was not there before.
fn new_one(before: &[NetHandle], now: &[NetHandle]) -> NetHandle {
    let new: Vec<_> = now.iter().filter(|conn| !before.contains(conn)).collect();
    assert_eq!(new.len(), 1);
    *new[0]
}

#[test]
fn f142_new_servers_are_connected_to_and_the_others_left_alone() {
    let mut it = Reloading::new();
    let before = handles(&it.bed);
    let second = |kind: &str, port: u16| format!("{kind}IP2=127.0.0.1\n{kind}Port2={port}\n");
    let more = [("DBServer", 10601), ("LoginServer", 8101), ("RouteServer", 8201)];
    let more = more.into_iter().chain([("PushServer", 8501), ("FileServer", 8602)]);
    let more: String = more.map(|(kind, port)| second(kind, port)).collect();
    it.reload(&[ONE_OF_EACH, &more].concat());
    let now = handles(&it.bed);
    for (before, now) in before.iter().zip(&now) {
        new_one(before, now);
        assert!(before.iter().all(|conn| now.contains(conn) && it.bed.net.is_connected(*conn)));
    }
    // The same again changes nothing.
    it.reload(&[ONE_OF_EACH, &more].concat());
    assert_eq!(handles(&it.bed), now);
    // One that is connecting is given up at once.
    it.reload(ONE_OF_EACH);
    it.bed.pass_ms(0);
    assert_eq!(handles(&it.bed), before);
}

#[test]
fn f142_a_file_that_is_wrong_or_gone_changes_nothing() {
    let mut it = Reloading::new();
    let before = handles(&it.bed);
    for wrong in [
        "",
        &changed("DBServerPort1=10600\n", ""),
        &changed("10600", "many"),
        &changed("RouteServerPort1=8200", "RouteServerPort1=8201").replace("1000\n", "lots\n"),
        &format!("LogLevel=loud\n{}", changed("8200", "8201")),
    ] {
        it.reload(wrong);
        assert_eq!(handles(&it.bed), before, "{wrong}");
    }
    fs::remove_file(it.file.path()).unwrap();
    on_signal(&mut it.bed.cx(), Signal::Hangup);
    it.bed.pass_ms(LET_GO_MS);
    assert_eq!(handles(&it.bed), before);
}

#[test]
fn f142_what_a_removed_db_proxy_server_was_asked_it_still_answers() {
    let mut it = Reloading::new();
    let (client, req) = it.bed.ask_login(1, WINDOWS);
    let (old, before) = (it.bed.db[0], handles(&it.bed));
    it.reload(&changed("10600", "10601"));
    let new = new_one(&before[0], &handles(&it.bed)[0]);
    // Until the new one is there, the old one is better than none.
    let (waiting, _) = it.bed.ask_login(2, WINDOWS);
    it.bed.confirm::<DbServConn>(new);
    let third = it.bed.client();
    it.bed.ask(third, CID_LOGIN_REQ_USERLOGIN, &login_req(3, WINDOWS)).unwrap();
    it.bed.assert_silent(old);
    it.bed.one_pdu(new, CID_OTHER_VALIDATE_REQ);
    // It is heard out, then let go, and who waits in vain is told so.
    it.bed.db_says(CID_OTHER_VALIDATE_RSP, &validated(1, &req));
    assert!(msg_conn::user_of(&it.bed.cx(), client).is_some());
    for _ in 0..LET_GO_MS / 1000 {
        it.bed.pass_ms(1000);
        it.bed.receive::<DbServConn>(new, &request(CID_OTHER_HEARTBEAT, &())).unwrap();
    }
    assert!(!it.bed.net.is_open(old) && it.bed.net.is_connected(new));
    assert_eq!(it.bed.srv.db_servers.conns.handles(), [new]);
    let res: ImLoginRes = it.bed.one(waiting, CID_LOGIN_RES_USERLOGIN);
    assert_ne!(res.result_code, 0);
    // It does not come back.
    it.bed.pass_ms(10_000);
    assert_eq!(it.bed.srv.db_servers.conns.handles(), [new]);
}

#[test]
fn f142_the_master_changes_when_the_next_route_server_is_there() {
    let mut it = Reloading::new();
    let (old, before) = (it.bed.route[0], handles(&it.bed));
    it.reload(&changed("8200", "8201"));
    let new = new_one(&before[2], &handles(&it.bed)[2]);
    it.bed.assert_silent(old);
    it.bed.confirm::<RouteServConn>(new);
    let role: ImRoleSet = it.bed.one(old, CID_OTHER_ROLE_SET);
    assert_eq!(role.master, 0);
    assert_eq!(ids(&it.bed.sent(new)), [CID_OTHER_ONLINE_USER_INFO, CID_OTHER_ROLE_SET]);
    // Others may not know yet: what comes through the old one is delivered.
    let pc = it.bed.log_in(5, WINDOWS);
    it.bed.forget_sent();
    let kick =
        crate::pb::server::ImServerKickUser { user_id: 5, client_type: MAC.into(), reason: 1 };
    it.bed.route_says(CID_OTHER_SERVER_KICK_USER, &kick);
    it.bed.one_pdu(pc, CID_LOGIN_KICK_USER);
    it.bed.pass_ms(LET_GO_MS);
    assert!(!it.bed.net.is_open(old));
    assert!(it.bed.srv.route_servers.is_available());
}

#[test]
fn f142_a_server_that_cannot_be_replaced_is_let_go_all_the_same() {
    let mut it = Reloading::new();
    let kinds = ["8200", "8500", "8601", "8100"];
    let none: Vec<_> =
        ONE_OF_EACH.lines().filter(|line| !kinds.iter().any(|kind| line.ends_with(kind))).collect();
    it.reload(&none.join("\n"));
    assert!(it.bed.srv.route_servers.is_available() && it.bed.srv.file_servers.is_available());
    it.bed.pass_ms(LET_GO_MS - 1);
    assert!(it.bed.srv.route_servers.is_available());
    it.bed.pass_ms(1);
    assert!(!it.bed.srv.route_servers.is_available() && !it.bed.srv.file_servers.is_available());
    assert!(handles(&it.bed)[1..].iter().all(Vec::is_empty));
}
