//! The embedded database: one file, no server, shared with other processes that open it.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, Statement, ToSql, ffi, params_from_iter};

use super::db_conn::{Counters, DbConn};
use super::error::DbError;
use super::sql::Dialect;
use super::value::{ResultSet, Value};

/// Statements a connection keeps prepared: some 50 texts, and inserts of each number of rows.
const STATEMENTS_MAX: usize = 256;

/// A writer that finds another one at work asks again: soon at first, because a commit takes about
/// a millisecond, then with more patience, for a little over 5 s in all.
const BUSY_SOON: (i32, Duration) = (400, Duration::from_micros(500));
const BUSY_LATER: (i32, Duration) = (500, Duration::from_millis(10));

/// Pages of 4 KiB in the log before it is copied into the file. A page that changes in each of many
/// commits is copied once.
const CHECKPOINT_PAGES: u32 = 8_000;

/// Pages that a connection keeps in memory at most, 32 MiB. A new message touches pages all over
/// the indexes; a quarter of this halves the rate of the benchmark.
const CACHE_PAGES: u32 = 8_000;

/// A connection to a file. Readers never wait; writers wait for each other.
pub struct SqliteConn {
    conn: Connection,
    counters: Counters,
    broken: bool,
}

impl SqliteConn {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let conn = open_file(path).map_err(|error| DbError::Connect {
            target: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self { conn, counters: Counters::default(), broken: false })
    }

    fn failed(&mut self, error: &Error) -> DbError {
        let error = db_error(error);
        self.broken |= matches!(error, DbError::ConnectionLost(_));
        error
    }

    fn control(&mut self, sql: &str) -> Result<(), DbError> {
        self.counters.round_trips += 1;
        let result = self.conn.prepare_cached(sql).and_then(|mut s| s.execute([]).map(drop));
        result.map_err(|error| self.failed(&error))
    }
}

/// Write-ahead logging lets readers and a writer work side by side; `FULL` makes every commit
/// durable before it is acknowledged.
pub(super) fn open_file(path: &Path) -> Result<Connection, Error> {
    let mut conn = Connection::open(path)?;
    conn.busy_handler(Some(wait_while_busy))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // While another process switches the mode the file is locked, and the handler is not asked.
    let mut attempts = 0;
    while let Err(error) = conn.pragma_update(None, "journal_mode", "WAL") {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || !wait_while_busy(attempts)
        {
            return Err(error);
        }
        attempts += 1;
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "cache_size", CACHE_PAGES)?;
    Ok(conn)
}

fn wait_while_busy(attempts: i32) -> bool {
    let pause = match attempts {
        n if n < BUSY_SOON.0 => BUSY_SOON.1,
        n if n < BUSY_SOON.0 + BUSY_LATER.0 => BUSY_LATER.1,
        _ => return false,
    };
    thread::sleep(pause);
    true
}

impl DbConn for SqliteConn {
    fn execute_query(&mut self, sql: &str, params: &[Value]) -> Result<ResultSet, DbError> {
        self.counters.statements += 1;
        self.counters.round_trips += 1;
        let result = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut statement| read_rows(&mut statement, params));
        result.map_err(|error| self.failed(&error))
    }

    fn execute_update(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.counters.statements += 1;
        self.counters.round_trips += 1;
        let result = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(params)));
        match result {
            Ok(rows) => {
                self.counters.commits += u64::from(!self.in_transaction());
                Ok(rows as u64)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn insert_id(&self) -> u64 {
        u64::try_from(self.conn.last_insert_rowid()).unwrap_or(0)
    }

    /// Takes the lock of the writer at once: a reader that becomes a writer later may find that
    /// others have written since, and fail.
    fn begin(&mut self) -> Result<(), DbError> {
        self.control("begin immediate")
    }

    fn commit(&mut self) -> Result<(), DbError> {
        self.control("commit")?;
        self.counters.commits += 1;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), DbError> {
        self.control("rollback")
    }

    fn in_transaction(&self) -> bool {
        !self.conn.is_autocommit()
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn ping(&mut self) -> Result<(), DbError> {
        self.execute_query("select 1", &[]).map(drop)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

fn read_rows(statement: &mut Statement<'_>, params: &[Value]) -> Result<ResultSet, Error> {
    let columns: Arc<[String]> = statement.column_names().map(String::from).collect();
    let mut found = statement.query(params_from_iter(params))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let values = (0..columns.len()).map(|column| row.get_ref(column).map(value));
        rows.push(values.collect::<Result<_, _>>()?);
    }
    Ok(ResultSet::new(columns, rows))
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Value::Text(String::from_utf8_lossy(text).into_owned())
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The texts of constraint errors name columns and constraints, never values.
fn db_error(error: &Error) -> DbError {
    let Error::SqliteFailure(cause, message) = error else {
        return DbError::Misuse(error.to_string());
    };
    let message = message.clone().unwrap_or_else(|| cause.to_string());
    let code = i64::from(cause.extended_code);
    let subject = message.split_once(": ").map_or(message.as_str(), |(_, subject)| subject);
    match (cause.code, cause.extended_code) {
        (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
            DbError::Duplicate { key: subject.to_owned() }
        }
        (_, ffi::SQLITE_CONSTRAINT_CHECK) => refused_value(subject),
        (ErrorCode::ConstraintViolation, _) => DbError::BadValue { column: subject.to_owned() },
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => DbError::Busy(message),
        (ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed, _) => {
            DbError::ConnectionLost(message)
        }
        _ => DbError::Other { code, message },
    }
}

/// The schema names its constraints `too_long_COLUMN` and `out_of_range_COLUMN`.
fn refused_value(constraint: &str) -> DbError {
    if let Some(column) = constraint.strip_prefix("too_long_") {
        return DbError::TooLong { column: column.to_owned() };
    }
    let column = constraint.strip_prefix("out_of_range_").unwrap_or(constraint);
    DbError::BadValue { column: column.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn() -> (tempfile::TempDir, SqliteConn) {
        let dir = tempfile::tempdir().unwrap();
        let conn = SqliteConn::open(&dir.path().join("db")).unwrap();
        (dir, conn)
    }

    #[test]
    fn the_file_is_durable_and_shared() {
        let (_dir, mut conn) = conn();
        let mode = conn.execute_query("pragma journal_mode", &[]).unwrap();
        assert_eq!(mode.first().unwrap().get::<&str>("journal_mode").unwrap(), "wal");
        let full = conn.execute_query("pragma synchronous", &[]).unwrap();
        assert_eq!(full.first().unwrap().get::<u32>("synchronous").unwrap(), 2);
    }

    #[test]
    fn constraints_tell_long_values_from_wrong_ones() {
        let (_dir, mut conn) = conn();
        let sql = "create table t (a text constraint too_long_a check (length(a) <= 2), \
                   b integer not null constraint out_of_range_b check (b < 9)) strict";
        conn.execute_update(sql, &[]).unwrap();
        let mut insert = |a: &str, b: Value| {
            let error = conn.execute_update("insert into t values (?, ?)", &[a.into(), b]);
            error.unwrap_err().to_string()
        };
        assert_eq!(insert("long", 1_u32.into()), "value too long for column a");
        assert_eq!(insert("ok", 9_u32.into()), "value not allowed in column b");
        assert_eq!(insert("ok", Value::Null), "value not allowed in column t.b");
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let error = SqliteConn::open(Path::new("/nowhere/db")).err().unwrap();
        assert!(error.to_string().starts_with("cannot open /nowhere/db: "), "{error}");
    }
}
