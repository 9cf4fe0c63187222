//! How long databases and caches take, by what they are asked for.
//!
//! Every connection of a pool is wrapped once, where it is opened, so that no caller can forget to
//! measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache_conn::{CacheCmd, CacheConn, CacheReply};
use super::db_conn::{Counters, DbConn};
use super::error::{CacheError, DbError};
use super::sql::Dialect;
use super::value::{ResultSet, Value};
use crate::base::histogram::{Histogram, Snapshot, Stopwatch};

/// What connections are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op {
    /// A statement that returns rows, a pipeline that changes nothing.
    Read,
    /// A statement that changes rows, a pipeline that may change something.
    Write,
    /// The start of a transaction; on the embedded driver it waits for other writers.
    Begin,
    /// The end of a transaction, which waits for the disk.
    Commit,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Begin, Self::Commit];

    /// As figures name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Begin => "begin",
            Self::Commit => "commit",
        }
    }
}

/// What the connections of one pool were asked for, and how long it took.
#[derive(Debug, Default)]
pub struct Times {
    times: [Histogram; 4],
    errors: [AtomicU64; 4],
}

impl Times {
    /// How long it took, failures included.
    pub fn snapshot(&self, op: Op) -> Snapshot {
        self.times[op as usize].snapshot()
    }

    /// How often it failed.
    pub fn errors(&self, op: Op) -> u64 {
        self.errors[op as usize].load(Ordering::Relaxed)
    }

    fn measure<T, E>(&self, op: Op, ask: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let watch = Stopwatch::start();
        let result = ask();
        self.times[op as usize].observe_time(watch.elapsed());
        if result.is_err() {
            self.errors[op as usize].fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// A database connection that is measured.
pub(super) struct TimedDb {
    conn: Box<dyn DbConn>,
    times: Arc<Times>,
}

impl TimedDb {
    pub(super) fn boxed(conn: Box<dyn DbConn>, times: &Arc<Times>) -> Box<dyn DbConn> {
        Box::new(Self { conn, times: Arc::clone(times) })
    }
}

impl DbConn for TimedDb {
    fn execute_query(&mut self, sql: &str, params: &[Value]) -> Result<ResultSet, DbError> {
        let Self { conn, times } = self;
        times.measure(Op::Read, || conn.execute_query(sql, params))
    }

    fn execute_update(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let Self { conn, times } = self;
        times.measure(Op::Write, || conn.execute_update(sql, params))
    }

    fn insert_id(&self) -> u64 {
        self.conn.insert_id()
    }

    fn begin(&mut self) -> Result<(), DbError> {
        let Self { conn, times } = self;
        times.measure(Op::Begin, || conn.begin())
    }

    fn commit(&mut self) -> Result<(), DbError> {
        let Self { conn, times } = self;
        times.measure(Op::Commit, || conn.commit())
    }

    fn rollback(&mut self) -> Result<(), DbError> {
        self.conn.rollback()
    }

    fn in_transaction(&self) -> bool {
        self.conn.in_transaction()
    }

    fn is_broken(&self) -> bool {
        self.conn.is_broken()
    }

    fn ping(&mut self) -> Result<(), DbError> {
        self.conn.ping()
    }

    fn dialect(&self) -> Dialect {
        self.conn.dialect()
    }

    fn counters(&self) -> Counters {
        self.conn.counters()
    }
}

/// A cache connection that is measured.
pub(super) struct TimedCache {
    conn: Box<dyn CacheConn>,
    times: Arc<Times>,
}

impl TimedCache {
    pub(super) fn boxed(conn: Box<dyn CacheConn>, times: &Arc<Times>) -> Box<dyn CacheConn> {
        Box::new(Self { conn, times: Arc::clone(times) })
    }
}

impl CacheConn for TimedCache {
    fn pipeline(&mut self, cmds: &[CacheCmd]) -> Result<Vec<CacheReply>, CacheError> {
        let Self { conn, times } = self;
        let op = if cmds.iter().all(CacheCmd::is_read) { Op::Read } else { Op::Write };
        times.measure(op, || conn.pipeline(cmds))
    }

    fn is_broken(&self) -> bool {
        self.conn.is_broken()
    }

    fn ping(&mut self) -> Result<(), CacheError> {
        self.conn.ping()
    }

    fn counters(&self) -> Counters {
        self.conn.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::embedded_cache::EmbeddedCache;
    use crate::storage::sqlite::SqliteConn;

    #[test]
    fn statements_are_measured_by_what_they_do_failures_included() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let times = Arc::default();
        let mut conn = TimedDb::boxed(Box::new(SqliteConn::open(&path).unwrap()), &times);
        conn.execute_update("create table a (b integer)", &[]).unwrap();
        conn.begin().unwrap();
        conn.execute_update("insert into a (b) values (?)", &[1.into()]).unwrap();
        conn.commit().unwrap();
        conn.execute_query("select b from a", &[]).unwrap();
        conn.execute_query("select nothing from a", &[]).unwrap_err();
        assert_eq!(Op::ALL.map(|op| times.snapshot(op).count()), [2, 2, 1, 1]);
        assert_eq!(Op::ALL.map(|op| times.errors(op)), [1, 0, 0, 0]);
    }

    #[test]
    fn a_pipeline_that_may_change_something_is_a_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let times = Arc::default();
        let cache = EmbeddedCache::open(&path, 0).unwrap();
        let mut conn = TimedCache::boxed(Box::new(cache), &times);
        conn.set("a", "1").unwrap();
        assert_eq!(conn.get("a").unwrap().as_deref(), Some("1"));
        let (read, write) = (
            CacheCmd::Get { key: "a".to_owned() },
            CacheCmd::IncrBy { key: "a".to_owned(), by: 1 },
        );
        conn.pipeline(&[read, write]).unwrap();
        assert_eq!((times.snapshot(Op::Read).count(), times.snapshot(Op::Write).count()), (1, 2));
    }
}
