//! Whatever dies under load: what was acknowledged is there once, what was refused is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use teamtalk::db_proxy_server::{DbProxyServer, DbProxyServerConfig};
use teamtalk::pb::base_define::{GroupType, SessionType};
use teamtalk::pb::cmd::*;
use teamtalk::pb::group::{ImGroupCreateReq, ImGroupCreateRsp};
use teamtalk::pb::message::{ImUnreadMsgCntReq, ImUnreadMsgCntRsp};
use teamtalk::storage::db_pool::TEAMTALK_MASTER;
use teamtalk::storage::{DbConn, DbManager};

use super::installation::{embedded_pools, server_pools};
use super::load::{Account, READERS};
use super::{request, text_with};
use crate::backends::{MariaDb, Redis};
use crate::process::{DB_PROXY_SERVER, Process};
use crate::running::{Peer, Running, config};

/// Who writes.
const WRITERS: [u32; 3] = [1, 2, 3];

/// Nothing here takes longer on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn make_group(peer: &mut Peer) -> u32 {
    let msg = ImGroupCreateReq {
        user_id: WRITERS[0],
        group_type: GroupType::Tmp.into(),
        group_name: "all".to_owned(),
        group_avatar: String::new(),
        member_id_list: WRITERS.into_iter().chain(READERS).collect(),
        attach_data: None,
    };
    peer.send(&request(CID_GROUP_CREATE_REQUEST, 1, &msg));
    let answer: ImGroupCreateRsp = peer.receive().as_pdu().decode().unwrap();
    answer.group_id.unwrap()
}

/// Nobody has read anything, so every stored message is unread, and there are no others.
fn check_unread(peer: &mut Peer, conn: &mut dyn DbConn, group_id: u32) {
    let mut count = |sql: &str, ids: &[u32]| {
        let values: Vec<_> = ids.iter().map(|&id| id.into()).collect();
        let found = conn.execute_query(sql, &values).unwrap();
        found.first().unwrap().get::<u32>("n").unwrap()
    };
    for reader in READERS {
        let msg = ImUnreadMsgCntReq { user_id: reader, attach_data: None };
        peer.send(&request(CID_MSG_UNREAD_CNT_REQUEST, 1, &msg));
        let answer: ImUnreadMsgCntRsp = peer.receive().as_pdu().decode().unwrap();
        assert_eq!(answer.unreadinfo_list.len(), WRITERS.len() + 1);
        for unread in answer.unreadinfo_list {
            let stored: u32 = if unread.session_type() == SessionType::Single {
                (0..8)
                    .map(|shard| {
                        let table = format!("IMMessage_{shard}");
                        let sql =
                            format!("select count(*) as n from {table} where fromId=? and toId=?");
                        count(&sql, &[unread.session_id, reader])
                    })
                    .sum()
            } else {
                let table = format!("IMGroupMessage_{}", group_id % 8);
                count(&format!("select count(*) as n from {table} where groupId=?"), &[group_id])
            };
            assert_eq!(unread.unread_cnt, stored, "{unread:?}");
        }
    }
}

/// Kills the program `times` times while it stores, each time after another number of answers.
fn killed_at_random_points(pools: &str, times: u64) {
    let directory = tempfile::tempdir().unwrap();
    let account = Account::default();
    let start = || Process::start(DB_PROXY_SERVER, &directory, &text_with(pools));
    let mut server = start();
    let group_id = make_group(&mut Peer::connect(server.addrs[0]));
    for round in 0..times {
        let stop = AtomicBool::new(false);
        let addr = server.addrs[0];
        // A fixed sequence that looks random: the same points in every run.
        let until = account.answers.load(Ordering::Relaxed) + 1 + (round * 7_919) % 97;
        thread::scope(|scope| {
            for user_id in WRITERS {
                let (account, stop) = (&account, &stop);
                scope.spawn(move || account.write(addr, user_id, group_id, stop));
            }
            while account.answers.load(Ordering::Relaxed) < until {
                thread::yield_now();
            }
            server.kill();
        });
        server = start();
    }
    let db = config(pools, DbManager::from_config);
    let mut conn = db.db_conn(TEAMTALK_MASTER).unwrap();
    let stored = account.check(&mut *conn);
    let answers = account.answers.load(Ordering::Relaxed);
    assert_eq!(account.refused.lock().unwrap().len(), 0, "nothing was wrong with any of them");
    assert!(stored as u64 >= answers && answers > times, "{stored} stored, {answers} answers");
    check_unread(&mut Peer::connect(server.addrs[0]), &mut *conn, group_id);
    server.kill();
}

#[test]
fn a_server_killed_100_times_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    killed_at_random_points(&embedded_pools(&directory), 100);
}

#[test]
fn a_server_killed_100_times_loses_nothing_on_mariadb_and_redis() {
    let db = MariaDb::shared().database("killed");
    killed_at_random_points(&server_pools(&db, &Redis::shared().config(62)), 100);
}

/// Writes all the time, lets `fault` happen, and writes until all is well again.
#[expect(clippy::disallowed_methods, reason = "a test with real servers waits in real time")]
fn survived(pools: &str, fault: impl FnOnce()) {
    let server = Running::start(DbProxyServer::dispatch(read(pools), || 1_700_000_000).unwrap());
    let account = Account::default();
    let group_id = make_group(&mut server.peer());
    let stop = AtomicBool::new(false);
    let addr = server.addrs[0];
    let acknowledged = || account.acknowledged.lock().unwrap().len();
    let until_more = |more: usize| {
        let (start, before) = (Instant::now(), acknowledged());
        while acknowledged() < before + more {
            assert!(start.elapsed() < PATIENCE, "nothing is stored any more");
            thread::sleep(Duration::from_millis(1));
        }
    };
    thread::scope(|scope| {
        for user_id in WRITERS {
            let (account, stop) = (&account, &stop);
            scope.spawn(move || account.write(addr, user_id, group_id, stop));
        }
        until_more(100);
        fault();
        until_more(100);
        stop.store(true, Ordering::Relaxed);
    });
    let db = config(pools, DbManager::from_config);
    let mut conn = db.db_conn(TEAMTALK_MASTER).unwrap();
    assert_eq!(account.check(&mut *conn), acknowledged());
    check_unread(&mut server.peer(), &mut *conn, group_id);
}

#[test]
fn two_servers_on_one_database_give_no_number_twice() {
    let directory = tempfile::tempdir().unwrap();
    two_servers(&embedded_pools(&directory));
    let db = MariaDb::shared().database("two_servers");
    two_servers(&server_pools(&db, &Redis::shared().config(59)));
}

/// Both write to the same conversations at once.
fn two_servers(pools: &str) {
    let start = || Running::start(DbProxyServer::dispatch(read(pools), || 1_700_000_000).unwrap());
    let servers = [start(), start()];
    let account = Account::default();
    let group_id = make_group(&mut servers[0].peer());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (user_id, server) in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)] {
            let (account, stop, addr) = (&account, &stop, servers[server].addrs[0]);
            scope.spawn(move || account.write(addr, user_id, group_id, stop));
        }
        while account.answers.load(Ordering::Relaxed) < 2_000 {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(account.refused.lock().unwrap().len(), 0);
    let db = config(pools, DbManager::from_config);
    let mut conn = db.db_conn(TEAMTALK_MASTER).unwrap();
    assert_eq!(account.check(&mut *conn), account.acknowledged.lock().unwrap().len());
    check_unread(&mut servers[1].peer(), &mut *conn, group_id);
}

fn read(pools: &str) -> DbProxyServerConfig {
    config(&text_with(pools), DbProxyServerConfig::read)
}

#[test]
fn a_mariadb_that_is_killed_under_load_costs_refusals_only() {
    let maria_db = MariaDb::start();
    let pools = server_pools(&maria_db.database("teamtalk"), &Redis::shared().config(61));
    survived(&pools, || {
        for _ in 0..3 {
            maria_db.server.kill();
            maria_db.server.start_again();
            maria_db.wait();
        }
    });
}

#[test]
fn a_redis_that_is_killed_and_comes_back_empty_costs_refusals_only() {
    let redis = Redis::start();
    let pools = server_pools(&MariaDb::shared().database("redis_killed"), &redis.config(1));
    survived(&pools, || {
        for _ in 0..3 {
            redis.server.kill();
            redis.server.start_again();
            redis.wait();
        }
    });
}

#[test]
fn a_redis_that_hangs_for_ten_seconds_costs_refusals_only() {
    let redis = Redis::start();
    let pools = server_pools(&MariaDb::shared().database("redis_paused"), &redis.config(1));
    survived(&pools, || {
        redis.server.pause();
        thread::sleep(Duration::from_secs(10));
        redis.server.go_on();
    });
}
