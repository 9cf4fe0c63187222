//! Services as the processes they are in production, to be killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How long a test waits for a line.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program, the name of its configuration file, and how many listeners it has.
pub type Program = (&'static str, &'static str, usize);

pub const DB_PROXY_SERVER: Program =
    (env!("CARGO_BIN_EXE_db_proxy_server"), "dbproxyserver.conf", 1);
pub const ROUTE_SERVER: Program = (env!("CARGO_BIN_EXE_route_server"), "routeserver.conf", 1);
pub const MSG_SERVER: Program = (env!("CARGO_BIN_EXE_msg_server"), "msgserver.conf", 1);
pub const LOGIN_SERVER: Program = (env!("CARGO_BIN_EXE_login_server"), "loginserver.conf", 3);

/// A program that runs. Dropping it kills it.
pub struct Process {
    child: Child,
    /// Where it listens, in the order in which it says so.
    pub addrs: Vec<SocketAddr>,
    /// What it has logged since, line by line.
    log: Receiver<String>,
}

impl Process {
    /// It listens when this returns.
    pub fn start(
        (program, file, listeners): Program,
        directory: impl AsRef<Path>,
        config: &str,
    ) -> Self {
        let path = directory.as_ref().join(file);
        fs::write(&path, config).unwrap();
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&path)
            .current_dir(directory)
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let (mut addrs, mut before) = (Vec::new(), String::new());
        while addrs.len() < listeners {
            let line = lines.next().unwrap_or_else(|| panic!("it does not start:\n{before}"));
            before = before + &line + "\n";
            if let Some((_, rest)) = line.split_once("listening addr=") {
                addrs.push(rest.split(' ').next().unwrap().parse().unwrap());
            }
        }
        // Whatever it says later must not fill the pipe, whether somebody listens or not.
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        Self { child, addrs, log }
    }

    /// The next line of the log that contains this.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) -> String {
        loop {
            let line = self.next_line(text);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The lines before the next one that contains this.
    #[track_caller]
    pub fn lines_before(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.next_line(text);
            if line.contains(text) {
                return lines;
            }
            lines.push(line);
        }
    }

    #[track_caller]
    fn next_line(&self, text: &str) -> String {
        self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {text:?}"))
    }

    /// As `kill -HUP`.
    pub fn hang_up(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
