//! `teamtalk db import`.

use std::collections::HashMap;
use std::net::TcpListener;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use serde_json::{Value as Json, json};

use super::source::Source;
use super::{Store, db, plain, refused};
use crate::base::unix_time::unix_time;
use crate::db_proxy_server::DbProxyServerConfig;
use crate::db_proxy_server::business::imported::{self, Ids};
use crate::db_proxy_server::business::{Business, device_tokens, original_cache};
use crate::storage::cache_pool::UNREAD;
use crate::storage::db_pool::TEAMTALK_MASTER;
use crate::storage::schema::{self, SchemaState, load};
use crate::storage::{DbConn, Dialect, InsertRows, OnConflict, Transaction, Value};
use crate::tool::output::Output;
use crate::tool::progress::progress;

/// Rows that are read and written at once. One message may have 16 MiB.
const ROWS_AT_ONCE: u32 = 500;

/// How many rows of a kind there were, and are now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    source: u64,
    imported: u64,
}

/// Counts by table; those of messages are told together, because joining moves some of them from
/// one table to another.
type Tables = Vec<(String, Counts)>;

/// Copies a database.
pub(super) fn run(
    store: &Store,
    output: &Output,
    from: &str,
    from_redis: Option<&str>,
    force: bool,
) -> anyhow::Result<()> {
    let source = Source::new(from, from_redis)?;
    let config = store.config()?;
    let to = config.db.target(TEAMTALK_MASTER)?;
    check_stopped(&config)?;
    let mut source_conn = open_source(&source)?;
    if let Some(cache) = &source.cache {
        // Before hours of copying.
        cache.cache_conn(UNREAD).context("the cache of the source")?;
    }
    let mut conn = db::open(&config.db)?;
    if identity(&mut *source_conn)? == identity(&mut *conn)? {
        bail!("{to} cannot be imported into itself; `teamtalk db migrate` brings it up to date");
    }
    check_target(&mut *conn, &to, force)?;
    let mut tables = copy(&mut *source_conn, &mut *conn)?;
    drop(source_conn);
    load::join(&mut *conn)?;
    count_imported(&mut *conn, &mut tables)?;
    drop(conn);
    let business = Business::new(config, unix_time)?;
    let tokens = bring_cache(&source, &business)?;
    load::end(&mut *business.master()?)?;
    tell(output, &tables, tokens)
}

/// A running db_proxy_server would lose its tables under its feet.
fn check_stopped(config: &DbProxyServerConfig) -> anyhow::Result<()> {
    for host in config.listen_ip.split(';') {
        if let Err(error) = TcpListener::bind((host, config.listen_port))
            && error.kind() == std::io::ErrorKind::AddrInUse
        {
            return Err(refused(format!(
                "something listens on {host}:{}; stop db_proxy_server first",
                config.listen_port
            )));
        }
    }
    Ok(())
}

/// A connection that sees the source as it is now, whoever writes there meanwhile.
fn open_source(source: &Source) -> anyhow::Result<Box<dyn DbConn>> {
    let name = source.db.target(TEAMTALK_MASTER)?;
    if source.db.is_missing(TEAMTALK_MASTER)? {
        bail!("{name} does not exist");
    }
    let mut conn = source.db.open_patient(TEAMTALK_MASTER).context("the source")?;
    match schema::state(&mut *conn)? {
        SchemaState::Old | SchemaState::Current => {}
        SchemaState::Empty => bail!("{name} has no table IMUser: it is no database of TeamTalk"),
        SchemaState::New => bail!("{name} has tables of a newer version than this program knows"),
        SchemaState::Loading => bail!("{name} was not filled to its end itself"),
    }
    if conn.dialect() == Dialect::MySql {
        let sql = "set session transaction isolation level repeatable read";
        conn.execute_update(sql, &[])?;
        conn.begin()?;
    }
    Ok(conn)
}

/// What tells a database from all others, however it was named.
fn identity(conn: &mut dyn DbConn) -> anyhow::Result<Option<String>> {
    let sql = match conn.dialect() {
        Dialect::MySql => "select concat(@@hostname, ' ', @@port, ' ', database()) as id",
        Dialect::Sqlite => "select file as id from pragma_database_list where name='main'",
    };
    Ok(conn.execute_query(sql, &[])?.first().map(|row| row.get("id")).transpose()?)
}

fn check_target(conn: &mut dyn DbConn, name: &str, force: bool) -> anyhow::Result<()> {
    match schema::state(conn)? {
        // What an interrupted import left there is of no use to anybody.
        SchemaState::Empty | SchemaState::Loading => return Ok(()),
        _ if force => return Ok(()),
        SchemaState::Old | SchemaState::Current => {}
        SchemaState::New => bail!("{name} has tables of a newer version than this program knows"),
    }
    for table in load::data_tables() {
        // Every original has its administrator.
        if table != "IMAdmin" && !load::columns(conn, &table)?.is_empty() {
            let sql = format!("select id from {table} limit 1");
            if !conn.execute_query(&sql, &[])?.is_empty() {
                return Err(refused(format!(
                    "{name} is not empty: {table} has rows. --force throws away what is there"
                )));
            }
        }
    }
    Ok(())
}

fn copy(source: &mut dyn DbConn, conn: &mut dyn DbConn) -> anyhow::Result<Tables> {
    let mut tables = Tables::new();
    for table in load::data_tables() {
        // Some originals have no IMTransmitFile, and older ones fewer columns.
        let rows = match load::columns(source, &table)?.is_empty() {
            true => 0,
            false => count(source, &table)?,
        };
        tables.push((table, Counts { source: rows, imported: 0 }));
    }
    let bar = progress("rows", tables.iter().map(|(_, counts)| counts.source).sum());
    load::begin(conn)?;
    for (table, counts) in &tables {
        if counts.source > 0 {
            copy_table(source, conn, table, &bar).with_context(|| format!("table {table}"))?;
        }
    }
    bar.finish_and_clear();
    Ok(tables)
}

fn count(conn: &mut dyn DbConn, table: &str) -> anyhow::Result<u64> {
    let found = conn.execute_query(&format!("select count(*) as n from {table}"), &[])?;
    Ok(found.first().map_or(Ok(0), |row| row.get("n"))?)
}

/// One transaction.
fn copy_table(
    source: &mut dyn DbConn,
    conn: &mut dyn DbConn,
    table: &str,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut columns = load::columns(conn, table)?;
    let there = load::columns(source, table)?;
    columns.retain(|column| there.contains(column));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let list: Vec<String> = columns.iter().map(|column| format!("`{column}`")).collect();
    let sql = format!(
        "select {} from {table} where id>? order by id limit {ROWS_AT_ONCE}",
        list.join(", ")
    );
    let rows = InsertRows { table, columns: &columns, conflict: OnConflict::Fail };
    let mut transaction = Transaction::begin(conn)?;
    let mut last = 0_i64;
    loop {
        let found = source.execute_query(&sql, &[last.into()])?;
        let Some(row) = found.rows().last() else { break };
        last = row.get("id")?;
        let values: Vec<Value> = found.rows().flat_map(|row| row.values()).cloned().collect();
        let behind = || format!("a row up to the id {last}");
        rows.execute(&mut *transaction, &values).with_context(behind)?;
        bar.inc(found.len() as u64);
    }
    Ok(transaction.commit()?)
}

/// What stands in the tables now. No message may be missing.
fn count_imported(conn: &mut dyn DbConn, tables: &mut Tables) -> anyhow::Result<()> {
    for (table, counts) in tables.iter_mut() {
        counts.imported = count(conn, table)?;
    }
    let mut kinds: HashMap<&str, Counts> = HashMap::new();
    for (table, counts) in tables.iter().filter(|(table, _)| is_joined_across(table)) {
        let kind = kinds.entry(kind_of(table)).or_default();
        kind.source += counts.source;
        kind.imported += counts.imported;
    }
    for (kind, Counts { source, imported }) in kinds {
        if source != imported {
            bail!("{kind}: {imported} rows of {source} arrived; the database is not usable");
        }
    }
    Ok(())
}

fn is_joined_across(table: &str) -> bool {
    table != kind_of(table)
}

/// `IMMessage` for `IMMessage_3`.
fn kind_of(table: &str) -> &str {
    table.split_once('_').map_or(table, |(kind, _)| kind)
}

/// What the cache of the source knows and the database does not. How many push tokens came.
fn bring_cache(source: &Source, business: &Business) -> anyhow::Result<Option<usize>> {
    let ids: Ids = plain(imported::ids(business))?;
    let cache = source.cache.as_ref();
    if business.cache.is_shared(UNREAD) {
        // An original server beside this one finds there what it knows.
        if let Some(cache) = cache {
            let Ids { users, relations, groups, members } = &ids;
            let copied =
                original_cache::copy(cache, &business.cache, users, relations, groups, members);
            plain(copied).context("copying the cache")?;
        }
    } else {
        let bar = progress("read marks", ids.members.len() as u64);
        let marked = imported::mark_all(business, cache, |rows| bar.inc(rows));
        plain(marked).context("marking what is read")?;
        bar.finish_and_clear();
    }
    plain(imported::count_on(business)).context("counting on")?;
    let copied = cache.map(|cache| device_tokens::copy(cache, business, &ids.users));
    plain(copied.transpose()).context("copying push tokens")
}

fn tell(output: &Output, tables: &Tables, tokens: Option<usize>) -> anyhow::Result<()> {
    let row = |name: &str, source: u64, imported: u64| {
        json!({ "table": name, "source": source, "imported": imported,
                "joined": source.saturating_sub(imported) })
    };
    let single = tables.iter().filter(|(table, _)| !is_joined_across(table));
    let mut rows: Vec<Json> =
        single.map(|(table, counts)| row(table, counts.source, counts.imported)).collect();
    for kind in ["IMMessage", "IMGroupMessage"] {
        let of_kind = tables.iter().filter(|(t, _)| is_joined_across(t) && kind_of(t) == kind);
        let (source, imported) =
            of_kind.fold((0, 0), |sum, (_, c)| (sum.0 + c.source, sum.1 + c.imported));
        rows.push(row(kind, source, imported));
    }
    if let Some(tokens) = tokens {
        rows.push(row("push tokens", tokens as u64, tokens as u64));
    }
    output.list(&["table", "source", "imported", "joined"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_table_stands_for_its_shards() {
        assert_eq!(kind_of("IMGroupMessage_7"), "IMGroupMessage");
        assert_eq!((kind_of("IMUser"), is_joined_across("IMUser")), ("IMUser", false));
    }
}
