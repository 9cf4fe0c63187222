use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::*;

const ROUTE: &str = "ListenIP=127.0.0.1\nListenMsgPort=0\n";

/// What is found about these files, as `place: what`.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let report = examine(&config::load_all(directory.path()).unwrap());
    // How full the disk of this machine is, is not the business of these tests.
    let findings = report.findings.iter().filter(|finding| !finding.what.ends_with("are free"));
    findings.map(|finding| format!("{}: {}", finding.place, finding.what)).collect()
}

#[track_caller]
fn assert_found(files: &[(&str, &str)], expected: &str) {
    let all = found(files);
    assert!(all.iter().any(|text| text.contains(expected)), "{expected} in {all:#?}");
}

fn msg_server(more: &str) -> String {
    format!(
        "{more}ListenIP=127.0.0.1\nListenPort=0\nIpAddr1=127.0.0.1\nMaxConnCnt=100\n\
         aesKey=12345678901234567890123456789000\nDBServerIP1=127.0.0.1\nDBServerPort1=1\n"
    )
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(found(&[("routeserver.conf", ROUTE)]), [""; 0]);
}

#[test]
fn missing_and_unknown_keys_are_found() {
    assert_found(
        &[("routeserver.conf", "ListenIP=127.0.0.1\n")],
        "routeserver.conf: key ListenMsgPort is missing",
    );
    let text = format!("{ROUTE}Listen=x\n");
    assert_found(&[("routeserver.conf", &text)], "line 3: key Listen is unknown");
    assert_found(&[("routeserver.conf", "ListenMsgPort=x\n")], "is missing");
}

#[test]
fn the_administration_port_is_looked_at_like_any_other() {
    let metrics = |value: &str| format!("{ROUTE}MetricsListen={value}\n");
    assert_eq!(found(&[("routeserver.conf", &metrics("127.0.0.1:0"))]), [""; 0]);
    assert_found(
        &[("routeserver.conf", &metrics("0.0.0.0:0"))],
        "everybody who reaches this machine can read the figures at 0.0.0.0:0",
    );
    assert_found(&[("routeserver.conf", &metrics("8904"))], "MetricsListen");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    assert_found(
        &[("routeserver.conf", &metrics(&addr.to_string()))],
        &format!("{addr} (MetricsListen) is taken by"),
    );
    let second = format!("ListenIP=127.0.0.1\nListenMsgPort=1\nMetricsListen={addr}\n");
    assert_found(
        &[("routeserver.conf", &metrics(&addr.to_string())), ("routeserver-2.conf", &second)],
        "is also MetricsListen of",
    );
}

#[test]
fn directories_without_configurations_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = config::load_all(directory.path()).err().unwrap();
    assert!(error.to_string().contains("--conf-dir"), "{error}");
    assert!(config::load_all(&directory.path().join("none")).is_err());
}

#[test]
fn a_public_server_must_not_send_clients_to_127_0_0_1() {
    let public = msg_server("ListenIP=0.0.0.0\n");
    let expected = "msgserver.conf: clients of other machines are sent to IpAddr1=127.0.0.1";
    assert_found(&[("msgserver.conf", &public)], expected);
    let told = found(&[("msgserver.conf", &msg_server(""))]);
    assert!(!told.iter().any(|text| text.contains("sent to")), "{told:?}");
    let told = found(&[("msgserver.conf", &msg_server("ListenIP=0.0.0.0\nIpAddr1=203.0.113.7\n"))]);
    assert!(!told.iter().any(|text| text.contains("sent to")), "{told:?}");
    let login = "ClientListenIP=127.0.0.1\nClientPort=0\nHttpListenIP=::\nHttpPort=0\n\
                 MsgServerListenIP=127.0.0.1\nMsgServerPort=0\nmsfs=http://localhost:8700/\n\
                 discovery=x\n";
    assert_found(&[("loginserver.conf", login)], "sent to msfs=http://localhost:8700/");
}

#[test]
fn ports_of_servers_are_not_for_everybody() {
    let public = ROUTE.replace("127.0.0.1", "0.0.0.0");
    let expected = "everybody who reaches this machine reaches ListenMsgPort=0";
    assert_found(&[("routeserver.conf", &public)], expected);
    let allowed = format!("{public}AllowIP=10.0.0.0/8\n");
    assert_eq!(found(&[("routeserver.conf", &allowed)]), [""; 0]);
}

#[test]
fn taken_ports_are_told_with_who_has_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = ROUTE.replace("Port=0", &format!("Port={port}"));
    let expected = format!("process {}", std::process::id());
    assert_found(&[("routeserver.conf", &text)], &expected);
    drop(listener);
    assert_found(
        &[("routeserver.conf", &text), ("routeserver2.conf", &text)],
        &format!(
            "routeserver2.conf: ListenMsgPort={port} is also ListenMsgPort of routeserver.conf"
        ),
    );
    let elsewhere = ROUTE.replace("127.0.0.1", "192.0.2.1");
    assert_found(&[("routeserver.conf", &elsewhere)], "192.0.2.1 is no address of this machine");
    let nowhere = ROUTE.replace("127.0.0.1", "no-such-host.invalid");
    assert_found(&[("routeserver.conf", &nowhere)], "cannot be resolved");
}

#[test]
fn servers_that_do_not_answer_are_told() {
    assert_found(
        &[("msgserver.conf", &msg_server(""))],
        "db_proxy_server at 127.0.0.1:1 (DBServerIP1) does not answer",
    );
    let route = "RouteServerIP1=127.0.0.1\nRouteServerPort1=9\n";
    let files = [
        ("msgserver.conf", &*msg_server(route)),
        ("routeserver.conf", &ROUTE.replace("Port=0", "Port=9")),
    ];
    assert_found(&files, "route_server at 127.0.0.1:9 (RouteServerIP1) does not run");
}

#[test]
fn storage_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let good = crate::tool::admin::tests::config(directory.path());
    let path = directory.path().join("teamtalk.db");
    assert_found(
        &[("dbproxyserver.conf", &good)],
        "teamtalk.db (teamtalk_master_path) does not exist",
    );
    fs::write(&path, "").unwrap();
    assert_found(&[("dbproxyserver.conf", &good)], "has no tables yet");
    fs::write(&path, "this is no database, however long it is: it has to be long enough").unwrap();
    assert_found(&[("dbproxyserver.conf", &good)], "teamtalk_master: cannot open ");
    let servers = good
        .replace(
            "teamtalk_slave_driver=sqlite",
            "teamtalk_slave_host=127.0.0.1\n\
                 teamtalk_slave_port=1\nteamtalk_slave_dbname=x\nteamtalk_slave_username=x\n\
                 teamtalk_slave_maxconncnt=1",
        )
        .replace(
            "token_driver=embedded",
            "token_host=127.0.0.1\ntoken_port=1\ntoken_db=1\n\
                 token_maxconncnt=1",
        )
        .replace("group_set,group_member", "group_member");
    for expected in [
        "teamtalk_slave: cannot open mysql 127.0.0.1:1/x",
        "cache token: cannot open redis 127.0.0.1:1/1",
        "cache group_set: no cache pool group_set",
    ] {
        assert_found(&[("dbproxyserver.conf", &servers)], expected);
    }
}

#[test]
fn secrets_that_everybody_knows_are_told() {
    let sample = |text: &str| {
        format!(
            "ListenIP=127.0.0.1\nListenPort=0\nBaseDir=.\nPostThreadCount=1\n\
                 GetThreadCount=1\n{text}"
        )
    };
    let known = sample("UploadSecret=change-me\n");
    assert_found(&[("msfs.conf", &known)], "msfs.conf: UploadSecret is one that everybody knows");
    assert_eq!(found(&[("msfs.conf", &sample("UploadSecret=kj34hk5j3h4\n"))]), [""; 0]);
    let files =
        [("msgserver1.conf", &*msg_server("")), ("msgserver2.conf", &msg_server("aesKey=x\n"))];
    assert_found(&files, "msgserver2.conf: aesKey is not that of msgserver1.conf");
    let sample = format!("aesKey={}\n", crate::tool::account::AES_KEY);
    assert_found(&[("msgserver.conf", &msg_server(&sample))], "that of all published clients");
}

#[test]
fn files_with_passwords_are_not_for_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("msfs.conf");
    fs::write(&path, "UploadSecret=kj34hk5j3h4\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let report = examine(&config::load_all(directory.path()).unwrap());
    let finding = report.findings.iter().find(|finding| finding.what.contains("may read it"));
    assert!(finding.unwrap().todo.starts_with("chmod o-rwx "));
    fs::write(&path, "UploadSecret=env:UPLOAD_SECRET\n").unwrap();
    let report = examine(&config::load_all(directory.path()).unwrap());
    assert!(!report.findings.iter().any(|finding| finding.what.contains("may read it")));
}

#[test]
fn more_clients_than_open_files_are_told() {
    assert_found(
        &[("msgserver.conf", &msg_server("MaxConnCnt=4000000000\n"))],
        "MaxConnCnt=4000000000, but a process like this one may open ",
    );
}

#[test]
fn a_finding_is_told_once() {
    let mut report = Report::default();
    report.problem("a", "b", "c");
    report.problem("a", "b", "c");
    report.note("a", "b", "c");
    assert_eq!((report.problems(), report.findings.len()), (1, 2));
}
