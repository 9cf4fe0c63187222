//! One contract for all drivers of databases and caches, and what only real servers can show.

mod cache;
mod db;
mod faults;
mod processes;
pub mod schema;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use teamtalk::storage::embedded_cache::EmbeddedCache;
use teamtalk::storage::mysql::{MySqlConfig, MySqlConn};
use teamtalk::storage::redis::RedisConn;
use teamtalk::storage::schema::migrate;
use teamtalk::storage::sqlite::SqliteConn;
use teamtalk::storage::{CacheConn, DbConn};

use crate::backends::{MariaDb, Redis};

/// Texts that something on the way may take for something else.
pub fn strange_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "plain",
        "it's \"quoted\" `so`",
        r"back\slash \' \\ \0 \n",
        "nul\0in the middle",
        "\0",
        "line\r\nfeed\ttab\x1b",
        "'; drop table IMUser; -- ",
        "100% %s %d %n",
        "? :1 $1 {n}",
        "汉字 ümlaut",
        "emoji 😀👨\u{200d}👩\u{200d}👧 \u{1f1e9}\u{1f1ea}",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(10_240));
    texts.push("😀".repeat(2_560));
    texts
}

/// Opens connections to the same database.
type OpenDb<'a> = &'a (dyn Fn() -> Box<dyn DbConn> + Sync);

/// Opens connections to the same cache.
type OpenCache<'a> = &'a (dyn Fn() -> Box<dyn CacheConn> + Sync);

/// Runs a part of the contract on both drivers, on databases with all tables.
fn on_each_db(contract: fn(OpenDb<'_>)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    migrate(&mut SqliteConn::open(&path).unwrap()).unwrap();
    contract(&|| open_sqlite(&path));
    contract(&|| Box::new(MySqlConn::open(migrated()).unwrap()));
}

fn open_sqlite(path: &Path) -> Box<dyn DbConn> {
    Box::new(SqliteConn::open(path).unwrap())
}

/// Tests work side by side on this database, each with numbers and names of its own.
fn migrated() -> &'static MySqlConfig {
    static MIGRATED: OnceLock<MySqlConfig> = OnceLock::new();
    MIGRATED.get_or_init(|| {
        let config = MariaDb::shared().database("contract");
        migrate(&mut MySqlConn::open_patient(&config).unwrap()).unwrap();
        config
    })
}

/// Runs a part of the contract on both drivers, on empty caches.
fn on_each_cache(contract: fn(OpenCache<'_>)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    contract(&|| Box::new(EmbeddedCache::open(&path, 1).unwrap()));
    static NEXT_DB: AtomicU32 = AtomicU32::new(1);
    let config = Redis::shared().config(NEXT_DB.fetch_add(1, Ordering::Relaxed));
    contract(&|| Box::new(RedisConn::open(&config).unwrap()));
}
