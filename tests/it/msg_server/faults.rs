//! Servers that are killed and come back while 200 clients talk and stay connected.

use std::collections::BTreeMap;
use std::time::Duration;

use teamtalk::client::Client;
use teamtalk::pb::base_define::ClientType;

use super::talkers::{FIRST_ID, Talkers, now, partner};
use crate::db_proxy_server::{embedded_pools, text_with};
use crate::process::{DB_PROXY_SERVER, LOGIN_SERVER, Process, Program, ROUTE_SERVER};
use crate::running::{Running, free_port};
use crate::site::{add_users, log_in, login_server_text, msg_server, route_server_text};

const CLIENTS: usize = 200;

/// How long a killed server stays away.
const AWAY: Duration = Duration::from_secs(3);

/// After a restart everybody has said something that is stored, and heard something, within this.
const REACHABLE: Duration = Duration::from_secs(10);

/// One msg_server for each half of the clients, and the processes behind them.
struct Cluster {
    directory: tempfile::TempDir,
    /// db_proxy_server, login_server and route_server, and what starts each of them again.
    servers: [(Process, Program, String); 3],
    msg_servers: [Running; 2],
}

impl Cluster {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pools = embedded_pools(&directory);
        let start = |program, text: &dyn Fn(u16) -> String| {
            let text = text(free_port());
            (Process::start(program, &directory, &text), program, text)
        };
        let db = start(DB_PROXY_SERVER, &|port| {
            text_with(&pools).replace("ListenPort=0", &format!("ListenPort={port}"))
        });
        let login = start(LOGIN_SERVER, &login_server_text);
        let route = start(ROUTE_SERVER, &route_server_text);
        add_users(&pools, 1..FIRST_ID + CLIENTS as u32);
        let msg_server = || {
            let addr = |process: &Process| *process.addrs.last().unwrap();
            msg_server(addr(&db.0), addr(&login.0), &[addr(&route.0)], "MaxConnCnt=1000\n")
        };
        let msg_servers = [msg_server(), msg_server()];
        Self { directory, servers: [db, login, route], msg_servers }
    }

    fn user(&self, user_id: u32) -> Client {
        log_in(self.msg_servers[0].addrs[0], user_id, ClientType::Windows)
    }
}

/// What each member has said and heard so far.
fn counts(talkers: &Talkers) -> Vec<(usize, usize)> {
    talkers.talks.iter().map(|talk| (talk.said.len(), talk.heard.len())).collect()
}

/// Kills server number `at` of the cluster under load, and looks at what has become of everything.
fn killed_and_restarted(at: usize) {
    let mut cluster = Cluster::new();
    // Both msg_servers have all they need.
    for server in &cluster.msg_servers {
        log_in(server.addrs[0], 1, ClientType::Windows);
    }
    let addrs = [0, 1].map(|at: usize| cluster.msg_servers[at].addrs[0]);
    let (think, patience) = (Duration::from_millis(100), Duration::from_secs(1));
    let mut talkers = Talkers::new(addrs, CLIENTS, think, patience);
    talkers.begin();
    while talkers.said() < 5 * CLIENTS {
        talkers.turn();
    }
    let (process, program, text) = {
        let (process, program, text) = &mut cluster.servers[at];
        (process, *program, text.clone())
    };
    process.kill();
    let killed = now();
    while now() < killed + AWAY {
        talkers.turn();
    }
    *process = Process::start(program, &cluster.directory, &text);
    let (restarted, before) = (now(), counts(&talkers));
    while counts(&talkers).iter().zip(&before).any(|(now, then)| now.0 == then.0 || now.1 == then.1)
    {
        talkers.turn();
        let (elapsed, online) = (restarted.elapsed(), talkers.talks.len() - talkers.left);
        assert!(elapsed < REACHABLE, "not everybody is reachable again; {online} are connected");
    }
    println!("{}: everybody reachable after {:?}", program.1, restarted.elapsed());
    talkers.end();
    while !talkers.is_answered() {
        talkers.turn();
    }
    assert_eq!(talkers.left, 0, "nobody had to log in again");
    for member in (0..CLIENTS).step_by(2) {
        check(&mut cluster.user(FIRST_ID + member as u32), &talkers, member);
    }
}

/// The history has every acknowledged message of this pair once, and nothing that was refused.
fn check(client: &mut Client, talkers: &Talkers, member: usize) {
    let session = partner(member);
    let (mut stored, mut newest) = (BTreeMap::new(), u32::MAX);
    while newest > 0 {
        let page =
            client.history(session, if newest == u32::MAX { 0 } else { newest }, 100).unwrap();
        newest = page.last().map_or(0, |message| message.msg_id - 1);
        for message in page {
            let text = message.text().unwrap().to_owned();
            assert_eq!(stored.insert(message.msg_id, text), None, "a number was given twice");
        }
    }
    for (one, other) in [(member, member + 1), (member + 1, member)] {
        let talk = &talkers.talks[one];
        for (msg_id, text) in talk.said.iter().chain(&talkers.talks[other].heard) {
            assert_eq!(stored.get(msg_id), Some(text), "acknowledged or heard, and lost");
        }
        for text in talk.said.values().chain(&talk.unknown) {
            assert!(stored.values().filter(|one| *one == text).count() <= 1, "stored twice");
        }
        assert!(talk.refused.iter().all(|text| !stored.values().any(|one| one == text)));
    }
}

#[test]
fn db_proxy_server_is_killed_while_200_clients_talk() {
    killed_and_restarted(0);
}

#[test]
fn login_server_is_killed_while_200_clients_talk() {
    killed_and_restarted(1);
}

#[test]
fn route_server_is_killed_while_200_clients_talk() {
    killed_and_restarted(2);
}
