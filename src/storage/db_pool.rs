//! The pools of database connections, as configured.
//!
//! ```text
//! DBInstances           names of the pools, separated by commas
//! <name>_driver         mysql (if missing) or sqlite
//! <name>_maxconncnt     most connections at once; sqlite: 16 if missing
//! <name>_host, _port, _dbname, _username, _password     mysql; the password may be missing
//! <name>_path           sqlite: the file
//! ```

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use log::info;

use super::db_conn::{Counters, DbConn};
use super::error::DbError;
use super::mysql::{MySqlConfig, MySqlConn};
use super::pool::{Pool, PoolFigures, PoolGuard, Pooled};
use super::schema;
use super::sqlite::SqliteConn;
use super::timed::{TimedDb, Times};
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::{ConfigValue, Host, Secret};
use crate::base::util::str_explode;

/// The pool for everything that writes, and for reading what was just written.
pub const TEAMTALK_MASTER: &str = "teamtalk_master";

/// The pool for reading; it may be a replica that lags behind.
pub const TEAMTALK_SLAVE: &str = "teamtalk_slave";

/// Connections of a pool if the configuration does not say how many, which only a pool of the
/// embedded driver may leave open.
pub(super) const CONNS_MAX_DEFAULT: usize = 16;

/// A pool of database connections.
///
/// C++: db_proxy_server/DBPool.h CDBPool
pub type DbPool = Pool<dyn DbConn>;

/// A borrowed database connection.
pub type DbGuard<'a> = PoolGuard<'a, dyn DbConn>;

impl Pooled for dyn DbConn {
    type Error = DbError;

    fn is_reusable(&self) -> bool {
        !self.is_broken() && !self.in_transaction()
    }

    fn ping(&mut self) -> Result<(), DbError> {
        DbConn::ping(self)
    }

    fn counters(&self) -> Counters {
        DbConn::counters(self)
    }
}

/// `<name>_driver`: which database a pool leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DbDriver {
    MySql,
    Sqlite,
}

impl ConfigValue for DbDriver {
    const EXPECTED: &str = "mysql or sqlite";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "mysql" => Some(Self::MySql),
            "sqlite" => Some(Self::Sqlite),
            _ => None,
        }
    }
}

/// Names of pools, separated by `,`.
pub(super) struct PoolNames(pub(super) Vec<String>);

impl ConfigValue for PoolNames {
    const EXPECTED: &str = "names separated by ','";

    fn parse(text: &str) -> Option<Self> {
        let names: Vec<String> = str_explode(text, ',').map(str::to_owned).collect();
        (!names.is_empty()).then_some(Self(names))
    }
}

/// Where a pool's connections lead.
#[derive(Clone)]
enum DbTarget {
    MySql(MySqlConfig),
    Sqlite(PathBuf),
}

impl fmt::Display for DbTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(config) => {
                write!(f, "mysql {}:{}/{}", config.host, config.port, config.dbname)
            }
            Self::Sqlite(path) => write!(f, "{}", path.display()),
        }
    }
}

impl DbTarget {
    fn read(config: &mut ConfigFileReader, name: &str) -> Result<Self, ConfigError> {
        let key = |end: &str| format!("{name}_{end}");
        match config.get_or(&key("driver"), DbDriver::MySql)? {
            DbDriver::MySql => Ok(Self::MySql(MySqlConfig {
                host: config.get::<Host>(&key("host"))?.0,
                port: config.get(&key("port"))?,
                dbname: config.get(&key("dbname"))?,
                username: config.get(&key("username"))?,
                password: config
                    .get_opt::<Secret>(&key("password"))?
                    .map_or_else(String::new, |s| s.0),
            })),
            DbDriver::Sqlite => Ok(Self::Sqlite(config.get::<String>(&key("path"))?.into())),
        }
    }

    fn open(&self) -> Result<Box<dyn DbConn>, DbError> {
        Ok(match self {
            Self::MySql(config) => Box::new(MySqlConn::open(config)?),
            Self::Sqlite(path) => Box::new(SqliteConn::open(path)?),
        })
    }

    /// Whether it is a file that does not exist: opening it would make one.
    fn is_missing(&self) -> bool {
        match self {
            Self::MySql(_) => false,
            Self::Sqlite(path) => !path.exists(),
        }
    }

    /// A connection for statements that take long.
    fn open_patient(&self) -> Result<Box<dyn DbConn>, DbError> {
        match self {
            Self::MySql(config) => Ok(Box::new(MySqlConn::open_patient(config)?)),
            Self::Sqlite(_) => self.open(),
        }
    }
}

/// All pools of database connections of a process.
///
/// C++: db_proxy_server/DBPool.h CDBManager
/// Differs: a value that is passed on instead of a global variable, and each pool connects when it
/// is first used.
pub struct DbManager {
    pools: Vec<Entry>,
}

struct Entry {
    pool: DbPool,
    target: DbTarget,
    times: Arc<Times>,
}

impl Entry {
    fn new(name: &str, conns_max: usize, target: DbTarget) -> Self {
        let times = Arc::new(Times::default());
        let (to, measured) = (target.clone(), Arc::clone(&times));
        let open = move || Ok(TimedDb::boxed(to.open()?, &measured));
        Self { pool: Pool::new(name, conns_max, open), target, times }
    }
}

impl DbManager {
    /// Reads `DBInstances` and the keys of each pool.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBManager::Init
    pub fn from_config(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let mut pools = Vec::new();
        for name in config.get::<PoolNames>("DBInstances")?.0 {
            let target = DbTarget::read(config, &name)?;
            let conns_max = conns_max(config, &name, matches!(target, DbTarget::Sqlite(_)))?;
            pools.push(Entry::new(&name, conns_max, target));
        }
        Ok(Self { pools })
    }

    /// Both pools on one server, of as many connections as one worker needs.
    pub fn on_mysql(config: &MySqlConfig) -> Self {
        let pool = |name| Entry::new(name, 1, DbTarget::MySql(config.clone()));
        Self { pools: vec![pool(TEAMTALK_MASTER), pool(TEAMTALK_SLAVE)] }
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Result<&DbPool, DbError> {
        self.find(name).map(|entry| &entry.pool)
    }

    /// Lends a connection of the pool of this name.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBManager::GetDBConn
    pub fn db_conn(&self, name: &str) -> Result<DbGuard<'_>, DbError> {
        self.pool(name)?.get()
    }

    /// Where the pool of this name leads, without user and password: for messages.
    pub fn target(&self, name: &str) -> Result<String, DbError> {
        self.find(name).map(|entry| entry.target.to_string())
    }

    /// Whether the pool of this name leads to a file that does not exist: the first connection
    /// makes it.
    pub fn is_missing(&self, name: &str) -> Result<bool, DbError> {
        self.find(name).map(|entry| entry.target.is_missing())
    }

    /// Whether the database works on several changes at a time.
    pub fn writes_side_by_side(&self, name: &str) -> Result<bool, DbError> {
        self.find(name).map(|entry| matches!(entry.target, DbTarget::MySql(_)))
    }

    /// A connection of its own, for statements that take longer than a request may.
    pub fn open_patient(&self, name: &str) -> Result<Box<dyn DbConn>, DbError> {
        self.find(name)?.target.open_patient()
    }

    /// Makes the database itself, without tables, if its server has none of this name.
    pub fn create_database(&self, name: &str) -> Result<(), DbError> {
        match &self.find(name)?.target {
            DbTarget::MySql(config) => MySqlConn::create_database(config),
            DbTarget::Sqlite(_) => Ok(()),
        }
    }

    /// Brings the tables of [`TEAMTALK_MASTER`] to what this program works with.
    pub fn migrate(&self) -> Result<(), DbError> {
        let Entry { pool, target, .. } = self.find(TEAMTALK_MASTER)?;
        let steps = schema::migrate(&mut *target.open_patient()?)?;
        info!("pool={} schema is up to date, steps={steps}", pool.name());
        Ok(())
    }

    /// Names and figures of all pools.
    pub fn figures(&self) -> impl Iterator<Item = (&str, PoolFigures, &Times)> {
        self.pools.iter().map(|entry| (entry.pool.name(), entry.pool.figures(), &*entry.times))
    }

    /// Asks the server behind each pool whether it is there. Whatever does not answer is told by
    /// name and reason. Blocks.
    pub fn unreachable(&self) -> Vec<String> {
        let ask = |entry: &Entry| match entry.pool.get().and_then(|mut conn| conn.ping()) {
            Ok(()) => None,
            Err(error) => Some(format!("database {}: {error}", entry.pool.name())),
        };
        self.pools.iter().filter_map(ask).collect()
    }

    fn find(&self, name: &str) -> Result<&Entry, DbError> {
        let found = self.pools.iter().find(|entry| entry.pool.name() == name);
        found.ok_or_else(|| DbError::Misuse(format!("no database pool {name}")))
    }
}

impl fmt::Debug for DbManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pools.iter().map(|entry| &entry.pool)).finish()
    }
}

/// `<name>_maxconncnt`, at least 1. The original requires it.
pub(super) fn conns_max(
    config: &mut ConfigFileReader,
    name: &str,
    embedded: bool,
) -> Result<usize, ConfigError> {
    let key = format!("{name}_maxconncnt");
    let conns_max = match config.get_opt::<NonZeroUsize>(&key)? {
        Some(number) => number.get(),
        None if embedded => CONNS_MAX_DEFAULT,
        None => config.get::<NonZeroUsize>(&key)?.get(),
    };
    Ok(conns_max)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manager(text: &str) -> Result<DbManager, ConfigError> {
        DbManager::from_config(&mut ConfigFileReader::parse(
            Path::new("test.conf"),
            text.as_bytes(),
        ))
    }

    const ORIGINAL: &str = "DBInstances=teamtalk_master,teamtalk_slave\n\
        teamtalk_master_host=127.0.0.1\nteamtalk_master_port=3306\n\
        teamtalk_master_dbname=teamtalk\nteamtalk_master_username=test\n\
        teamtalk_master_password=12345\nteamtalk_master_maxconncnt=16\n\
        teamtalk_slave_host=127.0.0.1\nteamtalk_slave_port=3306\n\
        teamtalk_slave_dbname=teamtalk\nteamtalk_slave_username=test\n\
        teamtalk_slave_password=12345\nteamtalk_slave_maxconncnt=16\n";

    #[test]
    fn the_configuration_of_the_original_works_as_it_is() {
        let manager = manager(ORIGINAL).unwrap();
        assert_eq!(manager.pool(TEAMTALK_SLAVE).unwrap().name(), "teamtalk_slave");
        let entry = manager.find(TEAMTALK_MASTER).unwrap();
        assert!(matches!(&entry.target, DbTarget::MySql(config) if config.port == 3306));
        assert!(matches!(manager.db_conn("none"), Err(DbError::Misuse(_))));
    }

    #[test]
    fn a_pool_may_lead_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("teamtalk.db");
        let text = format!(
            "DBInstances=teamtalk_master\nteamtalk_master_driver=sqlite\nteamtalk_master_path={}\n",
            path.display()
        );
        let manager = manager(&text).unwrap();
        manager.migrate().unwrap();
        let mut conn = manager.db_conn(TEAMTALK_MASTER).unwrap();
        assert!(conn.execute_query("select id from IMUser", &[]).unwrap().is_empty());
    }

    #[test]
    fn missing_and_wrong_keys_are_named() {
        let error = manager(&ORIGINAL.replace("master_dbname", "x")).unwrap_err();
        assert!(error.to_string().contains("key teamtalk_master_dbname is missing"));
        let error = manager(&ORIGINAL.replace("slave_maxconncnt=16", "slave_maxconncnt=0"));
        assert!(error.unwrap_err().to_string().contains("teamtalk_slave_maxconncnt=0 is wrong"));
        let text = format!("{ORIGINAL}teamtalk_slave_driver=oracle\n");
        assert!(manager(&text).unwrap_err().to_string().contains("mysql or sqlite"));
    }

    #[test]
    fn a_transaction_left_open_does_not_reach_the_next_borrower() {
        let dir = tempfile::tempdir().unwrap();
        let target = DbTarget::Sqlite(dir.path().join("db"));
        let pool: DbPool = Pool::new("test", 1, move || target.open());
        pool.get().unwrap().execute_update("create table t (a integer)", &[]).unwrap();
        let mut conn = pool.get().unwrap();
        conn.begin().unwrap();
        conn.execute_update("insert into t values (1)", &[]).unwrap();
        drop(conn);
        let mut conn = pool.get().unwrap();
        assert!(!conn.in_transaction());
        assert!(conn.execute_query("select a from t", &[]).unwrap().is_empty());
        drop(conn);
        assert_eq!(pool.counters().statements, 3);
    }
}
