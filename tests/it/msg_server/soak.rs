//! Many clients at once, for a while.

use std::time::Duration;

use teamtalk::login_server::LoginServer;
use teamtalk::msg_server::MsgServer;
use teamtalk::netlib::open_files::raise_open_files_limit;
use teamtalk::pb::base_define::ClientType;
use teamtalk::route_server::RouteServer;

use super::talkers::{FIRST_ID, Talkers, now};
use crate::running::Running;
use crate::site::{Site, log_in, pause};

const CLIENTS: usize = 2_000;

/// How long everybody talks.
const TALK: Duration = Duration::from_secs(20);

/// The servers still remember somebody.
fn is_anybody_left(site: &Site, servers: [&Running; 2]) -> bool {
    let here = servers.map(|server| {
        server.look(|srv: &MsgServer| (srv.msg_conn_cnt(), srv.user_cnt(), srv.user_conn_cnt()))
    });
    let counted = site.login.look(LoginServer::total_online_user_cnt);
    let routed = site.routes[0].look(RouteServer::online_user_cnt);
    (here, counted, routed) != ([(0, 0, 0); 2], 0, 0)
}

#[test]
fn two_thousand_clients_come_talk_and_leave_no_trace() {
    raise_open_files_limit().unwrap();
    let site = Site::new(1);
    site.add_users(FIRST_ID..FIRST_ID + CLIENTS as u32);
    let servers =
        [&site.msg_server_with("MaxConnCnt=2000\n"), &site.msg_server_with("MaxConnCnt=2000\n")];
    // Both have all they need.
    servers.iter().for_each(|server| drop(log_in(server.addrs[0], 1, ClientType::Windows)));
    let addrs = servers.map(|server| server.addrs[0]);
    let (think, patience) = (Duration::from_secs(2), Duration::from_secs(60));
    let mut talkers = Talkers::new(addrs, CLIENTS, think, patience);
    while site.routes[0].look(RouteServer::online_user_cnt) < CLIENTS {
        talkers.turn();
    }
    let start = now();
    talkers.begin();
    while now() < start + TALK {
        talkers.turn();
    }
    talkers.end();
    while !talkers.is_heard() {
        talkers.turn();
    }
    let said = talkers.said();
    println!("{said} messages of {CLIENTS} clients in {:?}", start.elapsed());
    assert!(said >= CLIENTS, "everybody has said something");
    assert!(talkers.talks.iter().all(|talk| talk.refused.is_empty() && talk.unknown.is_empty()));
    assert_eq!(talkers.left, 0);
    talkers.leave();
    while is_anybody_left(&site, servers) {
        pause();
    }
}
