//! What db_proxy_server does with its storage, on both kinds of it.
//!
//! The first part times handlers, without sockets: a message alone, 64 in one batch, a page of a
//! history, unread messages, recent sessions, all of 10 000 users. The second part sends messages
//! through the whole server over loopback, with its workers and its group commit, and its last
//! lines sum up.
//!
//! Every commit is durable: SQLite with `synchronous=FULL`, MariaDB with
//! `innodb_flush_log_at_trx_commit=1`. `cargo bench --bench storage -- through` runs the second
//! part alone.
#![allow(clippy::unwrap_used, reason = "without its servers a benchmark cannot go on")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/it/backends.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod backends;
#[path = "../tests/it/db_proxy_server/installation.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod installation;
#[path = "../tests/it/running.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod running;

use std::time::{Duration, Instant};
use std::{env, thread};

use criterion::{Bencher, Criterion, Throughput};
use teamtalk::base::im_pdu::{ImPdu, PduHeader};
use teamtalk::db_proxy_server::business::message_batch::BATCH_MAX;
use teamtalk::db_proxy_server::business::message_content::change_conversations;
use teamtalk::db_proxy_server::{DbProxyServer, DbProxyServerConfig};
use teamtalk::pb::base_define::MsgType;
use teamtalk::pb::buddy::{
    ImAllUserReq, ImAllUserRsp, ImRecentContactSessionReq, ImRecentContactSessionRsp,
};
use teamtalk::pb::cmd::*;
use teamtalk::pb::message::{ImGetMsgListReq, ImGetMsgListRsp, ImMsgData};

use backends::{MariaDb, Redis};
use installation::{Installation, NOW, embedded_pools, server_pools};
use running::{Peer, Running, config};

const USERS: u32 = 10_000;

/// Sessions of the user whose lists are read, messages in each, and how many of them are unread.
const SESSIONS: u32 = 100;
const MESSAGES: u32 = 50;
const UNREAD: u32 = 10;

fn message(from_user_id: u32, to_session_id: u32) -> ImMsgData {
    ImMsgData {
        from_user_id,
        to_session_id,
        msg_id: 0,
        create_time: NOW,
        msg_type: MsgType::SingleText.into(),
        msg_data: vec![b'x'; 100].into(),
        attach_data: None,
    }
}

fn pdu(seq_num: u16, msg: &ImMsgData) -> ImPdu {
    ImPdu::encode_with(PduHeader::new(SID_MSG, CID_MSG_DATA, seq_num), msg)
}

/// Stores one message of each pair, as one batch.
fn send(on: &Installation, pairs: &[(u32, u32)]) {
    let pdus: Vec<ImPdu> =
        pairs.iter().map(|&(from, to)| pdu(0, &message(on.id(from), on.id(to)))).collect();
    let pdus: Vec<_> = pdus.iter().map(ImPdu::as_pdu).collect();
    for answer in change_conversations(&on.business, &pdus) {
        assert_ne!(answer.unwrap().as_pdu().decode::<ImMsgData>().unwrap().msg_id, 0);
    }
}

/// Users, and one of them with many sessions.
fn fill(on: &Installation) {
    for first in (0..USERS).step_by(500) {
        let row = |n: u32| format!("({},'user {n}','nick',1,1,1)", 5_000_000 + n);
        let rows: Vec<String> = (first..first + 500).map(row).collect();
        let columns = "id, name, nick, departId, created, updated";
        on.execute(&format!("insert into IMUser ({columns}) values {}", rows.join(",")), &[]);
    }
    let to_one: Vec<(u32, u32)> = (2..2 + SESSIONS).map(|peer| (peer, 1)).collect();
    for _ in 0..MESSAGES {
        to_one.chunks(BATCH_MAX).for_each(|pairs| send(on, pairs));
    }
    let read = "update IMRecentSession set readMsgId=?, readTime=0 where userId=?";
    on.execute(read, &[(MESSAGES - UNREAD).into(), on.id(1).into()]);
}

fn all_users(bencher: &mut Bencher<'_>, on: &Installation, since: u32, expected: u32) {
    let msg = ImAllUserReq { user_id: on.id(1), latest_update_time: since, attach_data: None };
    bencher.iter(|| {
        let answer: ImAllUserRsp = on.ask(CID_BUDDY_LIST_ALL_USER_REQUEST, &msg);
        assert_eq!(answer.user_list.len(), expected as usize);
    });
}

fn handlers(c: &mut Criterion, name: &str, on: &Installation) {
    fill(on);
    let batch: Vec<(u32, u32)> = (0..BATCH_MAX as u32).map(|n| (200 + n, 300 + n)).collect();
    let mut group = c.benchmark_group(name);
    group.sample_size(20);
    group.bench_function("send 1 message", |bencher| bencher.iter(|| send(on, &batch[..1])));
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    group.bench_function("send 64 messages", |bencher| bencher.iter(|| send(on, &batch)));
    group.throughput(Throughput::Elements(1));
    let page = ImGetMsgListReq {
        user_id: on.id(1),
        session_type: 1,
        session_id: on.id(2),
        msg_id_begin: 0,
        msg_cnt: 20,
        attach_data: None,
    };
    group.bench_function("message list, 20 messages", |bencher| {
        bencher.iter(|| {
            let answer: ImGetMsgListRsp = on.ask(CID_MSG_LIST_REQUEST, &page);
            assert_eq!(answer.msg_list.len(), 20);
        });
    });
    group.bench_function("unread count, 100 sessions", |bencher| {
        bencher.iter(|| {
            let unread = on.unread(1);
            assert!(unread.len() == SESSIONS as usize && unread.iter().all(|u| u.2 == UNREAD));
        });
    });
    let recent =
        ImRecentContactSessionReq { user_id: on.id(1), latest_update_time: 0, attach_data: None };
    group.bench_function("recent sessions, 100 sessions", |bencher| {
        bencher.iter(|| {
            let command_id = CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST;
            let answer: ImRecentContactSessionRsp = on.ask(command_id, &recent);
            assert_eq!(answer.contact_session_list.len(), SESSIONS as usize);
        });
    });
    group.bench_function("all users, 10000 users", |bencher| all_users(bencher, on, 0, USERS));
    group.bench_function("all users, none changed", |bencher| all_users(bencher, on, 2, 0));
    group.finish();
}

/// Connections of msg_servers, and messages each of them has under way.
const CONNS: u32 = 4;
const IN_FLIGHT: u16 = 256;

/// How long messages are sent, after a second to warm up.
const SENDING: Duration = Duration::from_secs(5);

/// Messages acknowledged per second through the whole server.
fn through_the_server(pools: &str) -> f64 {
    let text = format!(
        "ListenIP=127.0.0.1\nListenPort=0\nThreadNum=8\nMsfsSite=127.0.0.1:1\n\
         aesKey=12345678901234567890123456789012\n{pools}"
    );
    let config = config(&text, DbProxyServerConfig::read);
    let server = Running::start(DbProxyServer::dispatch(config, || NOW).unwrap());
    let addr = server.addrs[0];
    let senders: Vec<_> = (0..CONNS).map(|n| thread::spawn(move || send_all(addr, n))).collect();
    senders.into_iter().map(|sender| sender.join().unwrap()).sum()
}

/// Messages acknowledged per second on one connection, from 125 users to 125 others.
fn send_all(addr: std::net::SocketAddr, n: u32) -> f64 {
    let mut peer = Peer::connect(addr);
    let msg = |seq: u16| {
        let user = 1 + n * 200 + u32::from(seq) % 125;
        pdu(seq, &message(user, 1_000 + user))
    };
    (0..IN_FLIGHT).for_each(|seq| peer.send(&msg(seq)));
    let warm = Instant::now() + Duration::from_secs(1);
    let (mut since, mut count) = (None, 0_u32);
    loop {
        let answer = peer.receive();
        let msg_id = answer.as_pdu().decode::<ImMsgData>().unwrap().msg_id;
        assert_ne!(msg_id, 0, "nothing is refused");
        peer.send(&msg(answer.as_pdu().seq_num()));
        let now = Instant::now();
        match since {
            None if now >= warm => since = Some(now),
            None => {}
            Some(start) => {
                count += 1;
                if now - start >= SENDING {
                    return f64::from(count) / (now - start).as_secs_f64();
                }
            }
        }
    }
}

fn main() {
    let (file, other_file) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let redis = |db| Redis::shared().config(db);
    if !env::args().any(|arg| arg == "through") {
        let servers = server_pools(&MariaDb::shared().database("bench"), &redis(1));
        let mut criterion = Criterion::default().configure_from_args();
        let on = Installation::new(&embedded_pools(&file), true);
        handlers(&mut criterion, "sqlite", &on);
        handlers(&mut criterion, "mariadb, redis", &Installation::new(&servers, false));
        criterion.final_summary();
    }
    let embedded = embedded_pools(&other_file);
    let servers = server_pools(&MariaDb::shared().database("bench_through"), &redis(2));
    for (name, pools) in [("sqlite", &embedded), ("mariadb_redis", &servers)] {
        let stored = through_the_server(pools);
        println!("db_proxy: storage={name} stored_messages_per_s={stored:.0}");
    }
}
