//! The embedded cache: strings and hashes in the file of the embedded database.
//!
//! Unlike Redis it forgets nothing: a write is durable when it returns. Other processes may open
//! the same file; each pipeline is one transaction, so counting is atomic across them.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{CachedStatement, Connection, Error, OptionalExtension, Params, Row};

use super::cache_conn::{CacheCmd, CacheConn, CacheReply};
use super::db_conn::Counters;
use super::error::CacheError;
use super::sqlite::open_file;

/// Keys of different pools do not meet: each pool has its number, like a database of Redis.
const TABLES: &str = "
create table if not exists CacheString (
    db integer not null, key text not null, value text not null,
    primary key (db, key)
) strict, without rowid;
create table if not exists CacheHash (
    db integer not null, key text not null, field text not null, value text not null,
    primary key (db, key, field)
) strict, without rowid;";

/// A connection to the caches in a file.
pub struct EmbeddedCache {
    conn: Connection,
    db: u32,
    counters: Counters,
    broken: bool,
}

impl EmbeddedCache {
    /// Opens cache number `db` in the file, or makes it.
    pub fn open(path: &Path, db: u32) -> Result<Self, CacheError> {
        let conn = open_with_tables(path).map_err(|error| CacheError::Connect {
            target: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self { conn, db, counters: Counters::default(), broken: false })
    }

    fn run_all(&self, cmds: &[CacheCmd]) -> Result<Vec<CacheReply>, CacheError> {
        if cmds.iter().all(CacheCmd::is_read) {
            // One snapshot for all of them.
            self.control("begin")?;
        } else {
            self.control("begin immediate")?;
        }
        let done = cmds.iter().map(|cmd| self.run(cmd)).collect::<Result<Vec<_>, _>>();
        match done {
            Ok(replies) => self.control("commit").map(|()| replies),
            Err(error) => {
                self.control("rollback")?;
                Err(error)
            }
        }
    }

    fn control(&self, sql: &str) -> Result<(), CacheError> {
        Ok(self.cached(sql)?.execute([]).map(drop)?)
    }

    fn cached(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        self.conn.prepare_cached(sql)
    }

    fn run(&self, cmd: &CacheCmd) -> Result<CacheReply, CacheError> {
        Ok(match cmd {
            CacheCmd::Get { key } => CacheReply::Text(self.string(key)?),
            CacheCmd::Set { key, value } => {
                self.set_string(key, value)?;
                CacheReply::Done
            }
            CacheCmd::MGet { keys } => {
                let texts = keys.iter().map(|key| self.string(key));
                CacheReply::Texts(texts.collect::<Result<_, _>>()?)
            }
            CacheCmd::Exists { key } => CacheReply::Int(i64::from(self.exists(key)?)),
            CacheCmd::Del { key } => CacheReply::Int(i64::from(self.delete(key)?)),
            CacheCmd::IncrBy { key, by } => {
                let sum = sum(self.string(key)?, *by)?;
                self.set_string(key, &sum.to_string())?;
                CacheReply::Int(sum)
            }
            CacheCmd::HGet { key, field } => CacheReply::Text(self.field(key, field)?),
            CacheCmd::HSet { key, field, value } => {
                self.set_field(key, field, value)?;
                CacheReply::Done
            }
            CacheCmd::HMSet { key, fields } => {
                fields.iter().try_for_each(|(field, value)| self.set_field(key, field, value))?;
                CacheReply::Done
            }
            CacheCmd::HMGet { key, fields } => {
                let texts = fields.iter().map(|field| self.field(key, field));
                CacheReply::Texts(texts.collect::<Result<_, _>>()?)
            }
            CacheCmd::HDel { key, fields } => {
                let removed = fields.iter().map(|field| self.delete_field(key, field));
                CacheReply::Int(removed.sum::<Result<usize, _>>()? as i64)
            }
            CacheCmd::HGetAll { key } => CacheReply::Map(self.hash(key)?),
            CacheCmd::HIncrBy { key, field, by } => {
                let sum = sum(self.field(key, field)?, *by)?;
                self.set_field(key, field, &sum.to_string())?;
                CacheReply::Int(sum)
            }
        })
    }

    fn optional(&self, sql: &str, params: impl Params) -> Result<Option<String>, Error> {
        self.cached(sql)?.query_row(params, |row| row.get(0)).optional()
    }

    fn string(&self, key: &str) -> Result<Option<String>, Error> {
        self.optional("select value from CacheString where db = ? and key = ?", (self.db, key))
    }

    fn set_string(&self, key: &str, value: &str) -> Result<(), Error> {
        let sql = "insert into CacheString (db, key, value) values (?, ?, ?) \
                   on conflict (db, key) do update set value = excluded.value";
        self.cached(sql)?.execute((self.db, key, value)).map(drop)
    }

    fn exists(&self, key: &str) -> Result<bool, Error> {
        let sql = "select exists (select 1 from CacheString where db = ?1 and key = ?2) \
                   or exists (select 1 from CacheHash where db = ?1 and key = ?2)";
        self.cached(sql)?.query_row((self.db, key), |row| row.get(0))
    }

    fn delete(&self, key: &str) -> Result<bool, Error> {
        let mut rows = 0;
        for table in ["CacheString", "CacheHash"] {
            let sql = format!("delete from {table} where db = ? and key = ?");
            rows += self.cached(&sql)?.execute((self.db, key))?;
        }
        Ok(rows > 0)
    }

    fn field(&self, key: &str, field: &str) -> Result<Option<String>, Error> {
        let sql = "select value from CacheHash where db = ? and key = ? and field = ?";
        self.optional(sql, (self.db, key, field))
    }

    fn set_field(&self, key: &str, field: &str, value: &str) -> Result<(), Error> {
        let sql = "insert into CacheHash (db, key, field, value) values (?, ?, ?, ?) \
                   on conflict (db, key, field) do update set value = excluded.value";
        self.cached(sql)?.execute((self.db, key, field, value)).map(drop)
    }

    fn delete_field(&self, key: &str, field: &str) -> Result<usize, Error> {
        let sql = "delete from CacheHash where db = ? and key = ? and field = ?";
        self.cached(sql)?.execute((self.db, key, field))
    }

    fn hash(&self, key: &str) -> Result<HashMap<String, String>, Error> {
        let sql = "select field, value from CacheHash where db = ? and key = ?";
        let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.cached(sql)?.query_map((self.db, key), pair)?.collect()
    }
}

fn open_with_tables(path: &Path) -> Result<Connection, Error> {
    let conn = open_file(path)?;
    conn.execute_batch(TABLES)?;
    Ok(conn)
}

/// As Redis does: what is no number is not counted with, and nothing wraps.
fn sum(stored: Option<String>, by: i64) -> Result<i64, CacheError> {
    let stored = stored.map_or(Ok(0), |text| text.parse::<i64>());
    stored
        .ok()
        .and_then(|number| number.checked_add(by))
        .ok_or_else(|| CacheError::Refused("value is not an integer or out of range".to_owned()))
}

impl From<Error> for CacheError {
    fn from(error: Error) -> Self {
        Self::ConnectionLost(error.to_string())
    }
}

impl CacheConn for EmbeddedCache {
    fn pipeline(&mut self, cmds: &[CacheCmd]) -> Result<Vec<CacheReply>, CacheError> {
        self.counters.statements += cmds.len() as u64;
        self.counters.round_trips += 1;
        let result = self.run_all(cmds);
        self.counters.commits += u64::from(result.is_ok() && !cmds.iter().all(CacheCmd::is_read));
        self.broken |= matches!(result, Err(CacheError::ConnectionLost(_)));
        result
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn ping(&mut self) -> Result<(), CacheError> {
        Ok(self.cached("select 1")?.query_row([], |_| Ok(()))?)
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        EmbeddedCache::open(&path, 1).unwrap().incr_by("msg_id_7", 41).unwrap();
        let mut again = EmbeddedCache::open(&path, 1).unwrap();
        assert_eq!(again.incr_by("msg_id_7", 1).unwrap(), 42);
    }

    #[test]
    fn a_pipeline_is_one_commit_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = EmbeddedCache::open(&dir.path().join("cache"), 1).unwrap();
        let count = |by| CacheCmd::IncrBy { key: "n".to_owned(), by };
        let replies = cache.pipeline(&[count(1), count(2)]).unwrap();
        assert_eq!(replies, [CacheReply::Int(1), CacheReply::Int(3)]);
        assert_eq!(cache.counters(), Counters { statements: 2, commits: 1, round_trips: 1 });
        assert!(cache.pipeline(&[count(1), count(i64::MAX)]).is_err());
        assert_eq!(cache.get("n").unwrap().as_deref(), Some("3"));
        assert_eq!(cache.counters().commits, 1);
    }
}
