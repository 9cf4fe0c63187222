//! The tables, and the way there from older ones.
//!
//! Migrations are numbered and applied in order, each once; `IMSchemaVersion` tells which ones a
//! database has seen. A number means the same tables on both drivers. The embedded driver begins
//! at 3, because no original server ever filled a file of its kind.
//!
//! The original schema is the first migration. A database that an original server filled is found
//! to have these tables already and goes on from there; afterwards an original server can still
//! work with it, as all names stay and new columns have defaults.
//!
//! Two servers may start at once: one migrates, the other one waits and finds nothing to do. MySQL
//! commits each change of a table by itself, so an interrupted migration begins again from its
//! start, and what is there already is passed over.

pub mod load;
mod one_of_each;

use std::cmp::Ordering;

use log::{info, warn};

use super::db_conn::{DbConn, Transaction};
use super::error::DbError;
use super::sql::Dialect;

/// Messages are spread over so many tables, by relation or group.
pub const SHARDS: u32 = 8;

/// While an original server writes to the database, a duplicate may appear between removing them
/// and adding the unique key.
const ATTEMPTS_MAX: u32 = 5;

/// How long one server waits for another one that migrates.
const LOCK_WAIT_SECS: u32 = 3600;

/// What a database that has come half the way says about the first half: table, column or key
/// exists, or is gone.
const DONE_ALREADY: [i64; 4] = [1050, 1060, 1061, 1091];

struct Migration {
    version: u32,
    name: &'static str,
    /// What has to happen to the rows before.
    prepare: fn(&mut dyn DbConn) -> Result<(), DbError>,
    sql: &'static str,
}

const MYSQL: [Migration; 6] = [
    Migration {
        version: 1,
        name: "original",
        prepare: |_| Ok(()),
        sql: include_str!("mysql/0001_original.sql"),
    },
    Migration {
        version: 2,
        name: "wide_columns",
        prepare: |_| Ok(()),
        sql: include_str!("mysql/0002_wide_columns.sql"),
    },
    Migration {
        version: 3,
        name: "unique_keys",
        prepare: one_of_each::remove_duplicates,
        sql: include_str!("mysql/0003_unique_keys.sql"),
    },
    Migration {
        version: 4,
        name: "read_marks",
        prepare: |_| Ok(()),
        sql: include_str!("mysql/0004_read_marks.sql"),
    },
    Migration {
        version: 5,
        name: "password_hash",
        prepare: |_| Ok(()),
        sql: include_str!("mysql/0005_password_hash.sql"),
    },
    Migration {
        version: 6,
        name: "file_servers",
        prepare: |_| Ok(()),
        sql: include_str!("mysql/0006_file_servers.sql"),
    },
];

const SQLITE: [Migration; 4] = [
    Migration {
        version: 3,
        name: "tables",
        prepare: |_| Ok(()),
        sql: include_str!("sqlite/0003_tables.sql"),
    },
    Migration {
        version: 4,
        name: "read_marks",
        prepare: |_| Ok(()),
        sql: include_str!("sqlite/0004_read_marks.sql"),
    },
    Migration {
        version: 5,
        name: "password_hash",
        prepare: |_| Ok(()),
        sql: include_str!("sqlite/0005_password_hash.sql"),
    },
    Migration {
        version: 6,
        name: "file_servers",
        prepare: |_| Ok(()),
        sql: include_str!("sqlite/0006_file_servers.sql"),
    },
];

/// What is in a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SchemaState {
    /// No tables of this kind.
    Empty,
    /// Tables of an original server, or of an older program: [`migrate`] brings them up to date.
    Old,
    /// What this program works with.
    Current,
    /// Tables of a newer program.
    New,
    /// A database is being copied here, or was until something went wrong. No server works with
    /// it.
    Loading,
}

/// What is in a database; changes nothing.
pub fn state(conn: &mut dyn DbConn) -> Result<SchemaState, DbError> {
    let tables = tables(conn)?;
    let has = |name: &str| tables.iter().any(|table| table.eq_ignore_ascii_case(name));
    if !has("IMSchemaVersion") {
        return Ok(if has("IMUser") { SchemaState::Old } else { SchemaState::Empty });
    }
    let found = conn.execute_query("select max(version) as version from IMSchemaVersion", &[])?;
    let found: u32 = found.first().map_or(Ok(0), |row| row.get_or_default("version"))?;
    if found == load::LOADING {
        return Ok(SchemaState::Loading);
    }
    let known = MYSQL.last().map_or(0, |migration| migration.version);
    Ok(match found.cmp(&known) {
        Ordering::Less => SchemaState::Old,
        Ordering::Equal => SchemaState::Current,
        Ordering::Greater => SchemaState::New,
    })
}

/// The names of the tables in a database.
pub fn tables(conn: &mut dyn DbConn) -> Result<Vec<String>, DbError> {
    let sql = match conn.dialect() {
        Dialect::MySql => {
            "select table_name as name from information_schema.tables \
             where table_schema=database() order by table_name"
        }
        Dialect::Sqlite => "select name from sqlite_master where type='table' order by name",
    };
    conn.execute_query(sql, &[])?.rows().map(|row| row.get("name")).collect()
}

/// Brings the tables to what this program works with, and gives the number of migrations that
/// were applied. Tables of a newer program are refused.
pub fn migrate(conn: &mut dyn DbConn) -> Result<usize, DbError> {
    match conn.dialect() {
        Dialect::MySql => migrate_locked(conn),
        Dialect::Sqlite => {
            let mut transaction = Transaction::begin(conn)?;
            let applied = apply_missing(&mut *transaction, &SQLITE)?;
            transaction.commit()?;
            Ok(applied)
        }
    }
}

/// Changes of tables end transactions in MySQL, so a lock of its own keeps others away. It ends
/// with the connection at the latest.
fn migrate_locked(conn: &mut dyn DbConn) -> Result<usize, DbError> {
    let name = "concat('teamtalk_schema_', database())";
    let sql = format!("select get_lock({name}, {LOCK_WAIT_SECS}) as locked");
    let locked = conn.execute_query(&sql, &[])?;
    if locked.first().map(|row| row.get::<Option<u32>>("locked")).transpose()? != Some(Some(1)) {
        return Err(DbError::Busy("another server is changing the schema".to_owned()));
    }
    let applied = apply_missing(conn, &MYSQL);
    conn.execute_query(&format!("select release_lock({name}) as released"), &[])?;
    applied
}

fn apply_missing(conn: &mut dyn DbConn, migrations: &[Migration]) -> Result<usize, DbError> {
    let found = version(conn)?;
    let known = migrations.last().map_or(0, |migration| migration.version);
    if found == load::LOADING {
        return Err(DbError::Misuse("an import into this database has not ended".to_owned()));
    }
    if found > known {
        return Err(DbError::SchemaTooNew { found, known });
    }
    let missing = migrations.iter().filter(|migration| migration.version > found);
    missing.map(|migration| apply_patiently(conn, migration)).sum::<Result<usize, _>>()
}

fn version(conn: &mut dyn DbConn) -> Result<u32, DbError> {
    let table = "create table if not exists IMSchemaVersion \
                 (version integer not null primary key, name varchar(64) not null)";
    conn.execute_update(table, &[])?;
    let found = conn.execute_query("select max(version) as version from IMSchemaVersion", &[])?;
    found.first().map_or(Ok(0), |row| row.get_or_default("version"))
}

fn apply_patiently(conn: &mut dyn DbConn, migration: &Migration) -> Result<usize, DbError> {
    for _ in 1..ATTEMPTS_MAX {
        match apply(conn, migration) {
            Err(DbError::Duplicate { key }) => warn!("schema: a new duplicate for {key}, again"),
            done => return done,
        }
    }
    apply(conn, migration)
}

fn apply(conn: &mut dyn DbConn, migration: &Migration) -> Result<usize, DbError> {
    let Migration { version, name, prepare, sql } = migration;
    prepare(conn)?;
    for statement in statements(sql) {
        match conn.execute_update(&statement, &[]) {
            Err(DbError::Other { code, .. }) if DONE_ALREADY.contains(&code) => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    let sql = "insert into IMSchemaVersion (version, name) values (?, ?)";
    conn.execute_update(sql, &[(*version).into(), (*name).into()])?;
    info!("schema: applied version={version} name={name}");
    Ok(1)
}

/// The statements of a file, those about a sharded table once for each shard.
fn statements(sql: &str) -> Vec<String> {
    let lines: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
    let text = lines.join("\n");
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.flat_map(for_each_shard).collect()
}

fn for_each_shard(statement: &str) -> Vec<String> {
    if !statement.contains("{n}") {
        return vec![statement.to_owned()];
    }
    (0..SHARDS).map(|shard| statement.replace("{n}", &shard.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sqlite::SqliteConn;

    fn conn() -> (tempfile::TempDir, SqliteConn) {
        let dir = tempfile::tempdir().unwrap();
        let conn = SqliteConn::open(&dir.path().join("db")).unwrap();
        (dir, conn)
    }

    #[test]
    fn the_schema_is_made_once() {
        let (_dir, mut conn) = conn();
        assert_eq!(state(&mut conn).unwrap(), SchemaState::Empty);
        assert_eq!(migrate(&mut conn).unwrap(), SQLITE.len());
        assert_eq!(migrate(&mut conn).unwrap(), 0);
        assert_eq!(version(&mut conn).unwrap(), 6);
        assert_eq!(state(&mut conn).unwrap(), SchemaState::Current);
        conn.execute_update("delete from IMSchemaVersion where version=6", &[]).unwrap();
        assert_eq!(state(&mut conn).unwrap(), SchemaState::Old);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let (_dir, mut conn) = conn();
        migrate(&mut conn).unwrap();
        let sql = "insert into IMSchemaVersion values (99, 'later')";
        conn.execute_update(sql, &[]).unwrap();
        assert_eq!(state(&mut conn).unwrap(), SchemaState::New);
        let error = migrate(&mut conn).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the schema has version 99, this program knows versions up to 6"
        );
    }

    #[test]
    fn a_number_means_the_same_on_both_drivers() {
        assert_eq!(MYSQL.last().unwrap().version, SQLITE.last().unwrap().version);
        for migrations in [&MYSQL[..], &SQLITE[..]] {
            assert!(migrations.windows(2).all(|pair| pair[0].version + 1 == pair[1].version));
        }
    }

    #[test]
    fn statements_about_shards_are_repeated() {
        let found = statements("-- a; comment\ncreate table A_{n} (\n a int);\n\ndrop table B;\n");
        assert_eq!(found.len(), 9);
        assert_eq!(found[7], "create table A_7 (\n a int)");
        assert_eq!(found[8], "drop table B");
    }
}
