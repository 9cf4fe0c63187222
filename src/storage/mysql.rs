//! The database of an installation with servers: MySQL 8 and later, MariaDB 10.5 and later.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use ::mysql::consts::{CapabilityFlags, ColumnType};
use ::mysql::prelude::{Protocol, Queryable};
use ::mysql::{Conn, DriverError, Error, MySqlError, Opts, OptsBuilder, Params, QueryResult};
use ::mysql::{Statement, Value as Stored};

use super::db_conn::{Counters, DbConn};
use super::error::DbError;
use super::sql::Dialect;
use super::value::{ResultSet, Value};

/// Longest wait for a connection to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest silence of the server within a statement.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements a connection keeps prepared: some 50 texts, and inserts of each number of rows.
const STATEMENTS_MAX: usize = 256;

/// Values that do not fit are refused, never cut; who waits for a row gives up before the caller
/// does. Under `read committed` two inserts into one table do not lock the gaps between rows
/// against each other.
const INIT: [&str; 3] = [
    "set names utf8mb4",
    "set session sql_mode='STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     innodb_lock_wait_timeout=5",
    "set session transaction isolation level read committed",
];

/// Where the database is, and as whom to log in. Has no `Debug`: it holds a password.
#[derive(Clone)]
pub struct MySqlConfig {
    /// Name or address of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Name of the database.
    pub dbname: String,
    /// User name.
    pub username: String,
    /// Password of the user, may be empty.
    pub password: String,
}

impl MySqlConfig {
    fn target(&self) -> String {
        format!("mysql {}:{}/{}", self.host, self.port, self.dbname)
    }

    /// With matched rows counted instead of changed ones (F94).
    fn opts(&self, command_timeout: Option<Duration>) -> Opts {
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some(&self.host))
            .tcp_port(self.port)
            .db_name(Some(&self.dbname))
            .user(Some(&self.username))
            .pass(Some(&self.password))
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
            .read_timeout(command_timeout)
            .write_timeout(command_timeout)
            .prefer_socket(false)
            .stmt_cache_size(STATEMENTS_MAX)
            .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS)
            .init(INIT.to_vec());
        opts.into()
    }
}

/// A connection to a server.
pub struct MySqlConn {
    target: String,
    opts: Opts,
    conn: Conn,
    transaction: TransactionState,
    /// The server numbers statements as they are prepared, so a higher one is a new one.
    last_statement: u32,
    counters: Counters,
    broken: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TransactionState {
    None,
    Open,
    /// The server took it back; what comes now must not pass for a part of it.
    Failed,
}

impl MySqlConn {
    /// Connects, with limits for everything.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBConn::Init
    /// Differs: no reconnecting behind the caller's back (F104), timeouts, and a strict mode in
    /// which nothing is cut (S23).
    pub fn open(config: &MySqlConfig) -> Result<Self, DbError> {
        Self::open_with(config.target(), config.opts(Some(COMMAND_TIMEOUT)))
    }

    /// Connects for statements that may take as long as they need: changes of the schema.
    pub fn open_patient(config: &MySqlConfig) -> Result<Self, DbError> {
        Self::open_with(config.target(), config.opts(None))
    }

    /// Makes the database of a configuration, if the server has none of this name.
    pub fn create_database(config: &MySqlConfig) -> Result<(), DbError> {
        // One that everybody may look into.
        let any = MySqlConfig { dbname: "information_schema".to_owned(), ..config.clone() };
        let name = config.dbname.replace('`', "``");
        let sql = format!(
            "create database if not exists `{name}` character set utf8mb4 collate utf8mb4_bin"
        );
        Self::open(&any)?.execute_update(&sql, &[]).map(drop)
    }

    fn open_with(target: String, opts: Opts) -> Result<Self, DbError> {
        let conn = connect(&target, &opts)?;
        Ok(Self {
            target,
            opts,
            conn,
            transaction: TransactionState::None,
            last_statement: 0,
            counters: Counters::default(),
            broken: false,
        })
    }

    fn reconnect(&mut self) -> Result<(), DbError> {
        self.conn = connect(&self.target, &self.opts)?;
        self.last_statement = 0;
        self.broken = false;
        Ok(())
    }

    /// Prepares a statement unless this connection has it already.
    fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        let statement = self.conn.prep(sql)?;
        if statement.id() > self.last_statement {
            self.last_statement = statement.id();
            self.counters.round_trips += 1;
        }
        Ok(statement)
    }

    fn try_query(&mut self, sql: &str, params: &[Value]) -> Result<ResultSet, Error> {
        self.counters.statements += 1;
        self.counters.round_trips += 1;
        if params.is_empty() {
            return read_rows(self.conn.query_iter(sql)?);
        }
        let statement = self.prepare(sql)?;
        read_rows(self.conn.exec_iter(statement, stored_params(params))?)
    }

    fn try_update(&mut self, sql: &str, params: &[Value]) -> Result<u64, Error> {
        self.counters.statements += 1;
        self.counters.round_trips += 1;
        if params.is_empty() {
            self.conn.query_drop(sql)?;
        } else {
            let statement = self.prepare(sql)?;
            self.conn.exec_drop(statement, stored_params(params))?;
        }
        Ok(self.conn.affected_rows())
    }

    fn try_control(&mut self, sql: &str) -> Result<(), Error> {
        self.counters.round_trips += 1;
        self.conn.query_drop(sql)
    }

    fn failed(&mut self, error: &Error) -> DbError {
        let error = db_error(error);
        self.broken |= matches!(error, DbError::ConnectionLost(_));
        if matches!(error, DbError::Busy(_)) && self.in_transaction() {
            self.transaction = TransactionState::Failed;
        }
        error
    }

    fn check_transaction(&self) -> Result<(), DbError> {
        if self.transaction == TransactionState::Failed {
            return Err(DbError::Misuse("the transaction has failed; roll it back".to_owned()));
        }
        Ok(())
    }

    /// Whether the same may be done once more on a new connection: nothing is begun, and the
    /// server did not use up the time of the caller already.
    fn may_reconnect(&self, error: &Error) -> bool {
        self.transaction == TransactionState::None && is_lost(error) && !is_timeout(error)
    }
}

fn connect(target: &str, opts: &Opts) -> Result<Conn, DbError> {
    Conn::new(opts.clone())
        .map_err(|error| DbError::Connect { target: target.to_owned(), reason: error.to_string() })
}

impl DbConn for MySqlConn {
    fn execute_query(&mut self, sql: &str, params: &[Value]) -> Result<ResultSet, DbError> {
        self.check_transaction()?;
        let mut result = self.try_query(sql, params);
        if let Err(error) = &result
            && self.may_reconnect(error)
        {
            self.reconnect()?;
            result = self.try_query(sql, params);
        }
        result.map_err(|error| self.failed(&error))
    }

    fn execute_update(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.check_transaction()?;
        let rows = self.try_update(sql, params).map_err(|error| self.failed(&error))?;
        self.counters.commits += u64::from(!self.in_transaction());
        Ok(rows)
    }

    fn insert_id(&self) -> u64 {
        self.conn.last_insert_id()
    }

    fn begin(&mut self) -> Result<(), DbError> {
        if self.in_transaction() {
            return Err(DbError::Misuse("a transaction is open already".to_owned()));
        }
        let mut result = self.try_control("start transaction");
        if let Err(error) = &result
            && self.may_reconnect(error)
        {
            self.reconnect()?;
            result = self.try_control("start transaction");
        }
        result.map_err(|error| self.failed(&error))?;
        self.transaction = TransactionState::Open;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DbError> {
        self.check_transaction()?;
        if !self.in_transaction() {
            return Err(DbError::Misuse("no transaction is open".to_owned()));
        }
        self.try_control("commit").map_err(|error| self.failed(&error))?;
        self.transaction = TransactionState::None;
        self.counters.commits += 1;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), DbError> {
        if self.broken {
            // The server rolls back what a lost connection has begun.
            self.transaction = TransactionState::None;
            return Ok(());
        }
        self.try_control("rollback").map_err(|error| self.failed(&error))?;
        self.transaction = TransactionState::None;
        Ok(())
    }

    fn in_transaction(&self) -> bool {
        self.transaction != TransactionState::None
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn ping(&mut self) -> Result<(), DbError> {
        self.counters.round_trips += 1;
        self.conn.ping().map_err(|error| self.failed(&error))
    }

    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

fn stored_params(params: &[Value]) -> Params {
    let stored = params.iter().map(|value| match value {
        Value::Null => Stored::NULL,
        Value::Int(number) => Stored::Int(*number),
        Value::Text(text) => Stored::Bytes(text.clone().into_bytes()),
    });
    Params::Positional(stored.collect())
}

fn read_rows<P: Protocol>(mut result: QueryResult<'_, '_, '_, P>) -> Result<ResultSet, Error> {
    let columns: Arc<[String]> =
        result.columns().as_ref().iter().map(|column| column.name_str().into_owned()).collect();
    let mut rows = Vec::new();
    for row in result.by_ref() {
        let row = row?;
        let types: Vec<ColumnType> =
            row.columns_ref().iter().map(|column| column.column_type()).collect();
        let values = row.unwrap().into_iter().zip(types);
        rows.push(values.map(|(stored, column)| value(stored, column)).collect());
    }
    Ok(ResultSet::new(columns, rows))
}

/// Numbers come as text if no value was bound, and sums always.
fn value(stored: Stored, column: ColumnType) -> Value {
    let text = match stored {
        Stored::NULL => return Value::Null,
        Stored::Int(number) => return Value::Int(number),
        Stored::UInt(number) => match i64::try_from(number) {
            Ok(number) => return Value::Int(number),
            Err(_) => number.to_string(),
        },
        Stored::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        },
        other => other.as_sql(true).trim_matches('\'').to_owned(),
    };
    let number = if column.is_numeric_type() { text.parse().ok() } else { None };
    number.map_or(Value::Text(text), Value::Int)
}

fn is_timeout(error: &Error) -> bool {
    match error {
        Error::IoError(error) => {
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        }
        _ => false,
    }
}

fn is_lost(error: &Error) -> bool {
    matches!(db_error(error), DbError::ConnectionLost(_))
}

fn db_error(error: &Error) -> DbError {
    match error {
        Error::MySqlError(error) => server_error(error),
        Error::DriverError(
            DriverError::MismatchedStmtParams(..)
            | DriverError::Params(_)
            | DriverError::MixedParams,
        ) => DbError::Misuse(error.to_string()),
        _ if is_timeout(error) => DbError::ConnectionLost("no answer in time".to_owned()),
        _ => DbError::ConnectionLost(error.to_string()),
    }
}

/// Numbers of the reference of server errors. Texts that quote values are not passed on.
fn server_error(error: &MySqlError) -> DbError {
    let message = &error.message;
    match error.code {
        1062 | 1586 => DbError::Duplicate { key: named(message, "for key ") },
        1406 => DbError::TooLong { column: named(message, "column ") },
        1048 | 1264 | 1265 | 1292 | 1366 => DbError::BadValue { column: named(message, "olumn ") },
        1364 => DbError::BadValue { column: named(message, "Field ") },
        1205 | 1213 | 3572 => DbError::Busy(message.clone()),
        1053 | 1077 | 1079 | 1927 | 4031 => DbError::ConnectionLost(message.clone()),
        code => DbError::Other { code: code.into(), message: message.clone() },
    }
}

/// The last part of the quoted name behind the last `word`, as in ``for column `db`.`t`.`c` at``.
fn named(message: &str, word: &str) -> String {
    let behind = message.rsplit_once(word).map_or("", |(_, behind)| behind);
    let name = behind.split([' ', ',']).next().unwrap_or("");
    let name = name.rsplit('.').next().unwrap_or(name);
    name.trim_matches(['\'', '`', '"']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> DbError {
        let state = "HY000".to_owned();
        server_error(&MySqlError { state, message: message.to_owned(), code })
    }

    #[test]
    fn f104_errors_name_keys_and_columns_and_no_values() {
        let cases = [
            (1062, "Duplicate entry 'secret' for key 'uk_name'", "duplicate value for key uk_name"),
            (
                1062,
                "Duplicate entry 'x' for key 'IMUser.uk_name'",
                "duplicate value for key uk_name",
            ),
            (1406, "Data too long for column 'nick' at row 1", "value too long for column nick"),
            (
                1366,
                "Incorrect string value: '\\xF0' for column `t`.`IMUser`.`nick` at row 1",
                "value not allowed in column nick",
            ),
            (1048, "Column 'nick' cannot be null", "value not allowed in column nick"),
            (1364, "Field 'nick' doesn't have a default value", "value not allowed in column nick"),
        ];
        for (code, message, expected) in cases {
            assert_eq!(server(code, message).to_string(), expected);
        }
    }

    #[test]
    fn errors_tell_what_may_be_tried_again() {
        assert!(matches!(server(1213, "Deadlock found"), DbError::Busy(_)));
        assert!(matches!(server(1053, "shutdown"), DbError::ConnectionLost(_)));
        assert!(matches!(server(1146, "no table"), DbError::Other { code: 1146, .. }));
    }

    #[test]
    fn numbers_are_numbers_however_they_come() {
        let long = ColumnType::MYSQL_TYPE_LONG;
        let text = ColumnType::MYSQL_TYPE_VAR_STRING;
        assert_eq!(value(Stored::Bytes(b"7".to_vec()), long), Value::Int(7));
        assert_eq!(value(Stored::Bytes(b"7".to_vec()), text), Value::Text("7".to_owned()));
        assert_eq!(value(Stored::UInt(u64::MAX), long), Value::Text(u64::MAX.to_string()));
        assert_eq!(value(Stored::NULL, long), Value::Null);
    }
}
