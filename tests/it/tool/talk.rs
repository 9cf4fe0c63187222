use serde_json::{Value, json};
use teamtalk::tool::account::Accounts;

use super::{output, run, teamtalk};
use crate::site::{Site, log_in};

#[test]
fn a_script_sends_and_another_one_listens() {
    let site = Site::new(1);
    let server = site.msg_server();
    let mut one = log_in(server.addrs[0], 1, teamtalk::pb::base_define::ClientType::Windows);
    let group_id = one.create_group("team", &[1, 2, 3]).unwrap();
    drop(one);
    let directory = tempfile::tempdir().unwrap();
    let addr = server.addrs[0].to_string();
    let send = |user: &str, rest: &[&str]| {
        let mut command = teamtalk(directory.path());
        command.args(["send", "--user", user, "--password-stdin", "--msg-server", &addr]);
        command.args(rest);
        command
    };
    let sent = output(&mut send("user1", &["--to", "user2", "hello 😀", "--json"]), "secret\n");
    assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), json!({ "msg_id": 1 }));
    // By nickname and by id.
    assert_eq!(
        output(&mut send("user1", &["--to", "nick2", "two"]), "secret"),
        "sent as message 2\n"
    );
    assert_eq!(
        output(&mut send("user1", &["--to", "2", "three"]), "secret"),
        "sent as message 3\n"
    );
    let group = group_id.to_string();
    assert_eq!(
        output(&mut send("user3", &["--group", &group, "all"]), "secret"),
        "sent as message 1\n"
    );

    let listen = |more: &[&str]| {
        let mut command = teamtalk(directory.path());
        command.args(["listen", "--user", "user2", "--password-stdin", "--msg-server", &addr]);
        command.args(more);
        command
    };
    let heard = output(&mut listen(&["--json", "--count", "4", "--timeout", "20"]), "secret\n");
    let heard: Vec<Value> = heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| -> Vec<&Value> {
        heard.iter().filter(|one| one["session"] == kind).map(|one| &one["text"]).collect()
    };
    assert_eq!(of("user"), [&json!("hello 😀"), &json!("two"), &json!("three")]);
    assert_eq!(of("group"), [&json!("all")]);
    // What was heard is read.
    let none = run(&mut listen(&["--count", "1", "--timeout", "1"]), "secret\n");
    assert_eq!((none.status.code(), none.stdout.len()), (Some(1), 0));
}

#[test]
fn failures_have_an_exit_code_and_a_sentence() {
    let site = Site::new(1);
    let server = site.msg_server();
    drop(log_in(server.addrs[0], 1, teamtalk::pb::base_define::ClientType::Windows));
    let directory = tempfile::tempdir().unwrap();
    let addr = server.addrs[0].to_string();
    let fails = |args: &[&str], input: &str| {
        let output = run(teamtalk(directory.path()).args(args), input);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let to_nobody = ["send", "--user", "user1", "--password-stdin", "--to", "nobody", "x"];
    let (code, text) = fails(&[&to_nobody[..], &["--msg-server", &addr]].concat(), "secret");
    assert!(code == 3 && text.contains("nobody is called nobody"), "{code} {text}");
    let (code, text) = fails(&[&to_nobody[..], &["--msg-server", &addr]].concat(), "wrong");
    assert!(code == 3 && text.contains("logging in as user1"), "{code} {text}");
    let (code, text) = fails(&[&to_nobody[..], &["--server", "127.0.0.1:1"]].concat(), "secret");
    assert!(code == 4 && text.contains("asking login_server 127.0.0.1:1"), "{code} {text}");
    let (code, text) = fails(&["send", "--user", "user1", "--to", "user2", "x"], "");
    assert!(code == 1 && text.contains("--password-stdin"), "{code} {text}");
    let (code, text) = fails(&["send", "--user", "user1", "x"], "");
    assert!(code == 2 && text.contains("--to"), "{code} {text}");
}

#[test]
fn demo_accounts_need_no_password() {
    let site = Site::new(1);
    let server = site.msg_server();
    drop(log_in(server.addrs[0], 1, teamtalk::pb::base_define::ClientType::Windows));
    let directory = tempfile::tempdir().unwrap();
    let var = directory.path().join("var");
    std::fs::create_dir(&var).unwrap();
    let accounts = Accounts {
        login_server: Some(site.login.addrs[2].to_string()),
        passwords: vec![("user1".to_owned(), "secret".to_owned())],
    };
    accounts.write(&var).unwrap();
    let sent = output(
        teamtalk(directory.path()).args(["send", "--user", "user1", "--to", "user2", "hello"]),
        "",
    );
    assert_eq!(sent, "sent as message 1\n");
}
