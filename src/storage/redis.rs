//! The cache of an installation with servers: Redis 4 and later.

use std::time::Duration;

use ::redis::{Client, Cmd, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo};
use ::redis::{RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value};

use super::cache_conn::{CacheCmd, CacheConn, CacheReply};
use super::db_conn::Counters;
use super::error::CacheError;

/// Longest wait for a connection, and longest silence of the server after a command.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Where the cache is, and as whom to log in. Has no `Debug`: it may hold a password.
#[derive(Clone)]
pub struct RedisConfig {
    /// Name or address of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Number of the database.
    pub db: u32,
    /// User name, for servers with access lists.
    pub username: Option<String>,
    /// Password, if the server wants one.
    pub password: Option<String>,
}

impl RedisConfig {
    fn cannot_open(&self, error: &RedisError) -> CacheError {
        let target = format!("redis {}:{}/{}", self.host, self.port, self.db);
        CacheError::Connect { target, reason: error.to_string() }
    }

    /// Logging in and choosing the database is left to [`RedisConfig::log_in`]: the driver waits
    /// for each of its replies in turn, several times as long as it was told to.
    fn client(&self) -> RedisResult<Client> {
        let addr = ConnectionAddr::Tcp(self.host.clone(), self.port).into_connection_info()?;
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        Client::open(addr.set_redis_settings(settings))
    }

    fn connect(&self, client: &Client) -> RedisResult<Connection> {
        let mut conn = client.get_connection_with_timeout(TIMEOUT)?;
        conn.set_read_timeout(Some(TIMEOUT))?;
        conn.set_write_timeout(Some(TIMEOUT))?;
        self.log_in(&mut conn)?;
        Ok(conn)
    }

    fn log_in(&self, conn: &mut Connection) -> RedisResult<()> {
        let mut cmds = Vec::with_capacity(2);
        if let Some(password) = &self.password {
            let mut auth = ::redis::cmd("AUTH");
            auth.arg(&self.username).arg(password);
            cmds.push(auth);
        }
        let mut select = ::redis::cmd("SELECT");
        select.arg(self.db);
        cmds.push(select);
        for value in ask(conn, &cmds)? {
            value.extract_error()?;
        }
        Ok(())
    }
}

/// Gives all commands at once. All replies are read, even behind one that is an error: the next
/// command must not take them for its own.
fn ask(conn: &mut Connection, cmds: &[Cmd]) -> RedisResult<Vec<Value>> {
    let mut bytes = Vec::new();
    cmds.iter().for_each(|cmd| cmd.write_packed_command(&mut bytes));
    conn.send_packed_command(&bytes)?;
    cmds.iter().map(|_| conn.recv_response()).collect()
}

/// A connection to a server.
pub struct RedisConn {
    config: RedisConfig,
    client: Client,
    conn: Connection,
    counters: Counters,
    broken: bool,
}

impl RedisConn {
    /// Connects, logs in and selects the database.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheConn::Init
    /// Differs: every command has a timeout, a password may be configured (F88), and what failed
    /// is closed and never freed twice (F89).
    pub fn open(config: &RedisConfig) -> Result<Self, CacheError> {
        let cannot_open = |error| config.cannot_open(&error);
        let client = config.client().map_err(cannot_open)?;
        let conn = config.connect(&client).map_err(cannot_open)?;
        let config = config.clone();
        Ok(Self { config, client, conn, counters: Counters::default(), broken: false })
    }

    fn reconnect(&mut self) -> Result<(), CacheError> {
        let conn = self.config.connect(&self.client);
        self.conn = conn.map_err(|error| self.config.cannot_open(&error))?;
        self.broken = false;
        Ok(())
    }

    fn try_pipeline(&mut self, cmds: &[CacheCmd]) -> RedisResult<Vec<Value>> {
        let asked = cmds.iter().filter(|cmd| cmd.empty_reply().is_none());
        let asked: Vec<Cmd> = asked.map(redis_cmd).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        self.counters.statements += asked.len() as u64;
        self.counters.round_trips += 1;
        ask(&mut self.conn, &asked)
    }

    fn failed(&mut self, error: &RedisError) -> CacheError {
        let error = cache_error(error);
        self.broken |= matches!(error, CacheError::ConnectionLost(_));
        error
    }
}

impl CacheConn for RedisConn {
    fn pipeline(&mut self, cmds: &[CacheCmd]) -> Result<Vec<CacheReply>, CacheError> {
        let mut result = self.try_pipeline(cmds);
        if let Err(error) = &result
            && matches!(cache_error(error), CacheError::ConnectionLost(_))
            && !error.is_timeout()
            && cmds.iter().all(CacheCmd::is_read)
        {
            self.reconnect()?;
            result = self.try_pipeline(cmds);
        }
        let mut values = result.map_err(|error| self.failed(&error))?.into_iter();
        let mut replies = Vec::with_capacity(cmds.len());
        for cmd in cmds {
            if let Some(reply) = cmd.empty_reply() {
                replies.push(reply);
                continue;
            }
            let value = values.next().ok_or(CacheError::WrongReply("there"))?;
            let value = value.extract_error().map_err(|error| self.failed(&error))?;
            replies.push(reply(cmd, value)?);
        }
        Ok(replies)
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn ping(&mut self) -> Result<(), CacheError> {
        let result = ::redis::cmd("PING").query::<()>(&mut self.conn);
        result.map_err(|error| self.failed(&error))
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

/// The command as a list of arguments, so that a key may hold anything (F90).
fn redis_cmd(cmd: &CacheCmd) -> Cmd {
    let (name, key) = match cmd {
        CacheCmd::Get { key } => ("GET", Some(key)),
        CacheCmd::Set { key, .. } => ("SET", Some(key)),
        CacheCmd::MGet { .. } => ("MGET", None),
        CacheCmd::Exists { key } => ("EXISTS", Some(key)),
        CacheCmd::Del { key } => ("DEL", Some(key)),
        CacheCmd::IncrBy { key, .. } => ("INCRBY", Some(key)),
        CacheCmd::HGet { key, .. } => ("HGET", Some(key)),
        CacheCmd::HSet { key, .. } => ("HSET", Some(key)),
        CacheCmd::HMSet { key, .. } => ("HMSET", Some(key)),
        CacheCmd::HMGet { key, .. } => ("HMGET", Some(key)),
        CacheCmd::HDel { key, .. } => ("HDEL", Some(key)),
        CacheCmd::HGetAll { key } => ("HGETALL", Some(key)),
        CacheCmd::HIncrBy { key, .. } => ("HINCRBY", Some(key)),
    };
    let mut redis = ::redis::cmd(name);
    redis.arg(key);
    match cmd {
        CacheCmd::Get { .. }
        | CacheCmd::Exists { .. }
        | CacheCmd::Del { .. }
        | CacheCmd::HGetAll { .. } => {}
        CacheCmd::Set { value, .. } => drop(redis.arg(value)),
        CacheCmd::MGet { keys } => drop(redis.arg(keys)),
        CacheCmd::IncrBy { by, .. } => drop(redis.arg(by)),
        CacheCmd::HGet { field, .. } => drop(redis.arg(field)),
        CacheCmd::HSet { field, value, .. } => drop(redis.arg(field).arg(value)),
        CacheCmd::HMSet { fields, .. } => drop(redis.arg(fields)),
        CacheCmd::HMGet { fields, .. } | CacheCmd::HDel { fields, .. } => drop(redis.arg(fields)),
        CacheCmd::HIncrBy { field, by, .. } => drop(redis.arg(field).arg(by)),
    }
    redis
}

fn reply(cmd: &CacheCmd, value: Value) -> Result<CacheReply, CacheError> {
    match cmd {
        CacheCmd::Get { .. } | CacheCmd::HGet { .. } => Ok(CacheReply::Text(text(value)?)),
        CacheCmd::Set { .. } | CacheCmd::HSet { .. } | CacheCmd::HMSet { .. } => {
            Ok(CacheReply::Done)
        }
        CacheCmd::MGet { .. } | CacheCmd::HMGet { .. } => {
            let Value::Array(values) = value else {
                return Err(CacheError::WrongReply("texts"));
            };
            let texts = values.into_iter().map(text).collect::<Result<_, _>>()?;
            Ok(CacheReply::Texts(texts))
        }
        CacheCmd::Exists { .. }
        | CacheCmd::Del { .. }
        | CacheCmd::IncrBy { .. }
        | CacheCmd::HDel { .. }
        | CacheCmd::HIncrBy { .. } => match value {
            Value::Int(number) => Ok(CacheReply::Int(number)),
            _ => Err(CacheError::WrongReply("a number")),
        },
        CacheCmd::HGetAll { .. } => {
            let map = ::redis::from_redis_value::<Vec<(Vec<u8>, Vec<u8>)>>(value);
            let map = map.map_err(|_| CacheError::WrongReply("a hash"))?.into_iter();
            Ok(CacheReply::Map(map.map(|(field, value)| (lossy(field), lossy(value))).collect()))
        }
    }
}

fn text(value: Value) -> Result<Option<String>, CacheError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(lossy(bytes))),
        _ => Err(CacheError::WrongReply("text")),
    }
}

/// Everything this server stores is text; the original stored device tokens as they came.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A server that is loading or lost its primary is as good as none: another connection may lead
/// to a better one.
fn cache_error(error: &RedisError) -> CacheError {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::ReadOnly,
        ) => CacheError::ConnectionLost(error.to_string()),
        ErrorKind::Server(_) | ErrorKind::Extension => CacheError::Refused(error.to_string()),
        _ if error.is_timeout() => CacheError::ConnectionLost("no answer in time".to_owned()),
        _ => CacheError::ConnectionLost(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f90_keys_and_values_are_arguments_and_never_formats() {
        let keys = vec!["device_%s %d".to_owned(), "a\r\nb".to_owned()];
        let packed = redis_cmd(&CacheCmd::MGet { keys }).get_packed_command();
        let expected = "*3\r\n$4\r\nMGET\r\n$12\r\ndevice_%s %d\r\n$4\r\na\r\nb\r\n";
        assert_eq!(String::from_utf8(packed).unwrap(), expected);
        let fields = vec![("1_1".to_owned(), "0".to_owned())];
        let packed = redis_cmd(&CacheCmd::HMSet { key: "g".to_owned(), fields });
        let expected = "*4\r\n$5\r\nHMSET\r\n$1\r\ng\r\n$3\r\n1_1\r\n$1\r\n0\r\n";
        assert_eq!(String::from_utf8(packed.get_packed_command()).unwrap(), expected);
    }

    #[test]
    fn replies_of_another_kind_are_errors() {
        let cmd = CacheCmd::Get { key: "k".to_owned() };
        assert_eq!(reply(&cmd, Value::Nil).unwrap(), CacheReply::Text(None));
        assert!(reply(&cmd, Value::Int(1)).is_err());
        let cmd = CacheCmd::IncrBy { key: "k".to_owned(), by: 1 };
        assert!(reply(&cmd, Value::Okay).is_err());
    }
}
