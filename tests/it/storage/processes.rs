//! The embedded file, shared by several processes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, thread};

use teamtalk::storage::embedded_cache::EmbeddedCache;
use teamtalk::storage::schema::migrate;
use teamtalk::storage::sqlite::SqliteConn;
use teamtalk::storage::{CacheConn, DbConn};

/// Tells the helper below what to do; nobody else sets it.
const FILE: &str = "TEAMTALK_TEST_EMBEDDED_FILE";

const COUNTS: usize = 100;

/// Starts this test binary once more, for [`helper_of_the_tests_with_several_processes`] alone.
fn other_process(file: &Path) -> Child {
    let name = "storage::processes::helper_of_the_tests_with_several_processes";
    Command::new(env::current_exe().unwrap())
        .args(["--exact", name])
        .env(FILE, file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn helper_of_the_tests_with_several_processes() {
    let Some(file) = env::var_os(FILE) else {
        return;
    };
    let file = Path::new(&file);
    let mut db = SqliteConn::open(file).unwrap();
    migrate(&mut db).unwrap();
    let mut cache = EmbeddedCache::open(file, 1).unwrap();
    for _ in 0..COUNTS {
        let id = cache.incr_by("msg_id_1", 1).unwrap();
        let sql = "insert into IMMessage_1 (relateId, fromId, toId, msgId, updated, created) \
                   values (1, 1, 2, ?, 1, 1)";
        db.execute_update(sql, &[id.into()]).unwrap();
    }
}

#[test]
fn f91_s1_several_processes_on_one_file_never_count_the_same_twice() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("teamtalk.db");
    let processes: Vec<Child> = (0..3).map(|_| other_process(&file)).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let mut db = SqliteConn::open(&file).unwrap();
    let sql = "select count(*) as many, max(msgId) as latest from IMMessage_1";
    let found = db.execute_query(sql, &[]).unwrap();
    let row = found.first().unwrap();
    let total = (3 * COUNTS) as u64;
    assert_eq!((row.get("many").unwrap(), row.get("latest").unwrap()), (total, total));
}

#[test]
fn what_another_process_changes_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("teamtalk.db");
    let mut db = SqliteConn::open(&file).unwrap();
    migrate(&mut db).unwrap();
    let mut cache = EmbeddedCache::open(&file, 1).unwrap();
    cache.set("msg_id_1", "1000").unwrap();
    assert!(other_process(&file).wait().unwrap().success());
    assert_eq!(cache.get("msg_id_1").unwrap(), Some((1000 + COUNTS).to_string()));
    let found = db.execute_query("select id from IMMessage_1", &[]).unwrap();
    assert_eq!(found.len(), COUNTS);
}

#[test]
fn handles_in_one_process_share_the_file_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("teamtalk.db");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| migrate(&mut SqliteConn::open(&file).unwrap()).unwrap());
        }
    });
    let (mut one, mut two) =
        (SqliteConn::open(&file).unwrap(), EmbeddedCache::open(&file, 1).unwrap());
    two.hset("h", "f", "1").unwrap();
    let found = one.execute_query("select field from CacheHash", &[]).unwrap();
    assert_eq!(found.first().unwrap().get::<&str>("field").unwrap(), "f");
}
