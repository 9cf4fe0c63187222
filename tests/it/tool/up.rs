//! A whole cluster on this machine, as somebody who has just cloned the repository runs it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::chat::User;
use super::{output, run, teamtalk};
use crate::running::free_ports;

/// A cluster that runs in `var` below a directory.
pub(super) struct Cluster {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Cluster {
    pub(super) fn start(directory: &Path, more: &[&str]) -> Self {
        let mut command = teamtalk(directory);
        command.args(["up", "--json"]).args(more).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next event of which `is_it` is true.
    #[track_caller]
    pub(super) fn wait_for(&mut self, is_it: impl Fn(&str) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it has ended");
            let value: Value = serde_json::from_str(&line).unwrap();
            if is_it(value["event"].as_str().unwrap()) {
                return value;
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It stops its servers in any case; the directory is removed after it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let pid = self.child.id().to_string();
            let _ = Command::new("kill").arg(&pid).status();
        }
        let _ = self.child.wait();
    }
}

#[test]
fn a_cluster_comes_up_talks_survives_and_goes_down() {
    let directory = tempfile::tempdir().unwrap();
    let base_port = free_ports(40).to_string();
    let mut cluster = Cluster::start(directory.path(), &["--base-port", &base_port]);
    let ready = cluster.wait_for(|event| event == "ready");
    assert_eq!(ready["accounts"], json!(["alice", "bob"]));
    assert_eq!(ready["login_server"], json!(format!("127.0.0.1:{base_port}")));

    let send = ["send", "--user", "alice", "--to", "bob", "hello"];
    assert_eq!(output(teamtalk(directory.path()).args(send), ""), "sent as message 1\n");
    let group = ["send", "--user", "bob", "--group", "Everybody", "hello all"];
    assert_eq!(output(teamtalk(directory.path()).args(group), ""), "sent as message 1\n");
    let listen = ["listen", "--user", "bob", "--count", "1", "--timeout", "20", "--json"];
    let heard = output(teamtalk(directory.path()).args(listen), "");
    assert_eq!(serde_json::from_str::<Value>(&heard).unwrap()["text"], json!("hello"));

    let status = || -> Vec<Value> {
        let output = run(teamtalk(directory.path()).args(["status", "--json"]), "");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let servers = status();
    assert!(servers.iter().all(|server| server["ready"] == "yes"), "{servers:?}");
    let names: Vec<_> = servers.iter().map(|server| server["server"].as_str().unwrap()).collect();
    assert!(names.contains(&"db_proxy_server") && names.contains(&"msg_server_2"), "{names:?}");

    let ports = |server: &Value| server["metrics"].as_u64().is_some();
    assert!(servers.iter().all(ports), "{servers:?}");

    let top = ["top", "--once", "--json", "--interval", "0.3"];
    let seen = output(teamtalk(directory.path()).args(top), "");
    let seen: Vec<Value> = seen.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(seen.len(), servers.len());
    assert!(seen.iter().all(|row| row["state"] == "ready"), "{seen:?}");
    assert!(seen.iter().all(|row| row["messages_in_per_second"].is_number()), "{seen:?}");
    assert!(seen.iter().all(|row| row["connections"].is_number()), "{seen:?}");

    // Another one does not get in its way.
    let again = run(teamtalk(directory.path()).arg("up"), "");
    let text = String::from_utf8(again.stderr).unwrap();
    assert!(text.contains("runs already"), "{text}");
    let elsewhere = ["up", "--var", "other", "--base-port", &base_port];
    let again = run(teamtalk(directory.path()).args(elsewhere), "");
    let text = String::from_utf8(again.stderr).unwrap();
    let by = format!("port {base_port} is taken by login_server (process");
    assert!(text.contains(&by) && text.contains("--base-port"), "{text}");

    // One that dies comes back.
    let pid = fs::read_to_string(directory.path().join("var/run/msfs/pid")).unwrap();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    cluster.wait_for(|event| event == "msfs is started again");

    assert_eq!(output(teamtalk(directory.path()).arg("down"), ""), "stopped\n");
    assert!(cluster.child.wait().unwrap().success());
    let down = run(teamtalk(directory.path()).arg("status"), "");
    assert_eq!(down.status.code(), Some(1));

    // The next start finds everything as it was, ports included.
    let mut cluster = Cluster::start(directory.path(), &[]);
    cluster.wait_for(|event| event == "ready");
    assert_eq!(output(teamtalk(directory.path()).args(send), ""), "sent as message 2\n");
    let pid = cluster.child.id().to_string();
    // As Ctrl-C.
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    cluster.wait_for(|event| event == "stopped");
    assert!(cluster.child.wait().unwrap().success());
}

#[test]
fn a_server_that_cannot_start_is_told_with_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let base_port = free_ports(40).to_string();
    // Made by a first start, then broken by hand.
    let mut cluster = Cluster::start(directory.path(), &["--base-port", &base_port]);
    cluster.wait_for(|event| event == "ready");
    drop(cluster);
    let path = directory.path().join("var/conf/msfs.conf");
    fs::write(&path, "ListenIP=127.0.0.1\n").unwrap();
    let failed = run(teamtalk(directory.path()).arg("up"), "");
    let text = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text.contains("msfs does not start") && text.contains("ListenPort is missing"),
        "{text}"
    );
    assert!(
        run(teamtalk(directory.path()).arg("down"), "").status.code() == Some(1),
        "all stopped"
    );
}

/// What a newcomer does in the first minute, in two terminals.
#[test]
fn alice_and_bob_talk_send_a_file_and_make_a_group_and_find_it_all_again() {
    let directory = tempfile::tempdir().unwrap();
    let base_port = free_ports(40).to_string();
    let mut cluster = Cluster::start(directory.path(), &["--base-port", &base_port]);
    cluster.wait_for(|event| event == "ready");

    let mut alice = User::chat(directory.path(), "alice", &[]);
    let mut bob = User::chat(directory.path(), "bob", &["--downloads", "from alice"]);
    alice.sees("● Bob");
    alice.press("\x06bob\r");
    alice.sees("nothing has been said yet");
    alice.press("早 hello\r");
    alice.sees("早 hello ✓");
    bob.sees("1 unread");
    bob.press("\x0e");
    bob.sees("早 hello");
    bob.press("hi there\r");
    alice.sees("hi there");

    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(directory.path().join("plan.pdf"), &content).unwrap();
    alice.press("/file send plan.pdf\r");
    bob.sees("/file accept");
    bob.press("/file accept\r");
    bob.sees("from alice/plan.pdf");
    assert_eq!(fs::read(directory.path().join("from alice/plan.pdf")).unwrap(), content);

    alice.press("/group \"the team\" bob\r");
    bob.sees("# the team");

    // Another program makes a group, with the key that was made for it.
    let conf = fs::read_to_string(directory.path().join("var/conf/httpmsgserver.conf")).unwrap();
    let value = |key: &str| {
        let line = conf.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap().to_owned()
    };
    let query = json!({
        "app_key": value("AppKey1"), "req_user_id": 1, "group_name": "Lunch", "group_type": 1,
        "group_avatar": "", "user_id_list": [1, 2],
    })
    .to_string();
    let mut http = TcpStream::connect(format!("127.0.0.1:{}", value("ListenPort"))).unwrap();
    let len = query.len();
    write!(http, "POST /query/CreateGroup HTTP/1.0\r\nContent-Length: {len}\r\n\r\n{query}")
        .unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"error_code\" : 0"), "{answer}");

    for user in [&mut alice, &mut bob] {
        user.press("\x03");
        assert!(user.end().success());
    }
    let pid = cluster.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(cluster.child.wait().unwrap().success());

    let mut cluster = Cluster::start(directory.path(), &[]);
    cluster.wait_for(|event| event == "ready");
    let mut alice = User::chat(directory.path(), "alice", &[]);
    alice.sees("# the team");
    alice.press("\x06bob\r");
    alice.sees("早 hello");
    alice.sees("hi there");
    alice.press("\x06lunch\r");
    alice.sees("Lunch");
}
