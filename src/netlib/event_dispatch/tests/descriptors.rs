//! Running out of file descriptors, in a process of its own.

use std::process::Command;

use super::*;

/// Set in the child, which may lower its own limit without disturbing other tests.
const CHILD: &str = "TEAMTALK_TEST_FEW_DESCRIPTORS";

#[test]
fn f35_without_a_free_descriptor_accepting_pauses_and_resumes() {
    if std::env::var_os(CHILD).is_some() {
        return few_descriptors();
    }
    let this =
        concat!(module_path!(), "::f35_without_a_free_descriptor_accepting_pauses_and_resumes");
    let (_crate, this) = this.split_once("::").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([this, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env("RUST_LOG", "info")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{log}");
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the child ran no test");
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((lines("accepting pauses"), lines("accepting again")), (1, 1), "{log}");
}

fn few_descriptors() {
    let mut bed = bed();
    let hard = rlimit::Resource::NOFILE.get().unwrap().1;
    let limit = 64;
    rlimit::Resource::NOFILE.set(limit, hard).unwrap();
    // Both ends live in this process: the clients use up what there is, minus one.
    let mut clients = Vec::new();
    while let Ok(stream) = TcpStream::connect(bed.addr) {
        clients.push(stream);
    }
    clients.pop();
    bed.accept(1);
    bed.turn_until(|bed| bed.net().stats().accept_paused == 1);
    // It sleeps instead of spinning, and nobody who waits is dropped.
    assert!(bed.dispatch.end_turn().unwrap() > Duration::from_millis(500));
    // One that leaves makes room for one that waits, at once.
    drop(clients.remove(0));
    bed.turn_until(|bed| bed.srv.count(&Seen::Connect) >= 2);
    assert_eq!(open_files::raise_open_files_limit().unwrap(), hard);
    assert_eq!(rlimit::Resource::NOFILE.get().unwrap(), (hard, hard));
    // The two that have left were in the queue as well.
    bed.accept(clients.len() + 2);
    drop(clients);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    bed.assert_empty();
}
