//! What servers log while people talk.

use teamtalk::client::{Client, Event, Session};

use super::WINDOWS;
use crate::db_proxy_server::{embedded_pools, text_with};
use crate::process::{DB_PROXY_SERVER, LOGIN_SERVER, MSG_SERVER, Process, ROUTE_SERVER};
use crate::site::{
    add_users, log_in, login_server_text, msg_server_text, pause, route_server_text,
};

const COUNT: u32 = 100;

/// What a server has logged until now: it answers SIGHUP with a line.
fn lines_until_now(server: &Process, answer: &str) -> Vec<String> {
    server.hang_up();
    server.lines_before(answer)
}

/// Somebody hears so many messages.
fn hear(client: &mut Client, count: u32) {
    let mut left = count;
    while left > 0 {
        let event = client.next_event(std::time::Duration::from_secs(20)).unwrap();
        left -= u32::from(matches!(event.expect("a message in time"), Event::Message(_)));
    }
}

#[test]
fn f138_no_server_logs_a_line_per_message() {
    let directory = tempfile::tempdir().unwrap();
    let pools = embedded_pools(&directory);
    let db = Process::start(DB_PROXY_SERVER, &directory, &text_with(&pools));
    let login = Process::start(LOGIN_SERVER, &directory, &login_server_text(0));
    let route = Process::start(ROUTE_SERVER, &directory, &route_server_text(0));
    add_users(&pools, 1..4);
    let addr = |process: &Process| *process.addrs.last().unwrap();
    let text =
        msg_server_text(&[addr(&db)], &[addr(&login)], &[addr(&route)]) + "MaxMsgCntPerSecond=0\n";
    let start = || {
        let directory = tempfile::tempdir_in(&directory).unwrap().keep();
        Process::start(MSG_SERVER, directory, &text)
    };
    let (a, b) = (start(), start());
    let mut one = log_in(addr(&a), 1, WINDOWS);
    let mut two = log_in(addr(&b), 2, WINDOWS);
    while one.users_status(&[2]).unwrap()[0].status != 1 {
        pause();
    }
    let servers = [(&db, "Hangup"), (&route, "Hangup"), (&a, "read again"), (&b, "read again")];
    for (server, answer) in servers {
        lines_until_now(server, answer);
    }
    // To somebody elsewhere, and to somebody who is away.
    for number in 0..COUNT {
        one.send_text(Session::User(2), &format!("hello {number}")).unwrap();
        one.send_text(Session::User(3), &format!("are you there {number}")).unwrap();
    }
    hear(&mut two, COUNT);
    two.history(Session::User(1), 0, 10).unwrap();
    for (server, answer) in servers {
        let lines = lines_until_now(server, answer);
        assert!(lines.len() < 10, "{} lines: {:#?}", lines.len(), &lines[..10]);
    }
}
