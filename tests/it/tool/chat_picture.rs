//! docs/chat.svg, the picture of the chat in the README, is what is seen.

use std::fs;
use std::path::Path;

use teamtalk::pb::base_define::ClientType;
use teamtalk::storage::DbManager;
use teamtalk::storage::db_pool::TEAMTALK_MASTER;
use teamtalk::tool::account::Accounts;

use super::chat::User;
use super::picture::{svg, text};
use crate::running::{Running, config};
use crate::site::{Site, log_in, pause};

const PICTURE: &str = "docs/chat.svg";

/// `make pictures` sets this variable.
pub(super) const PICTURES: &str = "TEAMTALK_PICTURES";

/// What alice sees while she talks with bob.
#[test]
fn the_picture_of_the_documents_is_what_is_seen() {
    let (_site, _server, directory) = company();
    let mut alice = User::chat_in(17, 84, directory.path(), "alice");
    alice.sees("Alice online");
    let mut bob = User::chat(directory.path(), "bob", &[]);
    bob.sees("Bob online");
    alice.sees("● Bob");
    alice.press("\x06bob\r");
    alice.sees("nothing has been said yet");
    alice.press("Morning! Is the release out?\r");
    bob.sees("1 unread");
    bob.press("\x0e");
    bob.sees("release out?");
    bob.press("早! It is, and nobody has noticed 😀\r");
    alice.sees("nobody has noticed 😀");
    alice.press("Then it went well. Lunch at twelve?\r");
    alice.sees("at twelve? ✓");
    bob.sees("at twelve?");
    bob.press("/group Lunch alice carol\r");
    alice.sees("# Lunch");
    bob.sees("made the group Lunch ✓");
    bob.press("Who else is hungry?\r");
    alice.sees("2 unread");
    bob.press("\x06alice\r");
    bob.sees("Then it went well.");
    bob.press("Gladly, I asked the others, too.\r");
    alice.sees("the others, too.");
    bob.press("see you t");
    alice.sees("is typing");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    if std::env::var_os(PICTURES).is_some() {
        fs::write(&path, svg("teamtalk chat --user alice", alice.screen_of_terminal())).unwrap();
    }
    let expected = timeless(&text(&fs::read_to_string(&path).unwrap()));
    alice.wait("`make pictures` draws another docs/chat.svg", |seen| timeless(seen) == expected);
}

/// Without what changes from day to day, and without blanks.
fn timeless(text: &str) -> String {
    let mut text = text.to_owned();
    for day in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] {
        text = text.replace(&format!(" {day} "), "");
    }
    text.chars().filter(|c| !c.is_whitespace() && !c.is_ascii_digit()).collect()
}

/// A site with people who have names, and passwords that need not be typed.
fn company() -> (Site, Running, tempfile::TempDir) {
    let site = Site::new(1);
    let server = site.msg_server();
    // It has found the other servers then, and login_server knows of it.
    drop(log_in(server.addrs[0], 9, ClientType::Windows));
    while site.ask_login_server().result_code != 0 {
        pause();
    }
    let db = config(&site.pools, DbManager::from_config);
    let mut conn = db.db_conn(TEAMTALK_MASTER).unwrap();
    let departs = [(1, "Development"), (2, "Support")];
    for (id, name) in departs {
        let sql = "insert into IMDepart (id, departName, priority, parentId, status, created, \
                   updated) values (?, ?, 0, 0, 0, 1, 1)";
        conn.execute_update(sql, &[id.into(), name.into()]).unwrap();
    }
    let people = ["alice", "bob", "carol", "dave", "erin", "frank"];
    for (at, name) in (0u32..).zip(people) {
        let nick = name[..1].to_uppercase() + &name[1..];
        let sql = "update IMUser set name=?, nick=?, departId=? where id=?";
        let values = [name.into(), nick.into(), (at % 2 + 1).into(), (at + 1).into()];
        conn.execute_update(sql, &values).unwrap();
    }
    conn.execute_update("update IMUser set status=3 where id>6", &[]).unwrap();
    drop(conn);
    let directory = tempfile::tempdir().unwrap();
    let var = directory.path().join("var");
    fs::create_dir(&var).unwrap();
    let accounts = Accounts {
        login_server: Some(site.login.addrs[2].to_string()),
        passwords: ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned())).into(),
    };
    accounts.write(&var).unwrap();
    (site, server, directory)
}
