//! Storing messages as group commit does: 64 at a time, in one transaction of two statements.
//!
//! Both databases make each commit durable: SQLite with `synchronous=FULL`, MariaDB with
//! `innodb_flush_log_at_trx_commit=1`. The figures are messages per second of one connection.
#![allow(clippy::unwrap_used, reason = "without its servers a benchmark cannot go on")]

#[path = "../tests/it/backends.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod backends;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use teamtalk::storage::embedded_cache::EmbeddedCache;
use teamtalk::storage::mysql::MySqlConn;
use teamtalk::storage::redis::RedisConn;
use teamtalk::storage::schema::migrate;
use teamtalk::storage::sqlite::SqliteConn;
use teamtalk::storage::{
    CacheCmd, CacheConn, DbConn, InsertRows, Merge, OnConflict, Transaction, Value,
};

use backends::{MariaDb, Redis};

const BATCH: u32 = 64;

const MESSAGES: InsertRows<'_> = InsertRows {
    table: "IMMessage_0",
    columns: &[
        "relateId", "fromId", "toId", "msgId", "content", "type", "status", "updated", "created",
    ],
    conflict: OnConflict::Fail,
};

const SESSIONS: InsertRows<'_> = InsertRows {
    table: "IMRecentSession",
    columns: &["userId", "peerId", "type", "status", "created", "updated"],
    conflict: OnConflict::Update {
        key: &["userId", "peerId", "type"],
        set: &[("status", Merge::New), ("updated", Merge::Greater)],
    },
};

/// One message of 100 bytes in each of 64 conversations, and their sessions.
fn store_batch(conn: &mut dyn DbConn, msg_id: u32) {
    let content = "x".repeat(100);
    let mut messages: Vec<Value> = Vec::new();
    let mut sessions: Vec<Value> = Vec::new();
    for n in 1..=BATCH {
        let numbers = [n * 8, n, n + 1, msg_id].map(Value::from);
        messages.extend(numbers);
        messages.push(content.as_str().into());
        messages.extend([1, 0, msg_id, msg_id].map(Value::from));
        sessions.extend([n, n + 1, 1, 0, msg_id, msg_id].map(Value::from));
    }
    let mut transaction = Transaction::begin(conn).unwrap();
    MESSAGES.execute(&mut *transaction, &messages).unwrap();
    SESSIONS.execute(&mut *transaction, &sessions).unwrap();
    transaction.commit().unwrap();
}

/// What 64 messages need of the cache: an id and an unread counter each.
fn count_batch(conn: &mut dyn CacheConn) {
    let cmds: Vec<CacheCmd> = (1..=BATCH)
        .flat_map(|n| {
            let id = CacheCmd::IncrBy { key: format!("msg_id_{n}"), by: 1 };
            let (key, field) = (format!("unread_{n}"), "1".to_owned());
            [id, CacheCmd::HIncrBy { key, field, by: 1 }]
        })
        .collect();
    conn.pipeline(&cmds).unwrap();
}

fn databases(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut sqlite = SqliteConn::open(&dir.path().join("db")).unwrap();
    let config = MariaDb::shared().database("bench");
    let mut mysql = MySqlConn::open(&config).unwrap();
    let mut group = c.benchmark_group("store_messages");
    group.throughput(Throughput::Elements(BATCH.into()));
    let conns: [(&str, &mut dyn DbConn); 2] = [("sqlite", &mut sqlite), ("mariadb", &mut mysql)];
    for (name, conn) in conns {
        migrate(conn).unwrap();
        let mut msg_id = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                msg_id += 1;
                store_batch(conn, msg_id);
            });
        });
    }
    group.finish();
}

fn caches(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut embedded = EmbeddedCache::open(&dir.path().join("cache"), 1).unwrap();
    let mut redis = RedisConn::open(&Redis::shared().config(1)).unwrap();
    let mut group = c.benchmark_group("count_messages");
    group.throughput(Throughput::Elements(BATCH.into()));
    let conns: [(&str, &mut dyn CacheConn); 2] =
        [("embedded", &mut embedded), ("redis", &mut redis)];
    for (name, conn) in conns {
        group.bench_function(name, |bencher| bencher.iter(|| count_batch(conn)));
    }
    group.finish();
}

criterion_group!(benches, databases, caches);
criterion_main!(benches);
