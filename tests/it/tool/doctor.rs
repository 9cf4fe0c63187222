//! What is told about installations that are well, and about those that are not.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use teamtalk::storage::DbConn;
use teamtalk::storage::mysql::MySqlConn;

use super::{output, run, teamtalk};
use crate::backends::{MariaDb, Redis};
use crate::db_proxy_server::{embedded_pools, server_pools, text_with};
use crate::process::{DB_PROXY_SERVER, Process, ROUTE_SERVER};
use crate::running::free_port;
use crate::site::route_server_text;

/// For the eyes of the owner, in `conf` below the directory.
fn write_conf(directory: &Path, name: &str, text: &str) {
    let conf = directory.join("conf");
    fs::create_dir_all(&conf).unwrap();
    fs::write(conf.join(name), text).unwrap();
    fs::set_permissions(conf.join(name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// The exit code, and what was found.
fn doctor(directory: &Path) -> (i32, Vec<Value>) {
    let output = run(teamtalk(directory).args(["doctor", "--json"]), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), findings)
}

fn says(findings: &[Value], what: &str) -> bool {
    findings.iter().any(|finding| finding["what"].as_str().unwrap().contains(what))
}

#[test]
fn an_installation_that_runs_is_well() {
    let directory = tempfile::tempdir().unwrap();
    let (db_port, route_port) = (free_port(), free_port());
    let pools = embedded_pools(&directory);
    let db_text = text_with(&pools).replace("ListenPort=0", &format!("ListenPort={db_port}"));
    // A key of their own.
    let db_text = db_text.replace("12345678901234567890123456789012", &"k".repeat(32));
    let route_text = route_server_text(route_port);
    let msg_text = format!(
        "ListenIP=127.0.0.1\nListenPort={}\nIpAddr1=127.0.0.1\nMaxConnCnt=10\naesKey={}\n\
         DBServerIP1=127.0.0.1\nDBServerPort1={db_port}\n\
         RouteServerIP1=127.0.0.1\nRouteServerPort1={route_port}\n",
        free_port(),
        "k".repeat(32)
    );
    write_conf(directory.path(), "dbproxyserver.conf", &db_text);
    write_conf(directory.path(), "routeserver.conf", &route_text);
    write_conf(directory.path(), "msgserver.conf", &msg_text);

    // Before the start: nothing is wrong, and what is not there yet is told.
    let (code, findings) = doctor(directory.path());
    assert_eq!(code, 0, "{findings:?}");
    assert!(says(&findings, "does not exist yet") && says(&findings, "does not run"));

    let _db = Process::start(DB_PROXY_SERVER, directory.path(), &db_text);
    let mut route = Process::start(ROUTE_SERVER, directory.path(), &route_text);
    let (code, findings) = doctor(directory.path());
    assert_eq!((code, &findings[..]), (0, &[][..]));
    let text = output(teamtalk(directory.path()).arg("doctor"), "");
    assert_eq!(
        text,
        "conf: 3 configurations, 3 ports, 8 servers, databases and caches looked at: 0 problems, \
         0 notes\n"
    );

    // Another program has the port of a server.
    route.kill();
    let _taken = TcpListener::bind(("127.0.0.1", route_port)).unwrap();
    let (code, findings) = doctor(directory.path());
    assert_eq!(code, 1);
    let taken = format!("127.0.0.1:{route_port} (ListenMsgPort) is taken by ");
    assert!(says(&findings, &taken), "{findings:?}");
    let printed = run(teamtalk(directory.path()).arg("doctor"), "");
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.starts_with("PROBLEM  routeserver.conf: ") && text.contains("stop that, or set"));
    assert_eq!(String::from_utf8(printed.stderr).unwrap(), "teamtalk: 1 problem found\n");
}

#[test]
fn what_is_wrong_with_servers_of_data_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let db = MariaDb::shared().database("tool_doctor");
    let redis = Redis::shared().config(45);
    let pools = server_pools(&db, &redis);
    let check = |pools: &str| {
        write_conf(directory.path(), "dbproxyserver.conf", &text_with(pools));
        doctor(directory.path())
    };
    let (code, findings) = check(&pools);
    assert_eq!(code, 1, "the password of the test is one that everybody knows");
    assert!(says(&findings, "teamtalk_master_password is one that everybody knows"));
    assert!(says(&findings, "has the character set utf8mb3") || says(&findings, "set utf8;"));
    assert!(says(&findings, "tool_doctor has no tables yet"));
    output(
        teamtalk(directory.path()).args(["db", "init", "--conf", "conf/dbproxyserver.conf"]),
        "",
    );
    let (_, findings) = check(&pools);
    assert!(!says(&findings, "utf8mb4"), "{findings:?}");
    let mut conn = MySqlConn::open(&db).unwrap();
    let sql = "alter table IMDepart convert to character set latin1";
    conn.execute_update(sql, &[]).unwrap();
    let (_, findings) = check(&pools);
    assert!(says(&findings, "texts in IMDepart are not utf8mb4"), "{findings:?}");

    let (_, findings) = check(&pools.replace("password=12345", "password=geheim"));
    assert!(says(&findings, "teamtalk_master: cannot open mysql"), "{findings:?}");
    assert!(findings.iter().any(|one| one["todo"].as_str().unwrap().contains("_username and ")));
    let (_, findings) = check(&pools.replace("dbname=tool_doctor", "dbname=tool_nowhere"));
    assert!(findings.iter().any(|one| one["todo"].as_str().unwrap().contains("teamtalk db init")));
    let without = pools.lines().filter(|line| !line.starts_with("unread_password"));
    let (_, findings) = check(&without.map(|line| format!("{line}\n")).collect::<String>());
    assert!(says(&findings, "cache unread: "), "{findings:?}");
    let many = pools.replace("maxconncnt=8", "maxconncnt=800");
    assert!(says(&check(&many).1, "the pools may want 1600"));
    let long = format!("{pools}MaxMsgLen=16777215\n");
    assert!(says(&check(&long).1, "messages may have 16777215"));
    let text = format!("{:?}", check(&pools).1);
    assert!(!text.contains("geheim") && !text.contains("p w%s"), "{text}");
}

#[test]
fn an_empty_directory_is_no_installation() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(teamtalk(directory.path()).arg("doctor"), "");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("--conf-dir"), "{text}");
    fs::create_dir_all(directory.path().join("var/conf")).unwrap();
    let output = run(teamtalk(directory.path()).arg("doctor"), "");
    assert!(String::from_utf8(output.stderr).unwrap().contains("var/conf has no configurations"));
}
