//! The pools of cache connections, as configured.
//!
//! ```text
//! CacheInstances        names of the pools, separated by commas
//! <name>_driver         redis (if missing) or embedded
//! <name>_maxconncnt     most connections at once; embedded: 16 if missing
//! <name>_host, _port    redis
//! <name>_db             number of the database; embedded: 0 if missing
//! <name>_username, _password     redis; both may be missing
//! <name>_path           embedded: the file, which may be that of the database
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use super::cache_conn::CacheConn;
use super::db_conn::Counters;
use super::db_pool::{PoolNames, conns_max};
use super::embedded_cache::EmbeddedCache;
use super::error::CacheError;
use super::pool::{Pool, PoolFigures, PoolGuard, Pooled};
use super::redis::{RedisConfig, RedisConn};
use super::timed::{TimedCache, Times};
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::{ConfigValue, Host, Secret};

/// The pool of unread counters and of message ids.
pub const UNREAD: &str = "unread";
/// The pool of what members set for a group.
pub const GROUP_SET: &str = "group_set";
/// The pool of times of synchronisation; configured and unused in the original.
pub const SYNC: &str = "sync";
/// The pool of device tokens.
pub const TOKEN: &str = "token";
/// The pool of group members.
pub const GROUP_MEMBER: &str = "group_member";

/// A pool of cache connections.
///
/// C++: db_proxy_server/CachePool.h CachePool
pub type CachePool = Pool<dyn CacheConn>;

/// A borrowed cache connection.
pub type CacheGuard<'a> = PoolGuard<'a, dyn CacheConn>;

impl Pooled for dyn CacheConn {
    type Error = CacheError;

    fn is_reusable(&self) -> bool {
        !self.is_broken()
    }

    fn ping(&mut self) -> Result<(), CacheError> {
        CacheConn::ping(self)
    }

    fn counters(&self) -> Counters {
        CacheConn::counters(self)
    }
}

/// `<name>_driver`: which cache a pool leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CacheDriver {
    Redis,
    Embedded,
}

impl ConfigValue for CacheDriver {
    const EXPECTED: &str = "redis or embedded";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "redis" => Some(Self::Redis),
            "embedded" => Some(Self::Embedded),
            _ => None,
        }
    }
}

/// Where a pool's connections lead.
enum CacheTarget {
    Redis(RedisConfig),
    Embedded { path: PathBuf, db: u32 },
}

impl CacheTarget {
    fn read(config: &mut ConfigFileReader, name: &str) -> Result<Self, ConfigError> {
        let key = |end: &str| format!("{name}_{end}");
        match config.get_or(&key("driver"), CacheDriver::Redis)? {
            CacheDriver::Redis => Ok(Self::Redis(RedisConfig {
                host: config.get::<Host>(&key("host"))?.0,
                port: config.get(&key("port"))?,
                db: config.get(&key("db"))?,
                username: config.get_opt(&key("username"))?,
                password: config.get_opt::<Secret>(&key("password"))?.map(|secret| secret.0),
            })),
            CacheDriver::Embedded => Ok(Self::Embedded {
                path: config.get::<String>(&key("path"))?.into(),
                db: config.get_or(&key("db"), 0)?,
            }),
        }
    }

    fn open(&self) -> Result<Box<dyn CacheConn>, CacheError> {
        Ok(match self {
            Self::Redis(config) => Box::new(RedisConn::open(config)?),
            Self::Embedded { path, db } => Box::new(EmbeddedCache::open(path, *db)?),
        })
    }
}

fn measured(name: &str, conns_max: usize, target: CacheTarget) -> (CachePool, Arc<Times>) {
    let times = Arc::new(Times::default());
    let measured = Arc::clone(&times);
    let open = move || Ok(TimedCache::boxed(target.open()?, &measured));
    (Pool::new(name, conns_max, open), times)
}

/// All pools of cache connections of a process.
///
/// C++: db_proxy_server/CachePool.h CacheManager
/// Differs: a value that is passed on instead of a global variable, and each pool connects when it
/// is first used.
#[derive(Debug)]
pub struct CacheManager {
    pools: Vec<(CachePool, Arc<Times>)>,
    /// The names of those that others may use as well.
    shared: Vec<String>,
}

impl CacheManager {
    /// Reads `CacheInstances` and the keys of each pool.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheManager::Init
    pub fn from_config(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let (mut pools, mut shared) = (Vec::new(), Vec::new());
        for name in config.get::<PoolNames>("CacheInstances")?.0 {
            let target = CacheTarget::read(config, &name)?;
            let embedded = matches!(target, CacheTarget::Embedded { .. });
            let conns_max = conns_max(config, &name, embedded)?;
            if !embedded {
                shared.push(name.clone());
            }
            pools.push(measured(&name, conns_max, target));
        }
        Ok(Self { pools, shared })
    }

    /// All pools in one database of a server, of as many connections as one worker needs.
    pub fn on_redis(config: &RedisConfig) -> Self {
        let names = [UNREAD, GROUP_SET, SYNC, TOKEN, GROUP_MEMBER];
        let pool = |name: &str| measured(name, 1, CacheTarget::Redis(config.clone()));
        Self { pools: names.map(pool).into(), shared: names.map(str::to_owned).into() }
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Result<&CachePool, CacheError> {
        let mut pools = self.pools.iter().map(|(pool, _)| pool);
        pools.find(|pool| pool.name() == name).ok_or_else(|| CacheError::NoPool(name.to_owned()))
    }

    /// Names and figures of all pools.
    pub fn figures(&self) -> impl Iterator<Item = (&str, PoolFigures, &Times)> {
        self.pools.iter().map(|(pool, times)| (pool.name(), pool.figures(), &**times))
    }

    /// Asks the server behind each pool whether it is there. Whatever does not answer is told by
    /// name and reason. Blocks.
    pub fn unreachable(&self) -> Vec<String> {
        let ask = |pool: &CachePool| match pool.get().and_then(|mut conn| conn.ping()) {
            Ok(()) => None,
            Err(error) => Some(format!("cache {}: {error}", pool.name())),
        };
        self.pools.iter().filter_map(|(pool, _)| ask(pool)).collect()
    }

    /// Whether servers that are not of this project may use the pool as well: it is in Redis.
    pub fn is_shared(&self, name: &str) -> bool {
        self.shared.iter().any(|shared| shared == name)
    }

    /// Lends a connection of the pool of this name.
    ///
    /// C++: db_proxy_server/CachePool.cpp CacheManager::GetCacheConn
    pub fn cache_conn(&self, name: &str) -> Result<CacheGuard<'_>, CacheError> {
        self.pool(name)?.get()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manager(text: &str) -> Result<CacheManager, ConfigError> {
        let path = Path::new("test.conf");
        CacheManager::from_config(&mut ConfigFileReader::parse(path, text.as_bytes()))
    }

    #[test]
    fn the_configuration_of_the_original_works_as_it_is() {
        let names = [UNREAD, GROUP_SET, SYNC, TOKEN, GROUP_MEMBER];
        let mut text = format!("CacheInstances={}\n", names.join(","));
        for name in names {
            let pool = "N_host=127.0.0.1\nN_port=6379\nN_db=1\nN_maxconncnt=16\n";
            text.push_str(&pool.replace('N', name));
        }
        let manager = manager(&text).unwrap();
        assert!(names.iter().all(|name| manager.pool(name).is_ok() && manager.is_shared(name)));
        assert!(matches!(manager.cache_conn("none"), Err(CacheError::NoPool(_))));
    }

    #[test]
    fn pools_in_one_file_have_keys_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("teamtalk.db");
        let pool = |name: &str, db: u32| {
            format!("{name}_driver=embedded\n{name}_path={}\n{name}_db={db}\n", path.display())
        };
        let text = format!("CacheInstances=unread,token\n{}{}", pool(UNREAD, 1), pool(TOKEN, 4));
        let manager = manager(&text).unwrap();
        assert!(!manager.is_shared(UNREAD));
        manager.cache_conn(UNREAD).unwrap().set("k", "1").unwrap();
        assert_eq!(manager.cache_conn(TOKEN).unwrap().get("k").unwrap(), None);
        assert_eq!(manager.cache_conn(UNREAD).unwrap().get("k").unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn wrong_keys_are_named() {
        let error = manager("CacheInstances=unread\nunread_driver=memcached\n").unwrap_err();
        assert!(error.to_string().contains("redis or embedded"), "{error}");
        let error = manager("CacheInstances=unread\nunread_driver=embedded\n").unwrap_err();
        assert!(error.to_string().contains("unread_path is missing"), "{error}");
    }
}
