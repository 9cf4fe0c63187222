//! The program itself: what it costs, and what a crash leaves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

/// Bytes of the file that is sent up and down.
const LARGE: u32 = 1 << 30;

struct Process {
    child: Child,
    clients_at: SocketAddr,
    msg_server: Peer,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let path = dir.join("fileserver.conf");
        let text = "FileServerIp=127.0.0.1\nClientListenIP=127.0.0.1\nClientListenPort=0\n\
                    MsgServerListenIP=127.0.0.1\nMsgServerListenPort=0\nTaskTimeout=60\n";
        fs::write(&path, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_file_server"))
            .arg("--config")
            .arg(&path)
            .current_dir(dir)
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut addr_for = |whom: &str| -> SocketAddr {
            let line = lines.by_ref().find(|line| line.contains(whom)).expect("it starts");
            let (_, rest) = line.split_once("addr=").unwrap();
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        let (clients_at, msg_servers_at) = (addr_for("for=clients"), addr_for("for=msg_servers"));
        // Whatever it says later must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { child, clients_at, msg_server: Peer::connect(msg_servers_at) }
    }

    fn announce(&mut self, file_size: u32) -> String {
        try_announce(&mut self.msg_server, 1, OFFLINE, file_size).unwrap()
    }

    /// The most memory that the process ever had, in bytes.
    fn memory_max(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Process {
    /// As `kill -9`.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a large file has at this offset, without having it in memory.
fn block_at(offset: u32, len: u32) -> Vec<u8> {
    let mut block = vec![(offset / SEGMENT) as u8; len as usize];
    block[..4].copy_from_slice(&offset.to_be_bytes());
    block
}

#[test]
fn f116_a_large_file_costs_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Process::start(dir.path());
    let before = server.memory_max();
    let task_id = server.announce(LARGE);
    let mut uploader = Client::enter(server.clients_at, UPLOAD, &task_id);
    loop {
        let (offset, len) = uploader.asked();
        uploader.answer(offset, &block_at(offset, len));
        if offset + len == LARGE {
            break;
        }
    }
    uploader.expect_state(ClientFileState::ClientFileDone);
    let mut receiver = Client::enter(server.clients_at, DOWNLOAD, &task_id);
    for offset in (0..LARGE).step_by(SEGMENT as usize) {
        let len = (LARGE - offset).min(SEGMENT);
        receiver.pull(offset, len);
        assert!(receiver.block(offset) == block_at(offset, len), "{offset}");
    }
    receiver.expect_state(ClientFileState::ClientFileDone);
    let grown = server.memory_max() - before;
    println!("{} MiB up and down: {} KiB of memory more", LARGE.div_ceil(1 << 20), grown >> 10);
    assert!(grown < 4 << 20, "{grown}");
}

#[test]
fn f110_a_crash_leaves_what_is_complete_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let content = content(5 * SEGMENT as usize);
    let mut stored = Vec::new();
    for blocks in 0..5 {
        let mut server = Process::start(dir.path());
        let task_id = server.announce(content.len() as u32);
        Client::enter(server.clients_at, UPLOAD, &task_id).upload(&content);
        stored.push(task_id);
        let task_id = server.announce(content.len() as u32);
        let mut uploader = Client::enter(server.clients_at, UPLOAD, &task_id);
        for _ in 0..blocks {
            uploader.answer_asked(&content);
        }
        uploader.asked();
        // In the middle of it.
        drop(server);
        uploader.peer.assert_closed();
    }
    let server = Process::start(dir.path());
    for task_id in &stored {
        let receiver = Client::enter(server.clients_at, DOWNLOAD, task_id);
        assert!(receiver.download(content.len()) == content);
    }
    let files = fs::read_dir(dir.path().join("offline_file")).unwrap();
    let dirs = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let names: usize = dirs.map(|dir| fs::read_dir(dir).unwrap().count()).sum();
    assert_eq!(names, stored.len());
}
