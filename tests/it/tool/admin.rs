//! Users, departments and groups, while servers run on the same storage.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use teamtalk::client::{Client, ClientError, Login};
use teamtalk::pb::base_define::ClientType;

use super::{output, run, teamtalk};
use crate::db_proxy_server::text_with;
use crate::site::{AES_KEY, Site, log_in};

/// A directory with the configuration of this storage.
pub fn directory(pools: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("dbproxyserver.conf"), text_with(pools)).unwrap();
    directory
}

/// What the tool prints about this storage, as JSON, a value a line.
#[track_caller]
pub fn json_of(directory: &Path, args: &[&str], input: &str) -> Vec<Value> {
    let text = output(teamtalk(directory).args(args).arg("--json"), input);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The exit code, and what it says.
#[track_caller]
pub fn fails(directory: &Path, args: &[&str], input: &str) -> (i32, String) {
    let output = run(teamtalk(directory).args(args), input);
    let text = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap();
    assert!(code != 0 && output.stdout.is_empty(), "{args:?}: {code} {text}");
    (code, text)
}

fn try_log_in(addr: SocketAddr, name: &str, password: &str) -> Result<Client, ClientError> {
    let mut client = Client::connect(&addr.to_string(), AES_KEY).unwrap();
    client.login(&Login::new(name, password)).map(|_| client)
}

fn both(redis_db: u32, name: &str) -> [Site; 2] {
    [Site::new(1), Site::on_servers(1, name, redis_db)]
}

#[test]
fn running_servers_see_users_and_groups_at_once() {
    for site in both(55, "tool_users") {
        let server = site.msg_server();
        let mut user1 = log_in(server.addrs[0], 1, ClientType::Windows);
        let (cursor, _) = user1.all_users(0).unwrap();
        let (departs_cursor, _) = user1.departments(0).unwrap();
        let directory = directory(&site.pools);
        let tool = |args: &[&str], input: &str| json_of(directory.path(), args, input);

        let departs = tool(&["depart", "add", "Sales"], "");
        assert_eq!(departs, [json!({ "depart_id": 1, "name": "Sales", "parent_id": 0 })]);
        tool(&["depart", "add", "Abroad", "--under", "Sales", "--priority", "2"], "");
        let (_, departs) = user1.departments(departs_cursor).unwrap();
        let departs: Vec<_> =
            departs.iter().map(|d| (d.dept_name.as_str(), d.parent_dept_id)).collect();
        assert_eq!(departs, [("Sales", 0), ("Abroad", 1)]);

        tool(&["depart", "move", "Abroad", "--top", "--priority", "5"], "");
        let departs = tool(&["depart", "list"], "");
        assert_eq!((&departs[1]["name"], &departs[1]["parent_id"]), (&json!("Abroad"), &json!(0)));
        tool(&["depart", "move", "--user", "user7", "--user", "8", "--under", "Abroad"], "");
        let (_, changed) = user1.all_users(cursor).unwrap();
        let moved = changed.iter().filter(|user| user.department_id == 2);
        assert_eq!(moved.map(|user| user.user_id).collect::<Vec<_>>(), [7, 8]);

        let add = ["user", "add", "carol", "--nick", "Carol C.", "--sex", "female"];
        let more = ["--depart", "Abroad", "--email", "carol@example.com", "--password-stdin"];
        let added = tool(&[&add[..], &more].concat(), "p w\"😀\n");
        let carol = added[0]["user_id"].as_u64().unwrap() as u32;
        let (_, changed) = user1.all_users(cursor).unwrap();
        let found = changed.iter().find(|user| user.user_id == carol).unwrap();
        assert_eq!(found.user_nick_name, "Carol C.");
        assert_eq!((found.user_gender, found.department_id), (2, 2));
        let mut her = try_log_in(server.addrs[0], "carol", "p w\"😀").unwrap();

        let made = tool(&["group", "create", "Lunch", "user1", "carol"], "");
        let group_id = made[0]["group_id"].as_u64().unwrap() as u32;
        assert_eq!(made[0]["members"], json!([1, carol]));
        let group = her.groups().unwrap();
        assert_eq!((group.len(), group[0].group_id, group[0].version), (1, group_id, 1));
        tool(&["group", "add", "Lunch", "2", "user3", "user1"], "");
        let group = user1.group(group_id).unwrap().unwrap();
        assert_eq!((group.version, group.group_creator_id), (2, 1));
        assert_eq!(group.group_member_list, [1, carol, 2, 3]);
        tool(&["group", "remove", &group_id.to_string(), "carol"], "");
        assert!(her.group(group_id).unwrap().is_none());
        let members = tool(&["group", "members", "Lunch"], "");
        let names: Vec<&Value> = members.iter().map(|member| &member["name"]).collect();
        assert_eq!(names, ["user1", "user2", "user3"]);

        assert_eq!(tool(&["group", "list", "--user", "user3"], "")[0]["members"], 3);

        drop(her);
        tool(&["user", "disable", "carol"], "");
        let refused = try_log_in(server.addrs[0], "carol", "p w\"😀");
        assert!(matches!(refused, Err(ClientError::Refused { .. })));
        let (_, changed) = user1.all_users(cursor).unwrap();
        let found = changed.iter().find(|user| user.user_id == carol).unwrap();
        assert_eq!(found.status, 3);
        tool(&["user", "enable", "carol"], "");
        tool(&["user", "passwd", "carol", "--password-stdin"], "another\r\n");
        assert!(try_log_in(server.addrs[0], "carol", "p w\"😀").is_err());
        try_log_in(server.addrs[0], "carol", "another").unwrap();
    }
}

#[test]
fn members_of_a_group_are_told_to_an_original_server_beside() {
    let site = Site::on_servers(1, "tool_members", 56);
    let directory = directory(&site.pools);
    let made = json_of(directory.path(), &["group", "create", "Lunch", "user1", "user2"], "");
    let key = format!("group_member_{}", made[0]["group_id"]);
    let cache = crate::running::config(&site.pools, teamtalk::storage::CacheManager::from_config);
    let members = || {
        let members = cache.cache_conn("group_member").unwrap().hget_all(&key).unwrap();
        let mut members: Vec<String> = members.into_keys().collect();
        members.sort();
        members
    };
    assert_eq!(members(), ["1", "2"]);
    json_of(directory.path(), &["group", "remove", "Lunch", "user2"], "");
    json_of(directory.path(), &["group", "add", "Lunch", "user5"], "");
    assert_eq!(members(), ["1", "5"]);
}

#[test]
fn who_guessed_wrong_too_often_logs_in_with_a_new_password() {
    let site = Site::new(1);
    let server = site.msg_server();
    drop(log_in(server.addrs[0], 1, ClientType::Windows));
    let code = |password: &str| match try_log_in(server.addrs[0], "user2", password) {
        Err(ClientError::Refused { code, .. }) => code,
        other => panic!("{:?}", other.err()),
    };
    while code("wrong") != 6 {}
    let directory = directory(&site.pools);
    json_of(directory.path(), &["user", "passwd", "user2", "--password-stdin"], "new\n");
    try_log_in(server.addrs[0], "user2", "new").unwrap();
}

#[test]
fn argon2id_is_used_where_it_is_configured() {
    let site = Site::new(1);
    let server = site.msg_server();
    let directory = directory(&format!("{}PasswordHash=argon2id\n", site.pools));
    drop(log_in(server.addrs[0], 1, ClientType::Windows));
    json_of(directory.path(), &["user", "add", "dora", "--password-stdin"], "x\n");
    try_log_in(server.addrs[0], "dora", "x").unwrap();
}

const PEOPLE: &str = "\u{feff}department,name,password,nick,email\r\n\
    Sales,alice,\"a,b\",\"Baker, \"\"Al\"\"\",alice@example.com\r\n\
    ,bob,pass,,\r\n";

#[test]
fn a_table_of_users_is_imported_whole_or_not_at_all() {
    let site = Site::new(1);
    let server = site.msg_server();
    drop(log_in(server.addrs[0], 1, ClientType::Windows));
    let directory = directory(&site.pools);
    let at = directory.path();
    let (good, bad) = (at.join("good.csv"), at.join("bad.csv"));
    fs::write(&good, PEOPLE).unwrap();
    fs::write(&bad, format!("{PEOPLE}Nowhere,user1,,,x\r\n,carol\r\n")).unwrap();
    let users = || json_of(at, &["user", "list"], "").len();

    let (code, text) = fails(at, &["user", "import", "bad.csv", "--add-departs"], "");
    let expected = "teamtalk: bad.csv: 3 mistakes, nothing was imported\n  \
                    line 4: email x has no @\n  line 4: password is empty\n  \
                    line 5: 2 values for 5 columns\n";
    assert_eq!((code, text.as_str()), (1, expected));
    fs::write(&bad, format!("{PEOPLE}Nowhere,user1,x,,\r\n")).unwrap();
    let (code, text) = fails(at, &["user", "import", "bad.csv"], "");
    let expected = "teamtalk: bad.csv: 3 mistakes, nothing was imported\n  \
                    line 2: there is no department Sales; `teamtalk depart list` shows all\n  \
                    line 4: there is a user with the login name user1 already\n  \
                    line 4: there is no department Nowhere; `teamtalk depart list` shows all\n";
    assert_eq!((code, text.as_str()), (1, expected));
    assert_eq!((users(), json_of(at, &["depart", "list"], "").len()), (9, 0));

    let checked = json_of(at, &["user", "import", "good.csv", "--add-departs", "--check"], "");
    assert_eq!(checked, [json!({ "users": 2, "departs": ["Sales"], "imported": false })]);
    assert_eq!(users(), 9);
    let done = json_of(at, &["user", "import", "-", "--add-departs"], PEOPLE);
    assert_eq!(done, [json!({ "users": 2, "departs": ["Sales"], "imported": true })]);
    let alice = json_of(at, &["user", "show", "alice"], "").remove(0);
    assert_eq!((&alice["nick"], &alice["depart"]), (&json!("Baker, \"Al\""), &json!("Sales")));
    try_log_in(server.addrs[0], "alice", "a,b").unwrap();
    try_log_in(server.addrs[0], "bob", "pass").unwrap();
    let (code, text) = fails(at, &["user", "import", "good.csv", "--add-departs"], "");
    assert!(code == 1 && text.contains("line 2: there is a user with the login name alice"));
}

#[test]
fn people_read_tables_and_sentences() {
    let site = Site::new(1);
    let directory = directory(&site.pools);
    let tool = |args: &[&str], input: &str| output(teamtalk(directory.path()).args(args), input);
    assert_eq!(tool(&["depart", "add", "Sales"], ""), "department 1, Sales, added\n");
    assert_eq!(tool(&["depart", "add", "East", "--under", "1"], ""), "department 2, East, added\n");
    assert_eq!(tool(&["depart", "add", "Lab"], ""), "department 3, Lab, added\n");
    let moved = tool(&["depart", "move", "Lab", "--under", "Sales", "--priority", "1"], "");
    assert_eq!(moved, "department 3, Lab, moved\n");
    let moved = ["depart", "move", "--user", "user1", "--user", "2", "--under", "East"];
    assert_eq!(tool(&moved, ""), "2 users moved\n");
    assert_eq!(
        tool(&["depart", "list"], ""),
        "DEPART_ID  NAME    PARENT_ID  PRIORITY  USERS\n\
         1          Sales   0          0         7\n\
         2            East  1          0         2\n\
         3            Lab   1          1         0\n"
    );
    assert_eq!(
        tool(&["user", "list", "--depart", "East"], ""),
        "USER_ID  NAME   NICK   DEPART  PHONE  EMAIL  STATUS\n\
         1        user1  nick1  East                  enabled\n\
         2        user2  nick2  East                  enabled\n"
    );
    let made = tool(&["group", "create", "Lunch", "user1", "user2", "--temporary"], "");
    assert_eq!(made, "group 1, Lunch, made with 2 members\n");
    assert_eq!(
        tool(&["group", "list", "--user", "user2"], ""),
        "GROUP_ID  NAME   TYPE       CREATOR  MEMBERS  VERSION\n\
         1         Lunch  temporary  1        2        1\n"
    );
    assert_eq!(tool(&["user", "disable", "user9"], ""), "user 9, user9, disabled\n");
    assert_eq!(tool(&["user", "list"], "").lines().count(), 9);
    assert_eq!(tool(&["user", "list", "--all"], "").lines().count(), 10);
    let shown = tool(&["user", "show", "user1"], "");
    for line in ["user_id      1\n", "depart       East\n", "groups       Lunch (1)\n"] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn what_cannot_be_done_is_told_with_a_way_out() {
    let site = Site::new(1);
    let directory = directory(&site.pools);
    let at = directory.path();
    json_of(at, &["depart", "add", "Sales"], "");
    json_of(at, &["depart", "add", "East", "--under", "Sales"], "");
    json_of(at, &["group", "create", "Lunch", "user1"], "");
    for (code, args, input, expected) in [
        (3, &["user", "show", "nobody"][..], "", "`teamtalk user list` shows all"),
        (3, &["user", "add", "user1", "--password-stdin"], "x", "login name user1 already"),
        (1, &["user", "add", "new", "--password-stdin"], "\n", "an empty password is none"),
        (1, &["user", "add", "new"], "", "use --password-stdin"),
        (1, &["user", "add", "new", "--sex", "x", "--password-stdin"], "", "sex is x"),
        (2, &["user", "add", "new", "secret"], "", "unexpected argument"),
        (3, &["depart", "add", "Sales"], "", "in that place already"),
        (3, &["depart", "move", "Sales", "--under", "East"], "", "which is a part of it"),
        (1, &["depart", "move", "Sales"], "", "--under DEPART or --top"),
        (3, &["depart", "add", "x", "--under", "y"], "", "`teamtalk depart list` shows all"),
        (3, &["group", "add", "Dinner", "user1"], "", "`teamtalk group list` shows all"),
        (3, &["group", "add", "Lunch", "user1"], "", "all of them are in Lunch already"),
        (3, &["group", "remove", "Lunch", "user2"], "", "none of them is in Lunch"),
        (2, &["group", "create", "Empty"], "", "<USER>"),
        (1, &["user", "import", "missing.csv"], "", "missing.csv: No such file"),
        (1, &["user", "list", "--conf", "missing.conf"], "", "cannot read missing.conf"),
    ] {
        let (found, text) = fails(at, args, input);
        assert!(found == code && text.contains(expected), "{args:?}: {found} {text}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, text) = fails(elsewhere.path(), &["user", "list"], "");
    assert!(code == 1 && text.contains("--conf"), "{text}");
}

#[test]
fn a_database_that_is_away_has_an_exit_code_of_its_own() {
    let pools = "DBInstances=teamtalk_master,teamtalk_slave\nCacheInstances=unread\n\
                 unread_driver=embedded\nunread_path=cache.db\n";
    let mut pools = pools.to_owned();
    for name in ["teamtalk_master", "teamtalk_slave"] {
        pools += &format!(
            "{name}_host=127.0.0.1\n{name}_port=1\n{name}_dbname=teamtalk\n\
             {name}_username=x\n{name}_password=geheim\n{name}_maxconncnt=1\n"
        );
    }
    let directory = directory(&pools);
    let (code, text) = fails(directory.path(), &["user", "list"], "");
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("mysql 127.0.0.1:1/teamtalk"), "{text}");
    assert!(text.contains("teamtalk doctor"), "{text}");
    assert!(!text.contains("geheim"), "{text}");
}

#[test]
fn a_password_is_asked_for_twice_at_a_terminal() {
    let site = Site::new(1);
    let server = site.msg_server();
    drop(log_in(server.addrs[0], 1, ClientType::Windows));
    let directory = directory(&site.pools);
    let ask = |answers: [&str; 2]| {
        // `script` gives the tool a terminal.
        let tool = format!("{} user passwd user2", env!("CARGO_BIN_EXE_teamtalk"));
        let mut command = Command::new("script");
        command.args(["-qec", &tool, "/dev/null"]).current_dir(directory.path());
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let mut text = String::new();
        for answer in answers {
            // A prompt ends like this.
            while !text.ends_with(": ") {
                let mut byte = [0];
                screen.read_exact(&mut byte).unwrap();
                text.push(char::from(byte[0]));
            }
            text += "|";
            keys.write_all(answer.as_bytes()).unwrap();
        }
        screen.read_to_string(&mut text).unwrap();
        (script.wait().unwrap().code(), text)
    };
    let (code, text) = ask(["typed\r", "typec\r"]);
    assert!(code == Some(1) && text.contains("the two passwords differ"), "{code:?} {text}");
    let (code, text) = ask(["typee\x7fd\r", "typed\r"]);
    assert!(code == Some(0) && text.contains("has a new password"), "{code:?} {text}");
    assert!(!text.contains("type"), "it is shown: {text}");
    try_log_in(server.addrs[0], "user2", "typed").unwrap();
}
