//! One connection to a database.

use std::fmt;
use std::ops::{Deref, DerefMut};

use log::warn;

use super::error::DbError;
use super::sql::Dialect;
use super::value::{ResultSet, Value};

/// What a connection did since it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Statements and, for a cache, commands.
    pub statements: u64,
    /// What had to reach the disk: commits, and statements that write outside of a transaction.
    pub commits: u64,
    /// Times the caller waited for the other side.
    pub round_trips: u64,
}

impl Counters {
    /// What both did.
    pub fn plus(self, other: Self) -> Self {
        Self {
            statements: self.statements + other.statements,
            commits: self.commits + other.commits,
            round_trips: self.round_trips + other.round_trips,
        }
    }

    /// What was done since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            statements: self.statements - earlier.statements,
            commits: self.commits - earlier.commits,
            round_trips: self.round_trips - earlier.round_trips,
        }
    }
}

/// A connection to a database. Statements have `?` for values; both drivers read the same text.
///
/// C++: db_proxy_server/DBPool.h CDBConn
/// Differs: every value is bound (F4), and a lost connection is an error, never hidden (F104).
pub trait DbConn: Send {
    /// Runs a statement that returns rows. If the connection is lost outside of a transaction it
    /// is opened again and the query run once more, because reading twice harms nobody.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBConn::ExecuteQuery
    /// Differs: no ping before each statement.
    fn execute_query(&mut self, sql: &str, params: &[Value]) -> Result<ResultSet, DbError>;

    /// Runs a statement that changes rows, and gives the number of rows that matched. For an
    /// upsert the number only tells none from some.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBConn::ExecuteUpdate
    /// Differs: a row that has the new values already counts, and none is no failure (F94).
    fn execute_update(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError>;

    /// The id that the latest insert gave to its row. Meaningless after several rows at once and
    /// after an upsert: ask for the row instead.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBConn::GetInsertId
    fn insert_id(&self) -> u64;

    /// Begins a transaction that may write. [`Transaction`] does it safely.
    fn begin(&mut self) -> Result<(), DbError>;

    /// Makes everything since `begin` durable, or nothing of it.
    fn commit(&mut self) -> Result<(), DbError>;

    /// Takes back everything since `begin`.
    fn rollback(&mut self) -> Result<(), DbError>;

    /// Whether a transaction is open.
    fn in_transaction(&self) -> bool;

    /// Whether the connection is of no more use.
    fn is_broken(&self) -> bool;

    /// Asks the other side whether it is there.
    fn ping(&mut self) -> Result<(), DbError>;

    /// How the few things are said that the databases say differently.
    fn dialect(&self) -> Dialect;

    /// What this connection did.
    fn counters(&self) -> Counters;

    /// What makes a query on `table` use an index; goes behind the name of the table.
    fn index_hint(&self, table: &str, index: &str) -> String {
        self.dialect().index_hint(table, index)
    }
}

/// A transaction that is rolled back unless it is committed, on every way out.
pub struct Transaction<'a> {
    conn: &'a mut dyn DbConn,
}

impl<'a> Transaction<'a> {
    /// Begins.
    pub fn begin(conn: &'a mut dyn DbConn) -> Result<Self, DbError> {
        conn.begin()?;
        Ok(Self { conn })
    }

    /// Makes it durable. After an error other than [`DbError::ConnectionLost`] nothing is stored.
    pub fn commit(self) -> Result<(), DbError> {
        self.conn.commit()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // A failed commit or a lost connection leaves nothing to roll back.
        if self.conn.in_transaction()
            && let Err(error) = self.conn.rollback()
        {
            warn!("rollback failed: {error}");
        }
    }
}

impl<'a> Deref for Transaction<'a> {
    type Target = dyn DbConn + 'a;

    fn deref(&self) -> &Self::Target {
        self.conn
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.conn
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transaction")
    }
}
