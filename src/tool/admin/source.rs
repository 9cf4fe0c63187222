//! Where a database is imported from: the address of a server, or a configuration file.

use std::path::Path;

use anyhow::{Context, bail};

use crate::base::config_file_reader::ConfigFileReader;
use crate::storage::mysql::MySqlConfig;
use crate::storage::redis::RedisConfig;
use crate::storage::{CacheManager, DbManager};

const MYSQL_PORT: u16 = 3306;
const REDIS_PORT: u16 = 6379;

/// A database and, if it is known, the cache beside it.
#[derive(Debug)]
pub struct Source {
    /// The database.
    pub db: DbManager,
    /// The cache.
    pub cache: Option<CacheManager>,
}

impl Source {
    /// What `--from` and `--from-redis` say. Nothing is connected to yet.
    ///
    /// # Errors
    /// They say nothing that is understood.
    pub fn new(from: &str, from_redis: Option<&str>) -> anyhow::Result<Self> {
        let cache = from_redis.map(redis).transpose().context("--from-redis")?;
        if from.contains("://") {
            let db = DbManager::on_mysql(&mysql(from).context("--from")?);
            return Ok(Self { db, cache: cache.map(|config| CacheManager::on_redis(&config)) });
        }
        let mut config = ConfigFileReader::load(Path::new(from)).context("--from")?;
        let db = DbManager::from_config(&mut config).context("--from")?;
        let cache = match cache {
            Some(config) => CacheManager::on_redis(&config),
            None => CacheManager::from_config(&mut config).context("--from")?,
        };
        Ok(Self { db, cache: Some(cache) })
    }
}

fn mysql(text: &str) -> anyhow::Result<MySqlConfig> {
    let url = Url::parse(text, "mysql", MYSQL_PORT)?;
    if url.path.is_empty() {
        bail!("the name of the database is missing: mysql://user:password@host:port/database");
    }
    Ok(MySqlConfig {
        host: url.host,
        port: url.port,
        dbname: url.path,
        username: url.user.unwrap_or_else(|| "root".to_owned()),
        password: url.password.unwrap_or_default(),
    })
}

fn redis(text: &str) -> anyhow::Result<RedisConfig> {
    let url = Url::parse(text, "redis", REDIS_PORT)?;
    let db = if url.path.is_empty() { "0" } else { &url.path };
    Ok(RedisConfig {
        db: db.parse().context("behind the / stands the number of the database")?,
        host: url.host,
        port: url.port,
        username: url.user.filter(|user| !user.is_empty()),
        password: url.password,
    })
}

/// `scheme://user:password@host:port/path`. Messages never quote it: it holds a password.
#[derive(Eq, PartialEq)]
struct Url {
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn parse(text: &str, scheme: &str, port: u16) -> anyhow::Result<Self> {
        let form = || format!("has to be {scheme}://user:password@host:port/database");
        let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        let rest = rest.with_context(form)?;
        let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold an @ that nobody has written as %40.
        let (credentials, addr) = match server.rsplit_once('@') {
            Some((credentials, addr)) => (Some(credentials), addr),
            None => (None, server),
        };
        let (host, given) = match addr.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match addr.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (addr, None),
            },
        };
        if host.is_empty() {
            bail!("{}", form());
        }
        let port = given.map_or(Ok(port), str::parse).ok().with_context(form)?;
        let (user, password) = match credentials.map(|text| text.split_once(':')) {
            None => (None, None),
            Some(None) => (credentials, None),
            Some(Some((user, password))) => (Some(user), Some(password)),
        };
        Ok(Self {
            user: user.map(decoded).transpose()?,
            password: password.map(decoded).transpose()?,
            host: host.to_owned(),
            port,
            path: decoded(path)?,
        })
    }
}

/// `%40` and the like as the characters they stand for.
fn decoded(text: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            bail!("a % stands before two digits, as in %40 for @ and %25 for itself");
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).context("not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_server_has_defaults() {
        let config = mysql("mysql://tt:p%40s%25%2f:x@db.example.com:3307/teamtalk").unwrap();
        assert_eq!((config.host.as_str(), config.port), ("db.example.com", 3307));
        assert_eq!((config.username.as_str(), config.password.as_str()), ("tt", "p@s%/:x"));
        assert_eq!(config.dbname, "teamtalk");
        let config = mysql("mysql://[::1]/teamtalk").unwrap();
        assert_eq!(
            (config.host.as_str(), config.port, config.password.as_str()),
            ("::1", 3306, "")
        );
        let config = redis("redis://:se@cret@127.0.0.1").unwrap();
        assert_eq!((config.host.as_str(), config.port, config.db), ("127.0.0.1", 6379, 0));
        assert_eq!((config.username, config.password.as_deref()), (None, Some("se@cret")));
        assert_eq!(redis("redis://host:1/7").unwrap().db, 7);
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for text in [
            "mysql://u:geheim@host",
            "mysql://u:geheim@/db",
            "mysql://u:geheim@host:port/db",
            "mysql://u:geheim%4@host/db",
            "mysql://u:geheim%zz@host/db",
            "postgres://u:geheim@host/db",
        ] {
            let error = format!("{:#}", Source::new(text, None).unwrap_err());
            assert!(error.starts_with("--from: ") && !error.contains("geheim"), "{error}");
        }
        let error = Source::new("mysql://host/db", Some("redis://host/x")).unwrap_err();
        assert!(format!("{error:#}").starts_with("--from-redis: behind the /"));
        assert!(Source::new("missing.conf", None).is_err());
    }

    #[test]
    fn a_configuration_names_database_and_cache() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dbproxyserver.conf");
        std::fs::write(&path, crate::tool::admin::tests::config(directory.path())).unwrap();
        let source = Source::new(path.to_str().unwrap(), None).unwrap();
        assert!(source.db.target("teamtalk_master").unwrap().ends_with("teamtalk.db"));
        assert!(source.cache.is_some());
        assert!(Source::new("mysql://host/db", None).unwrap().cache.is_none());
    }
}
