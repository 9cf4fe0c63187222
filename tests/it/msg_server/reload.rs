//! The lists of servers of a msg_server that runs, changed by SIGHUP.

use std::fs;
use std::time::Duration;

use teamtalk::client::{Client, Event, Session};
use teamtalk::login_server::LoginServer;
use teamtalk::route_server::RouteServer;

use super::WINDOWS;
use crate::process::{MSG_SERVER, Process};
use crate::running::Running;
use crate::site::{
    Site, db_proxy_server, log_in, login_server, msg_server_text, pause, route_server,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The next message.
#[track_caller]
fn hear(client: &mut Client) -> String {
    loop {
        let event = client.next_event(PATIENCE).unwrap();
        if let Event::Message(message) = event.expect("a message in time") {
            return message.text().unwrap().to_owned();
        }
    }
}

/// Until a login_server and a route_server know of so many users.
fn wait_for_users(login: &Running, route: &Running, count: usize) {
    while login.look(|srv: &LoginServer| srv.total_online_user_cnt()) != count as u64
        || route.look(|srv: &RouteServer| srv.online_user_cnt()) != count
    {
        pause();
    }
}

#[test]
fn f142_the_servers_of_a_running_msg_server_are_exchanged_by_sighup() {
    let site = Site::on_servers(1, "reload", 43);
    let Site { db, login, routes, pools, .. } = site;
    let first = [&db, &login, &routes[0]].map(|server| server.addrs[0]);
    let text = |servers: &[[std::net::SocketAddr; 3]]| {
        let of = |kind: usize| servers.iter().map(|one| one[kind]).collect::<Vec<_>>();
        msg_server_text(&of(0), &of(1), &of(2))
    };
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(MSG_SERVER, &directory, &text(&[first]));
    let reload = |text: &str| {
        fs::write(directory.path().join(MSG_SERVER.1), text).unwrap();
        server.hang_up();
    };
    let mut one = log_in(server.addrs[0], 1, WINDOWS);
    let mut two = log_in(server.addrs[0], 2, WINDOWS);
    let to_two = Session::User(2);
    assert_eq!(one.send_text(to_two, "first").unwrap(), 1);
    assert_eq!(hear(&mut two), "first");

    // A second one of each, and a key that takes effect at the next start.
    let (second_db, second_login) = (db_proxy_server(&pools, 0), login_server(0));
    let second_route = route_server(0);
    let second = [&second_db, &second_login, &second_route].map(|server| server.addrs[0]);
    reload(&text(&[first, second]).replace("MaxConnCnt=100", "MaxConnCnt=99"));
    let line = server.wait_for_line("has changed");
    assert!(line.contains("MaxConnCnt") && !line.contains("99"), "{line}");
    server.wait_for_line("db=2 login=2 route=2");
    server.wait_for_line("db_proxy_server connected");
    wait_for_users(&second_login, &second_route, 2);

    // The first ones go; whoever is here stays, and whoever comes is let in.
    reload(&text(&[second]));
    server.wait_for_line("db=1 login=1 route=1");
    drop((db, login, routes));
    assert_eq!(one.send_text(to_two, "second").unwrap(), 2);
    assert_eq!(hear(&mut two), "second");
    let _three = log_in(server.addrs[0], 3, WINDOWS);
    wait_for_users(&second_login, &second_route, 3);

    // With a file no msg_server could start with, everything stays as it is.
    reload("ListenIP=127.0.0.1\n");
    let line = server.wait_for_line("the configuration stays as it is");
    assert!(line.contains("DBServerIP1 is missing"), "{line}");
    assert_eq!(two.send_text(Session::User(1), "third").unwrap(), 3);
    assert_eq!(hear(&mut one), "third");
}
