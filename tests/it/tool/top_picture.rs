//! docs/top.svg, the picture of `teamtalk top` in the README, is what is seen.

use std::fs;
use std::iter;
use std::path::Path;
use std::process::{Child, Stdio};

use portable_pty::PtySize;

use super::chat::User;
use super::chat_picture::PICTURES;
use super::picture::{svg, text};
use super::up::Cluster;
use super::{output, teamtalk};
use crate::running::free_ports;

const PICTURE: &str = "docs/top.svg";

/// The servers that `teamtalk up` runs.
const SERVERS: usize = 9;

#[test]
fn the_picture_of_the_documents_shows_all_servers() {
    let directory = tempfile::tempdir().unwrap();
    let base_port = free_ports(40).to_string();
    let mut cluster = Cluster::start(directory.path(), &["--base-port", &base_port]);
    cluster.wait_for(|event| event == "ready");
    let size = PtySize { rows: 22, cols: 130, ..PtySize::default() };
    let program = env!("CARGO_BIN_EXE_teamtalk");
    let mut one = User::start_in(size, directory.path(), program, &["top"]);
    let ready = |screen: &str| screen.matches(" ready ").count() == SERVERS;
    one.wait("all servers are ready", ready);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    if std::env::var_os(PICTURES).is_some() {
        let mut load = load(directory.path());
        one.wait("the load is there", |screen| ready(screen) && thousands_are_stored(screen));
        fs::write(&path, svg("teamtalk top", one.screen_of_terminal())).unwrap();
        assert!(load.wait().unwrap().success());
    }
    let expected = without_figures(&text(&fs::read_to_string(&path).unwrap()));
    one.wait("`make pictures` draws another docs/top.svg", |seen| {
        ready(seen) && without_figures(seen) == expected
    });
}

/// Many people who talk for some seconds.
fn load(directory: &Path) -> Child {
    let prepare = ["bench", "prepare", "--users", "600", "--conf", "var/conf/dbproxyserver.conf"];
    output(teamtalk(directory).args(prepare), "");
    let talk = ["bench", "message", "--pairs", "300", "--rate", "12", "--seconds", "8"];
    teamtalk(directory).args(talk).stdout(Stdio::null()).spawn().unwrap()
}

/// Whether db_proxy_server gets at least 1 000 requests a second.
fn thousands_are_stored(screen: &str) -> bool {
    let row = screen.lines().find(|line| line.starts_with("db_proxy_server")).unwrap_or_default();
    row.split_whitespace().nth(3).and_then(|per_second| per_second.parse().ok()) >= Some(1_000)
}

/// The columns, the servers and the keys.
fn without_figures(screen: &str) -> Vec<String> {
    let lines: Vec<&str> = screen.lines().filter(|line| !line.trim().is_empty()).collect();
    let close = |line: &str| line.split_whitespace().collect::<String>();
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let (columns, keys) = (close(lines[0]), close(lines[lines.len() - 1]));
    let servers = lines[1..].iter().take(SERVERS).map(|line| first(line));
    iter::once(columns).chain(servers).chain([keys]).collect()
}
