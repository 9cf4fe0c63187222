//! Filling empty tables from another database, whose rows may break every rule.
//!
//! ```text
//! begin   tables are made, unique keys taken off; servers refuse to work with them from here on
//!         … rows are copied …
//! join    duplicates become one, and the unique keys come back
//!         … what else has to be right …
//! end     servers may work with it
//! ```

use super::{SHARDS, migrate, one_of_each, tables};
use crate::storage::db_conn::{DbConn, Transaction};
use crate::storage::error::DbError;
use crate::storage::sql::Dialect;

/// The version of tables that are being filled: newer than any program knows.
pub const LOADING: u32 = 2_000_000_000;

/// The tables with one row for each thing there is one of: table, columns of the key.
const UNIQUE: [(&str, &[&str]); 6] = [
    ("IMUser", &["name"]),
    ("IMGroupMember", &["groupId", "userId"]),
    ("IMRelationShip", &["smallId", "bigId"]),
    ("IMRecentSession", &["userId", "peerId", "type"]),
    ("IMMessage_{n}", &["relateId", "msgId"]),
    ("IMGroupMessage_{n}", &["groupId", "msgId"]),
];

/// The tables that hold what is kept, those of messages last.
pub fn data_tables() -> Vec<String> {
    let mut names: Vec<String> = [
        "IMAdmin",
        "IMDiscovery",
        "IMDepart",
        "IMUser",
        "IMGroup",
        "IMGroupMember",
        "IMRelationShip",
        "IMRecentSession",
        "IMAudio",
        "IMTransmitFile",
    ]
    .map(str::to_owned)
    .into();
    for kind in ["IMMessage", "IMGroupMessage"] {
        names.extend((0..SHARDS).map(|shard| format!("{kind}_{shard}")));
    }
    names
}

/// The columns of a table, none if there is no such table.
pub fn columns(conn: &mut dyn DbConn, table: &str) -> Result<Vec<String>, DbError> {
    let sql = match conn.dialect() {
        Dialect::MySql => {
            "select column_name as name from information_schema.columns \
             where table_schema=database() and table_name=? order by ordinal_position"
        }
        Dialect::Sqlite => "select name from pragma_table_info(?)",
    };
    conn.execute_query(sql, &[table.into()])?.rows().map(|row| row.get("name")).collect()
}

/// Makes the tables anew, empty and without unique keys. What was in them is gone.
pub fn begin(conn: &mut dyn DbConn) -> Result<(), DbError> {
    let found = tables(conn)?;
    let is_found = |table: &String| found.contains(table);
    // The mark comes first and goes last: nobody takes half of a database for a whole one.
    let version_table = "IMSchemaVersion".to_owned();
    if is_found(&version_table) {
        end(conn)?;
        mark(conn)?;
    }
    for table in data_tables().into_iter().chain([version_table]).filter(is_found) {
        conn.execute_update(&format!("drop table {table}"), &[])?;
    }
    migrate(conn)?;
    mark(conn)?;
    for (table, columns) in unique_keys() {
        let key = format!("uk_{}", columns.join("_"));
        let sql = match conn.dialect() {
            Dialect::MySql => format!("alter table {table} drop key {key}"),
            Dialect::Sqlite => format!("drop index {table}_{key}"),
        };
        conn.execute_update(&sql, &[])?;
    }
    Ok(())
}

fn mark(conn: &mut dyn DbConn) -> Result<(), DbError> {
    let sql = "insert into IMSchemaVersion (version, name) values (?, 'import')";
    conn.execute_update(sql, &[LOADING.into()]).map(drop)
}

/// Joins what is there twice and counts the members of groups, so that all rules hold again.
pub fn join(conn: &mut dyn DbConn) -> Result<(), DbError> {
    one_of_each::remove_duplicates(conn)?;
    for (table, columns) in unique_keys() {
        let (key, list) = (format!("uk_{}", columns.join("_")), columns.join(", "));
        let sql = match conn.dialect() {
            Dialect::MySql => format!("alter table {table} add unique key {key} ({list})"),
            Dialect::Sqlite => format!("create unique index {table}_{key} on {table} ({list})"),
        };
        conn.execute_update(&sql, &[])?;
    }
    // The original counts twice who is there from the beginning, and nobody out.
    let sql = "update IMGroup set userCnt=(select count(*) from IMGroupMember m \
               where m.groupId=IMGroup.id and m.status=0)";
    let mut transaction = Transaction::begin(conn)?;
    transaction.execute_update(sql, &[])?;
    transaction.commit()
}

/// Lets servers work with it.
pub fn end(conn: &mut dyn DbConn) -> Result<(), DbError> {
    let sql = "delete from IMSchemaVersion where version=?";
    conn.execute_update(sql, &[LOADING.into()]).map(drop)
}

fn unique_keys() -> Vec<(String, &'static [&'static str])> {
    let shards = |table: &str| match table.contains("{n}") {
        true => (0..SHARDS).map(|n| table.replace("{n}", &n.to_string())).collect(),
        false => vec![table.to_owned()],
    };
    let keys = UNIQUE
        .iter()
        .flat_map(|(table, columns)| shards(table).into_iter().map(move |table| (table, *columns)));
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::schema::{SchemaState, state};
    use crate::storage::sqlite::SqliteConn;

    fn indexes(conn: &mut dyn DbConn) -> Vec<String> {
        let sql = "select sql from sqlite_master where type='index' and sql like '%unique%' \
                   order by name";
        let found = conn.execute_query(sql, &[]).unwrap();
        let text = |row: crate::storage::Row<'_>| row.get::<String>("sql").unwrap();
        found
            .rows()
            .map(text)
            .map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn afterwards_everything_is_as_migrations_leave_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut conn = SqliteConn::open(&directory.path().join("db")).unwrap();
        migrate(&mut conn).unwrap();
        let (before, all) = (indexes(&mut conn), tables(&mut conn).unwrap());
        assert_eq!(before.len(), unique_keys().len());
        let insert = "insert into IMUser (name, departId, created, updated) values ('a', 1, 1, 1)";
        conn.execute_update(insert, &[]).unwrap();

        begin(&mut conn).unwrap();
        assert_eq!(state(&mut conn).unwrap(), SchemaState::Loading);
        assert!(migrate(&mut conn).unwrap_err().to_string().contains("has not ended"));
        assert_eq!(indexes(&mut conn), [""; 0]);
        for _ in 0..2 {
            conn.execute_update(insert, &[]).unwrap();
        }
        join(&mut conn).unwrap();
        assert_eq!(state(&mut conn).unwrap(), SchemaState::Loading);
        end(&mut conn).unwrap();
        assert_eq!(state(&mut conn).unwrap(), SchemaState::Current);
        assert_eq!(tables(&mut conn).unwrap(), all);
        let names = conn.execute_query("select name from IMUser order by id", &[]).unwrap();
        let names: Vec<&str> = names.rows().map(|row| row.get("name").unwrap()).collect();
        assert_eq!(names, ["a#1", "a"]);
        let after = indexes(&mut conn);
        let plain = |sqls: &[String]| -> Vec<String> {
            sqls.iter().map(|sql| sql.to_lowercase().replace("if not exists ", "")).collect()
        };
        assert_eq!(plain(&after), plain(&before));
    }

    #[test]
    fn every_table_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let mut conn = SqliteConn::open(&directory.path().join("db")).unwrap();
        migrate(&mut conn).unwrap();
        let mut known = data_tables();
        known.push("IMSchemaVersion".to_owned());
        known.sort();
        assert_eq!(tables(&mut conn).unwrap(), known);
        let user = columns(&mut conn, "IMUser").unwrap();
        assert_eq!((user[0].as_str(), user.len()), ("id", 17));
        assert_eq!(columns(&mut conn, "IMCallLog").unwrap(), [""; 0]);
    }
}
