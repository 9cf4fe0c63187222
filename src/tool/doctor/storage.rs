//! Databases and caches: whether they answer, and as db_proxy_server needs them.

use super::Report;
use super::config::Conf;
use crate::base::config_file_reader::ConfigFileReader;
use crate::base::unix_time::unix_time;
use crate::db_proxy_server::{DbProxyServerConfig, MSG_LEN_MAX};
use crate::storage::cache_pool::{GROUP_MEMBER, GROUP_SET, TOKEN, UNREAD};
use crate::storage::db_pool::{TEAMTALK_MASTER, TEAMTALK_SLAVE};
use crate::storage::schema::{self, SchemaState};
use crate::storage::{CacheError, DbConn, DbError, Dialect};

/// How far the clock of a database may be from that of this machine.
const CLOCK_DIFFERENCE_MAX_S: u32 = 2;

/// A message takes this many times its length on the way to the database: as base64 of its cipher,
/// and with what is around it.
const PACKET_FACTOR: u64 = 2;

/// All about databases and caches.
pub fn check(confs: &[Conf], report: &mut Report) {
    for conf in confs.iter().filter(|conf| conf.kind.program == "db_proxy_server") {
        // A file that cannot be read was told already.
        let config = ConfigFileReader::load(&conf.path)
            .and_then(|mut config| DbProxyServerConfig::read(&mut config));
        if let Ok(config) = config {
            check_databases(conf, &config, report);
            check_caches(conf, &config, report);
        }
    }
}

fn check_databases(conf: &Conf, config: &DbProxyServerConfig, report: &mut Report) {
    let place = conf.name();
    let init = format!("`teamtalk db init --conf {}`", conf.path.display());
    for name in [TEAMTALK_MASTER, TEAMTALK_SLAVE] {
        report.peers += 1;
        let target = match (config.db.target(name), config.db.is_missing(name)) {
            (Ok(target), Ok(false)) => target,
            (Ok(target), _) => {
                let what = format!("{target} ({name}_path) does not exist yet");
                report.note(&place, what, format!("{init} or the first start makes it"));
                continue;
            }
            (Err(_), _) => {
                let what = format!("DBInstances names no {name}");
                report.problem(&place, what, "name teamtalk_master and teamtalk_slave there");
                continue;
            }
        };
        let conn = config.db.db_conn(name);
        let mut conn = match conn {
            Ok(conn) => conn,
            Err(error) => {
                let todo = db_advice(&error, conf, name);
                report.problem(&place, format!("{name}: {error}"), todo);
                continue;
            }
        };
        if let Err(error) = look_at(&mut *conn, &target, conf, report) {
            let what = format!("{name}: {target} does not do as it should: {error}");
            report.problem(&place, what, "look into its log");
        }
    }
}

/// What to do about a database that does not let us in.
fn db_advice(error: &DbError, conf: &Conf, name: &str) -> String {
    let text = error.to_string();
    if text.contains("1049") {
        format!("`teamtalk db init --conf {}` makes it", conf.path.display())
    } else if text.contains("1045") || text.contains("1044") || text.contains("1698") {
        format!("correct {name}_username and {name}_password, or let that user in")
    } else {
        format!("start the database, or correct {name}_host and {name}_port")
    }
}

fn look_at(
    conn: &mut dyn DbConn,
    target: &str,
    conf: &Conf,
    report: &mut Report,
) -> Result<(), DbError> {
    let place = conf.name();
    let command = |what: &str| format!("`teamtalk db {what} --conf {}`", conf.path.display());
    match schema::state(conn)? {
        SchemaState::Current => {}
        SchemaState::Empty => report.note(
            &place,
            format!("{target} has no tables yet"),
            format!("{} or the first start makes them", command("init")),
        ),
        SchemaState::Old => report.note(
            &place,
            format!("{target} has tables of an older version, which the next start changes"),
            format!("back it up first; {} does the same", command("migrate")),
        ),
        SchemaState::Loading => report.problem(
            &place,
            format!("{target}: an import has not ended, and no server starts with it"),
            "wait for it, or run the same `teamtalk db import` again",
        ),
        SchemaState::New => report.problem(
            &place,
            format!("{target} has tables of a newer version, and no server starts with it"),
            "install the newer version",
        ),
    }
    if conn.dialect() == Dialect::MySql {
        look_at_server(conn, target, conf, report)?;
    }
    Ok(())
}

fn look_at_server(
    conn: &mut dyn DbConn,
    target: &str,
    conf: &Conf,
    report: &mut Report,
) -> Result<(), DbError> {
    let place = conf.name();
    let sql = "select @@character_set_database as charset, unix_timestamp() as now, \
               @@max_allowed_packet as packet, @@max_connections as connections";
    let found = conn.execute_query(sql, &[])?;
    let here = unix_time();
    let Some(row) = found.first() else { return Ok(()) };
    let charset: String = row.get("charset")?;
    if charset != "utf8mb4" {
        report.note(
            &place,
            format!("{target} has the character set {charset}; new tables of others would too"),
            "alter database … character set utf8mb4 collate utf8mb4_bin",
        );
    }
    let there: u32 = row.get("now")?;
    check_clock(target, there, here, &place, report);
    let longest = conf.value("MaxMsgLen").and_then(|text| text.parse().ok());
    let longest: u64 = longest.unwrap_or(MSG_LEN_MAX as u64);
    let packet: u64 = row.get("packet")?;
    if packet < longest * PACKET_FACTOR {
        report.problem(
            &place,
            format!("{target} takes statements of {packet} bytes; messages may have {longest}"),
            format!("set max_allowed_packet to {} at least", longest * PACKET_FACTOR),
        );
    }
    let wanted: u64 = [TEAMTALK_MASTER, TEAMTALK_SLAVE]
        .iter()
        .filter_map(|name| conf.value(&format!("{name}_maxconncnt"))?.parse::<u64>().ok())
        .sum();
    let connections: u64 = row.get("connections")?;
    if connections < wanted {
        report.problem(
            &place,
            format!("{target} takes {connections} connections; the pools may want {wanted}"),
            "raise max_connections, or lower the keys …_maxconncnt",
        );
    }
    let sql = "select count(*) as n from information_schema.tables where table_schema=database() \
               and table_name like 'IM%' and table_collation not like 'utf8mb4%'";
    let tables = conn.execute_query(sql, &[])?;
    let narrow: u64 = tables.first().map_or(Ok(0), |row| row.get("n"))?;
    if narrow > 0 && schema::state(conn)? == SchemaState::Current {
        look_at_columns(conn, target, &place, report)?;
    }
    Ok(())
}

fn check_clock(target: &str, there: u32, here: u32, place: &str, report: &mut Report) {
    let difference = there.abs_diff(here);
    if difference > CLOCK_DIFFERENCE_MAX_S {
        report.problem(
            place,
            format!("the clock of {target} differs by {difference} s from this one"),
            "let NTP set both: changes may go unseen until the clocks agree",
        );
    }
}

/// Tables of numbers alone may have any character set.
fn look_at_columns(
    conn: &mut dyn DbConn,
    target: &str,
    place: &str,
    report: &mut Report,
) -> Result<(), DbError> {
    let sql = "select distinct table_name as name from information_schema.columns \
               where table_schema=database() and table_name like 'IM%' and table_name<>'IMAdmin' \
               and table_name<>'IMSchemaVersion' and character_set_name is not null \
               and character_set_name<>'utf8mb4' order by table_name";
    for row in conn.execute_query(sql, &[])?.rows() {
        let table: String = row.get("name")?;
        report.problem(
            place,
            format!("{target}: texts in {table} are not utf8mb4, so emoji are refused"),
            format!("alter table {table} convert to character set utf8mb4 collate utf8mb4_bin"),
        );
    }
    Ok(())
}

fn check_caches(conf: &Conf, config: &DbProxyServerConfig, report: &mut Report) {
    let place = conf.name();
    for name in [UNREAD, GROUP_SET, TOKEN, GROUP_MEMBER] {
        report.peers += 1;
        let pinged = config.cache.cache_conn(name).and_then(|mut conn| conn.ping());
        let todo = match &pinged {
            Ok(()) => continue,
            Err(CacheError::NoPool(_)) => {
                "name unread, group_set, token, sync and group_member in CacheInstances".to_owned()
            }
            Err(error) if error.to_string().contains("NOAUTH") => {
                format!("Redis wants a password: set {name}_password")
            }
            Err(error) if error.to_string().contains("WRONGPASS") => {
                format!("correct {name}_password")
            }
            Err(_) => format!("start it, or correct {name}_host and {name}_port"),
        };
        if let Err(error) = pinged {
            report.problem(&place, format!("cache {name}: {error}"), todo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_what_nobody_notices() {
        let mut report = Report::default();
        check_clock("mysql", 102, 100, "a", &mut report);
        assert_eq!(report.findings, []);
        check_clock("mysql", 97, 100, "a", &mut report);
        assert_eq!(report.findings[0].what, "the clock of mysql differs by 3 s from this one");
    }
}
