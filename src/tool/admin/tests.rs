use std::fs;

use super::*;
use crate::db_proxy_server::business::user_model::NewUser;

/// The keys of db_proxy_server on a file in this directory.
pub(in crate::tool) fn config(directory: &Path) -> String {
    let path = directory.join("teamtalk.db");
    let mut text = "ListenIP=127.0.0.1\nListenPort=0\nThreadNum=1\nMsfsSite=127.0.0.1:1\n\
                    aesKey=12345678901234567890123456789012\n\
                    DBInstances=teamtalk_master,teamtalk_slave\n\
                    CacheInstances=token,unread,group_set,group_member\n"
        .to_owned();
    for (name, driver) in [
        ("teamtalk_master", "sqlite"),
        ("teamtalk_slave", "sqlite"),
        ("token", "embedded"),
        ("unread", "embedded"),
        ("group_set", "embedded"),
        ("group_member", "embedded"),
    ] {
        text += &format!("{name}_driver={driver}\n{name}_path={}\n", path.display());
    }
    text
}

fn store(directory: &Path) -> Store {
    let path = directory.join("dbproxyserver.conf");
    fs::write(&path, config(directory)).unwrap();
    Store { conf: Some(path), var: directory.join("var") }
}

#[test]
fn the_configuration_of_up_comes_before_the_one_of_this_directory() {
    let directory = tempfile::tempdir().unwrap();
    let var = directory.path().join("var");
    fs::create_dir_all(var.join("conf")).unwrap();
    let of_up = var.join("conf").join(CONFIG);
    let mut store = Store { conf: None, var };
    assert!(store.path().is_ok_and(|path| path != of_up), "conf/ of the repository");
    fs::write(&of_up, "").unwrap();
    assert_eq!(store.path().unwrap(), of_up);
    store.conf = Some("named.conf".into());
    assert_eq!(store.path().unwrap(), Path::new("named.conf"));
}

#[test]
fn a_storage_that_is_not_ready_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let error = store.open().unwrap_err().to_string();
    assert!(error.contains("does not exist; `teamtalk db init --conf "), "{error}");
    assert!(!directory.path().join("teamtalk.db").exists(), "looking made a file");
    fs::write(directory.path().join("teamtalk.db"), "").unwrap();
    let error = store.open().unwrap_err().to_string();
    assert!(error.contains("has no tables; `teamtalk db init"), "{error}");
    let config = store.config().unwrap();
    config.db.migrate().unwrap();
    let business = store.open().unwrap();
    let version = |sql: &str| {
        business.master().unwrap().execute_update(sql, &[]).unwrap();
        store.open().unwrap_err().to_string()
    };
    let error = version("delete from IMSchemaVersion where version>3");
    assert!(error.contains("back it up, then `teamtalk db migrate --conf"), "{error}");
    let error = version("update IMSchemaVersion set version=99");
    assert!(error.contains("newer version"), "{error}");
}

#[test]
fn users_are_found_by_name_first_and_then_by_id() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    store.config().unwrap().db.migrate().unwrap();
    let business = store.open().unwrap();
    for name in ["alice", "Alice", "1"] {
        let user = NewUser { name: name.to_owned(), ..NewUser::default() };
        user_model::insert_user(&mut *business.master().unwrap(), &user, 1).unwrap();
    }
    let id = |name: &str| find_user(&business, name).map(|user| user.user_info.user_id);
    assert_eq!([id("alice").unwrap(), id("Alice").unwrap(), id("1").unwrap()], [1, 2, 3]);
    assert_eq!(id("2").unwrap(), 2);
    let error = id("ALICE").unwrap_err();
    assert_eq!(exit_code(&error), Some(REFUSED));
    let names = ["alice", "2", "1", "Alice"].map(str::to_owned);
    assert_eq!(find_users(&business, &names).unwrap(), [1, 2, 3]);
}

#[test]
fn an_unreachable_database_has_an_exit_code() {
    let error = DbError::ConnectionLost("closed".to_owned());
    assert_eq!(exit_code(&anyhow::Error::from(error).context("more words")), Some(UNREACHABLE));
    let error: anyhow::Result<()> =
        plain(Err(HandlerError::Cache(CacheError::ConnectionLost("closed".to_owned()))));
    let error = error.unwrap_err();
    assert_eq!(exit_code(&error), Some(UNREACHABLE));
    assert_eq!(format!("{error:#}"), "connection lost: closed");
    assert_eq!(exit_code(&anyhow::anyhow!("wrong")), None);
}

#[test]
fn equal_names_need_a_number() {
    let depart =
        |id: u32, name: &str| Depart { id, name: name.to_owned(), parent_id: 0, priority: 0 };
    let departs = [depart(1, "Sales"), depart(2, "Sales"), depart(3, "1")];
    assert_eq!(find_depart(&departs, "1").unwrap().id, 3, "a name comes before a number");
    assert_eq!(find_depart(&departs, "2").unwrap().id, 2);
    assert!(find_depart(&departs, "Sales").unwrap_err().to_string().contains("several"));
    assert!(find_depart(&departs, "9").unwrap_err().to_string().contains("there is no"));
    assert_eq!(depart_name(&departs, 9), "");
}
