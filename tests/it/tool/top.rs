//! The screen of all servers, in a pseudo-terminal and for scripts.

use serde_json::Value;

use super::chat::User;
use super::{output, run, teamtalk};
use crate::site::Site;

const COMMON: &str = "MetricsListen=127.0.0.1:0\n";

/// Nobody listens there.
const NOBODY: &str = "gone=127.0.0.1:1";

#[test]
fn servers_are_watched_sorted_and_left() {
    let site = Site::with_common(COMMON);
    let directory = tempfile::tempdir().unwrap();
    let route = format!("route={}", site.routes[0].admin());
    let login = format!("login={}", site.login.admin());
    let args =
        ["top", "--interval", "0.1", "--server", &route, "--server", &login, "--server", NOBODY];
    let mut one = User::start(directory.path(), env!("CARGO_BIN_EXE_teamtalk"), &args);
    let rows = |screen: &str| -> Vec<String> {
        let first = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        screen.lines().skip(1).take(3).map(first).collect()
    };
    one.wait("three servers", |screen| {
        rows(screen) == ["gone", "login", "route"]
            && screen.contains("login: no msg_server is registered")
            && screen.contains("gone: Connection refused")
    });
    // The one that is ready comes last, and first when that is turned round.
    one.press("h");
    one.wait("sorted", |screen| rows(screen) == ["gone", "login", "route"]);
    one.press("r");
    one.wait("reversed", |screen| rows(screen) == ["route", "login", "gone"]);
    // A server that comes later is shown as soon as it is there.
    let msg_server = site.msg_server();
    one.wait("ready", |screen| !screen.contains("no msg_server is registered"));
    drop(msg_server);
    one.sees("login: no msg_server is registered");
    one.press("q");
    assert!(one.end().success());
    one.assert_restored();
}

#[test]
fn scripts_get_a_line_a_server() {
    let site = Site::with_common(COMMON);
    let directory = tempfile::tempdir().unwrap();
    let db = format!("db={}", site.db.admin());
    let args = ["top", "--once", "--interval", "0.1", "--server", &db, "--server", NOBODY];
    let seen = output(teamtalk(directory.path()).args(args).arg("--json"), "");
    let seen: Vec<Value> = seen.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [db, gone] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((db["server"].as_str(), db["queue"].as_f64()), (Some("db"), Some(0.0)));
    assert!(db["messages_in_per_second"].as_f64() > Some(0.0), "its own questions: {db}");
    assert_eq!((gone["state"].as_str(), &gone["queue"]), (Some("silent"), &Value::Null));
    let text = output(teamtalk(directory.path()).args(args), "");
    assert!(text.starts_with("SERVER") && text.contains("\ngone: Connection refused"), "{text}");

    let nobody = ["top", "--once", "--interval", "0.1", "--server", NOBODY];
    let failed = run(teamtalk(directory.path()).args(nobody), "");
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8(failed.stderr).unwrap().contains("no server answers"));
    let failed = run(teamtalk(directory.path()).args(["top", "--server", NOBODY]), "");
    assert!(String::from_utf8(failed.stderr).unwrap().contains("top needs a terminal"));
    let failed = run(teamtalk(directory.path()).arg("top"), "");
    assert!(String::from_utf8(failed.stderr).unwrap().contains("there is no cluster"));
}
