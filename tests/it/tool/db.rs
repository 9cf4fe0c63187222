//! Making, migrating and filling databases.

use std::fs;

use serde_json::{Value, json};
use teamtalk::storage::mysql::{MySqlConfig, MySqlConn};
use teamtalk::storage::redis::{RedisConfig, RedisConn};
use teamtalk::storage::sqlite::SqliteConn;
use teamtalk::storage::{CacheConn, DbConn, DbManager};

use super::admin::{fails, json_of};
use super::{output, run, teamtalk};
use crate::backends::{MariaDb, Redis};
use crate::db_proxy_server::installation::{Installation, embedded_pools, server_pools};
use crate::db_proxy_server::original::{fill, goes_on};
use crate::db_proxy_server::text_with;
use crate::running::config;
use crate::site::Site;
use crate::storage::schema::{check_upgraded, create_original, fill_original};

/// An installation of an original, as `fill` leaves it.
fn original(name: &str, redis_db: u32) -> (MySqlConfig, RedisConfig) {
    let (db, redis) = (MariaDb::shared().database(name), Redis::shared().config(redis_db));
    let mut conn = MySqlConn::open_patient(&db).unwrap();
    create_original(&mut conn);
    fill(&mut conn, &mut RedisConn::open(&redis).unwrap());
    (db, redis)
}

fn url(db: &MySqlConfig) -> String {
    format!("mysql://{}:{}@{}:{}/{}", db.username, db.password, db.host, db.port, db.dbname)
}

fn redis_url(redis: &RedisConfig) -> String {
    let password = redis.password.as_deref().unwrap().replace('%', "%25");
    format!("redis://:{password}@{}:{}/{}", redis.host, redis.port, redis.db)
}

/// Writes the configurations of a new embedded installation and of the old one.
fn configurations(old: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let pools = embedded_pools(&directory);
    fs::write(directory.path().join("dbproxyserver.conf"), text_with(&pools)).unwrap();
    fs::write(directory.path().join("old.conf"), old).unwrap();
    (directory, pools)
}

fn counts(rows: &[Value], table: &str) -> (u64, u64, u64) {
    let row = rows.iter().find(|row| row["table"] == table).unwrap();
    let number = |key: &str| row[key].as_u64().unwrap();
    (number("source"), number("imported"), number("joined"))
}

#[test]
fn an_original_installation_goes_on_in_one_file() {
    let (db, redis) = original("tool_to_file", 57);
    let (directory, pools) = configurations(&server_pools(&db, &redis));
    let rows = json_of(directory.path(), &["db", "import", "--from", "old.conf"], "");
    assert_eq!(counts(&rows, "IMUser"), (2, 2, 0));
    assert_eq!(counts(&rows, "IMMessage"), (3, 3, 0));
    assert_eq!(counts(&rows, "IMGroupMember"), (3, 3, 0));
    assert_eq!(counts(&rows, "IMTransmitFile"), (0, 0, 0), "the original has none");
    assert_eq!(counts(&rows, "push tokens"), (1, 1, 0));
    let groups = json_of(directory.path(), &["group", "list"], "");
    assert_eq!(groups[0]["members"], 2, "it said 4");
    goes_on(&Installation { first_id: 0, ..Installation::new(&pools, true) });
    // Once is enough.
    let (code, text) = fails(directory.path(), &["db", "import", "--from", "old.conf"], "");
    assert!(code == 3 && text.contains("IMUser has rows. --force"), "{code} {text}");
    let again = ["db", "import", "--from", "old.conf", "--force"];
    assert_eq!(json_of(directory.path(), &again, ""), rows);
    goes_on(&Installation { first_id: 0, ..Installation::new(&pools, true) });
}

#[test]
fn an_original_installation_goes_on_on_other_servers() {
    let (db, redis) = original("tool_old", 58);
    let mut new = MariaDb::shared().database("tool_new");
    // One that does not exist yet.
    new.dbname = "tool_new_`made".to_owned();
    let sql = "drop database if exists `tool_new_``made`";
    MySqlConn::open(&MariaDb::shared().database("tool_any"))
        .unwrap()
        .execute_update(sql, &[])
        .unwrap();
    let pools = server_pools(&new, &Redis::shared().config(49));
    let directory = super::admin::directory(&pools);
    let (from, from_redis) = (url(&db), redis_url(&redis));
    let import = ["db", "import", "--from", &from, "--from-redis", &from_redis];
    let printed = output(teamtalk(directory.path()).args(import), "");
    assert!(printed.starts_with("TABLE            SOURCE  IMPORTED  JOINED\n"), "{printed}");
    assert!(printed.contains("IMGroupMessage   1       1         0\n"), "{printed}");
    goes_on(&Installation { first_id: 0, ..Installation::new(&pools, false) });
    // The old one is as it was.
    let mut conn = MySqlConn::open(&db).unwrap();
    let found = conn.execute_query("select count(*) as n from IMMessage_1", &[]).unwrap();
    assert_eq!(found.first().unwrap().get::<u32>("n").unwrap(), 3);
    assert!(conn.execute_query("select readMsgId from IMRecentSession", &[]).is_err());
}

#[test]
fn without_the_cache_everything_counts_as_read() {
    let (db, _) = original("tool_no_cache", 48);
    let (directory, pools) = configurations("");
    json_of(directory.path(), &["db", "import", "--from", &url(&db)], "");
    let on = Installation { first_id: 0, ..Installation::new(&pools, true) };
    assert_eq!((on.unread(1), on.unread(2)), (vec![], vec![]));
    assert_eq!(on.send_to_user(2, 1), 4, "the next number");
    assert_eq!(on.unread(1).len(), 1);
}

#[test]
fn a_cache_that_does_not_agree_with_the_database_does_no_harm() {
    let (db, redis) = original("tool_ahead", 44);
    let mut cache = RedisConn::open(&redis).unwrap();
    // The token that is Anna's now was Bert's before.
    cache.set("device_2", "ios:token").unwrap();
    cache.hset("unread_1", "2", "99").unwrap();
    cache.hset("7_im_group_msg", "count", "50").unwrap();
    let (directory, pools) = configurations(&server_pools(&db, &redis));
    let rows = json_of(directory.path(), &["db", "import", "--from", "old.conf"], "");
    assert_eq!(counts(&rows, "push tokens"), (1, 1, 0));
    let on = Installation { first_id: 0, ..Installation::new(&pools, true) };
    let cache = &on.business.cache;
    let tokens =
        cache.cache_conn("token").unwrap().mget(&["device_1", "device_2"].map(String::from));
    assert_eq!(tokens.unwrap(), [Some("ios:token".to_owned()), None]);
    let unread: Vec<u32> = on.unread(1).iter().map(|unread| unread.2).collect();
    assert_eq!(unread, [2, 1]);
}

#[test]
fn a_database_is_not_imported_into_itself_by_another_name() {
    let db = MariaDb::shared().database("tool_itself");
    let pools = server_pools(&db, &Redis::shared().config(44));
    let directory = super::admin::directory(&pools);
    let at = directory.path();
    json_of(at, &["db", "init"], "");
    // Only the form of the address is another one.
    let other = url(&MySqlConfig { host: "[::ffff:127.0.0.1]".to_owned(), ..db });
    let (code, text) = fails(at, &["db", "import", "--force", "--from", &other], "");
    assert!(code == 1 && text.contains("into itself"), "{code} {text}");
}

#[test]
fn what_exists_twice_is_joined_and_no_message_is_lost() {
    let db = MariaDb::shared().database("tool_twice");
    let mut conn = MySqlConn::open_patient(&db).unwrap();
    create_original(&mut conn);
    fill_original(&mut conn);
    let (directory, _) = configurations("");
    let output =
        run(teamtalk(directory.path()).args(["db", "import", "--from", &url(&db), "--json"]), "");
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the name of user=1 belongs to another user"), "{said}");
    let rows = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(counts(&rows, "IMRelationShip"), (4, 2, 2));
    assert_eq!(counts(&rows, "IMMessage"), (9, 9, 0));
    assert_eq!(counts(&rows, "IMGroupMessage"), (4, 4, 0));
    check_upgraded(&mut SqliteConn::open(&directory.path().join("teamtalk.db")).unwrap());
}

#[test]
fn a_row_that_does_not_fit_leaves_a_database_that_no_server_takes() {
    let db = MariaDb::shared().database("tool_broken");
    let mut conn = MySqlConn::open_patient(&db).unwrap();
    create_original(&mut conn);
    let insert =
        "insert into IMUser (id, name, departId, created, updated) values (1, 'a', 1, 1, 1)";
    conn.execute_update(insert, &[]).unwrap();
    conn.execute_update("alter table IMUser modify sex int", &[]).unwrap();
    conn.execute_update("update IMUser set sex=-1", &[]).unwrap();
    let (directory, pools) = configurations("");
    let from = url(&db);
    let import = ["db", "import", "--from", &from];
    let (code, text) = fails(directory.path(), &import, "");
    assert!(code == 1 && text.contains("table IMUser: a row up to the id 1: "), "{text}");
    let (_, text) = fails(directory.path(), &["user", "list"], "");
    assert!(text.contains("an import has not ended"), "{text}");
    let error = config(&pools, DbManager::from_config).migrate().unwrap_err().to_string();
    assert!(error.contains("an import into this database has not ended"), "{error}");
    // The same command begins again.
    conn.execute_update("update IMUser set sex=1", &[]).unwrap();
    json_of(directory.path(), &import, "");
    assert_eq!(json_of(directory.path(), &["user", "list"], "").len(), 1);
}

#[test]
fn a_file_grows_into_servers() {
    let site = Site::new(1);
    let old = text_with(&site.pools);
    let before = Installation { first_id: 0, ..Installation::new(&site.pools, true) };
    before.send_to_user(1, 2);
    before.send_to_user(1, 2);
    let db = MariaDb::shared().database("tool_grown");
    let pools = server_pools(&db, &Redis::shared().config(47));
    let directory = super::admin::directory(&pools);
    fs::write(directory.path().join("old.conf"), old).unwrap();
    let rows = json_of(directory.path(), &["db", "import", "--from", "old.conf"], "");
    assert_eq!((counts(&rows, "IMUser"), counts(&rows, "IMMessage")), ((9, 9, 0), (2, 2, 0)));
    let after = Installation { first_id: 0, ..Installation::new(&pools, false) };
    assert_eq!((after.unread(1), after.unread(2)), (before.unread(1), before.unread(2)));
    assert_eq!(after.unread(2)[0].2, 2);
    assert_eq!(after.send_to_user(2, 1), 3);
}

#[test]
fn a_database_is_made_once_and_brought_up_to_date() {
    let (directory, _) = configurations("");
    let at = directory.path();
    let tool = |args: &[&str]| output(teamtalk(at).args(args), "");
    let (code, text) = fails(at, &["db", "migrate"], "");
    assert!(code == 1 && text.contains("teamtalk db init --conf dbproxyserver.conf"), "{text}");
    assert!(tool(&["db", "init"]).ends_with("teamtalk.db: tables made\n"));
    assert!(tool(&["db", "init"]).ends_with("nothing to do, all tables are there\n"));
    assert!(tool(&["db", "migrate"]).ends_with("nothing to do, it is up to date\n"));
    assert_eq!(tool(&["user", "list"]).lines().count(), 1);

    let (db, redis) = original("tool_migrate", 46);
    fs::write(at.join("server.conf"), text_with(&server_pools(&db, &redis))).unwrap();
    let (_, text) = fails(at, &["db", "init", "--conf", "server.conf"], "");
    assert!(text.contains("back it up, then `teamtalk db migrate --conf server.conf`"), "{text}");
    let (_, text) = fails(at, &["user", "list", "--conf", "server.conf"], "");
    assert!(text.contains("back it up, then `teamtalk db migrate --conf server.conf`"), "{text}");
    let done = json_of(at, &["db", "migrate", "--conf", "server.conf"], "");
    let target = format!("mysql 127.0.0.1:{}/tool_migrate", db.port);
    assert_eq!(done, [json!({ "target": target, "steps": 6 })]);
    assert_eq!(json_of(at, &["user", "list", "--conf", "server.conf"], "").len(), 2);
}

#[test]
fn what_cannot_be_imported_is_told() {
    let site = Site::new(1);
    let at = tempfile::tempdir().unwrap();
    let fails = |args: &[&str]| fails(at.path(), args, "");
    let running = text_with(&site.pools)
        .replace("ListenPort=0", &format!("ListenPort={}", site.db.addrs[0].port()));
    fs::write(at.path().join("running.conf"), running).unwrap();
    let (directory, _) = configurations("");
    let new = directory.path().join("dbproxyserver.conf").display().to_string();
    let import = |conf: &str, from: &str| fails(&["db", "import", "--conf", conf, "--from", from]);

    let (code, text) = import("running.conf", &new);
    assert!(code == 3 && text.contains("stop db_proxy_server first"), "{code} {text}");
    json_of(at.path(), &["db", "init", "--conf", &new], "");
    let (code, text) = import(&new, &new);
    assert!(code == 1 && text.contains("into itself"), "{code} {text}");
    let (code, text) = import(&new, "mysql://x:geheim@127.0.0.1:1/db");
    assert!(code == 4 && text.contains("the source: "), "{code} {text}");
    assert!(!text.contains("geheim"), "{text}");
    let empty = url(&MariaDb::shared().database("tool_nothing"));
    let (code, text) = import(&new, &empty);
    assert!(code == 1 && text.contains("no database of TeamTalk"), "{code} {text}");
    assert_eq!(json_of(at.path(), &["user", "list", "--conf", &new], "").len(), 0);
}
