//! The terminal client in a pseudo-terminal.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use teamtalk::client::Session;
use teamtalk::pb::base_define::ClientType;
use teamtalk::tool::account::Accounts;

use super::{run, teamtalk};
use crate::running::Running;
use crate::site::{Site, log_in};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

const SIZE: PtySize = PtySize { rows: 24, cols: 100, pixel_width: 0, pixel_height: 0 };

#[expect(clippy::disallowed_methods, reason = "a program that hangs goes on writing")]
fn now() -> Instant {
    Instant::now()
}

/// Who a terminal belongs to.
pub(super) struct User {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    /// Everything that was written to the terminal.
    written: Vec<u8>,
}

impl User {
    /// A terminal in which the user has typed the command.
    pub(super) fn start(directory: &Path, program: &str, args: &[&str]) -> Self {
        Self::start_in(SIZE, directory, program, args)
    }

    /// In a terminal of this size.
    pub(super) fn start_in(size: PtySize, directory: &Path, program: &str, args: &[&str]) -> Self {
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(directory);
        command.env("TERM", "xterm-256color");
        command.env("TZ", "UTC");
        command.env_remove("RUST_LOG");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        let parser = vt100::Parser::new(size.rows, size.cols, 0);
        Self { child, master: pair.master, keys, output, parser, written: Vec::new() }
    }

    pub(super) fn chat(directory: &Path, name: &str, more: &[&str]) -> Self {
        let args = [&["chat", "--user", name][..], more].concat();
        Self::start(directory, env!("CARGO_BIN_EXE_teamtalk"), &args)
    }

    /// In a terminal of this size.
    pub(super) fn chat_in(rows: u16, cols: u16, directory: &Path, name: &str) -> Self {
        let args = ["chat", "--user", name];
        let size = PtySize { rows, cols, ..SIZE };
        Self::start_in(size, directory, env!("CARGO_BIN_EXE_teamtalk"), &args)
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn screen(&self) -> String {
        self.parser.screen().contents()
    }

    pub(super) fn screen_of_terminal(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    fn resize(&mut self, rows: u16, cols: u16) {
        self.master.resize(PtySize { rows, cols, ..SIZE }).unwrap();
        self.parser.screen_mut().set_size(rows, cols);
    }

    /// Waits until the screen is as expected.
    #[track_caller]
    pub(super) fn wait(&mut self, what: &str, expected: impl Fn(&str) -> bool) {
        let deadline = now() + PATIENCE;
        while !expected(&self.screen()) {
            let left = deadline.saturating_duration_since(now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(error) => panic!("{what}: {error} with\n{}", self.screen()),
            }
        }
    }

    #[track_caller]
    pub(super) fn sees(&mut self, text: &str) {
        self.wait(text, |screen| screen.contains(text));
    }

    fn take(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
        self.written.extend_from_slice(bytes);
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(super) fn end(&mut self) -> ExitStatus {
        let deadline = now() + PATIENCE;
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("still there:\n{}", self.screen()),
            }
        }
        self.child.wait().unwrap()
    }

    /// The terminal is as it was before.
    #[track_caller]
    pub(super) fn assert_restored(&self) {
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        let modes = self.master.get_termios().unwrap().local_flags.bits();
        let cooked = libc::ECHO | libc::ICANON | libc::ISIG;
        assert_eq!(modes & cooked, cooked, "lines are edited and keys shown again");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A site with a msg_server, and a directory in which `user1` to `user3` need no password.
fn site() -> (Site, Running, tempfile::TempDir) {
    let site = Site::new(1);
    let server = site.msg_server();
    drop(log_in(server.addrs[0], 9, ClientType::Windows));
    let directory = tempfile::tempdir().unwrap();
    let var = directory.path().join("var");
    std::fs::create_dir(&var).unwrap();
    let word = |id: u32| (format!("user{id}"), "secret".to_owned());
    let accounts = Accounts {
        login_server: Some(site.login.addrs[2].to_string()),
        passwords: (1..4).map(word).collect(),
    };
    accounts.write(&var).unwrap();
    (site, server, directory)
}

#[test]
fn two_people_talk_make_a_group_and_see_what_is_unread() {
    let (_site, _server, directory) = site();
    let mut one = User::chat(directory.path(), "user1", &[]);
    one.sees("nick1 online");
    one.sees("○ nick2");
    let mut two = User::chat(directory.path(), "user2", &[]);
    two.sees("nick2 online");
    one.sees("● nick2");

    // Search, open, write.
    one.press("\x06nick2\r");
    one.sees("nothing has been said yet");
    one.press("早 hello\r");
    one.sees("nick1: 早 hello ✓");
    two.sees("1 unread");
    two.press("\x0e");
    two.sees("nick1: 早 hello");
    two.wait("read", |screen| !screen.contains("unread"));
    two.press("h");
    one.sees("is typing");
    two.press("i there\r");
    one.sees("nick2: hi there");
    two.sees("nick2: hi there ✓");

    // A group, of which the other one learns by the first message.
    one.press("/group \"the team\" user2 nick3\r");
    one.sees("nick1: made the group the team ✓");
    two.sees("# the team");
    two.sees("1 unread");
    two.press("\x0e");
    two.sees("3 members");
    two.sees("nick1: made the group the team");
    two.press("welcome\r");
    one.sees("nick2: welcome");
    one.press("/invite nick4\r");
    one.sees("nick1 added nick4");
    two.sees("nick1 added nick4");
    two.press("/sign busy 💤\r/leave\r");
    two.sees("the team: nick2 left");
    one.sees("nick2 left");
    one.sees("3 members");
    one.press("\x06nick2\r");
    one.sees("online · busy 💤");

    // Both end, one by the key and one by the command.
    one.press("\x03");
    assert!(one.end().success());
    one.assert_restored();
    two.press("/quit\r");
    assert!(two.end().success());
    two.assert_restored();

    // What was said is still there.
    let mut one = User::chat(directory.path(), "user1", &[]);
    one.sees("# the team");
    one.press("\x06team\r");
    one.sees("nick2: welcome");
}

#[test]
fn a_lost_connection_is_shown_and_made_good() {
    let (site, server, directory) = site();
    let port = server.addrs[0].port();
    let mut one = User::chat(directory.path(), "user1", &[]);
    one.sees("nick1 online");
    one.press("\x06nick2\rbefore\r");
    one.sees("before ✓");
    drop(server);
    one.sees("connection lost");
    one.press("meanwhile\r");
    one.sees("waits for the connection");
    let server = site.msg_server_with(&format!("ListenPort={port}\n"));
    one.sees("nick1 online");
    one.sees("meanwhile ✓");
    // Once, although nobody knew.
    let mut two = log_in(server.addrs[0], 2, ClientType::Windows);
    let history = two.history(Session::User(1), 0, 10).unwrap();
    let texts: Vec<_> = history.iter().map(|message| message.text().unwrap()).collect();
    assert_eq!(texts, ["meanwhile", "before"]);
}

#[test]
fn history_is_loaded_while_scrolling_on_a_terminal_of_any_size() {
    let (_site, server, directory) = site();
    let mut two = log_in(server.addrs[0], 2, ClientType::Windows);
    for number in 1..=120 {
        two.send_text(Session::User(1), &format!("m{number}.")).unwrap();
    }
    two.send_text(Session::User(1), "a\x1b[2J\x1b]0;owned\x07b").unwrap();
    let mut one = User::chat(directory.path(), "user1", &[]);
    one.sees("121 unread");
    one.press("\x0e");
    // This terminal shows nothing for the character that stands for those left out.
    one.sees("nick2: a[2J]0;ownedb");
    one.wait("read", |screen| !screen.contains("unread"));
    while !one.screen().contains("m1.") {
        let before = one.screen();
        one.press("\x1b[5~");
        one.wait("another page", |screen| screen != before);
    }
    one.press("\x1b");
    one.sees("m120.");
    one.resize(10, 40);
    one.wait("a narrow screen", |screen| {
        screen.contains("m120.") && screen.lines().all(|row| row.chars().count() <= 40)
    });
    let written = String::from_utf8_lossy(&one.written);
    assert!(written.contains("a\u{fffd}[2J\u{fffd}]0;owned\u{fffd}b"));
}

#[test]
fn the_terminal_is_given_back_whatever_ends_the_chat() {
    let (_site, server, directory) = site();
    let mut one = User::chat(directory.path(), "user1", &[]);
    one.sees("nick1 online");
    let pid = one.child.process_id().unwrap();
    let killed = std::process::Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(killed.success() && one.end().success());
    one.assert_restored();

    let mut one = User::chat(directory.path(), "user1", &["--mouse"]);
    one.sees("nick1 online");
    let _elsewhere = log_in(server.addrs[0], 1, ClientType::Windows);
    assert_eq!(one.end().exit_code(), 3);
    one.assert_restored();
    assert!(one.screen().contains("teamtalk: sent away by the server"), "{}", one.screen());
}

#[test]
fn the_password_may_come_through_a_pipe_and_the_keys_from_the_terminal() {
    let (_site, server, directory) = site();
    let (tool, addr) = (env!("CARGO_BIN_EXE_teamtalk"), server.addrs[0]);
    let line =
        format!("echo secret | '{tool}' chat --user user5 --password-stdin --msg-server {addr}");
    let mut five = User::start(directory.path(), "sh", &["-c", &line]);
    five.sees("nick5 online");
    five.press("\x1bOP");
    five.sees("/group NAME USER...");
    five.press("\x1b");
    five.wait("no help", |screen| !screen.contains("/group NAME"));
    five.press("\x11");
    assert!(five.end().success());
    five.assert_restored();
}

#[test]
fn what_keeps_one_out_is_told_before_the_screen_is_taken() {
    let (_site, server, directory) = site();
    let addr = server.addrs[0].to_string();
    let mut asked = User::chat(directory.path(), "user4", &["--msg-server", &addr]);
    asked.sees("Password of user4: ");
    asked.press("wrong\r");
    assert_eq!(asked.end().exit_code(), 3);
    assert!(!asked.screen().contains("wrong"), "nobody reads the password");
    assert!(!asked.written.windows(8).any(|bytes| bytes == b"\x1b[?1049h"));
    let mut nobody = User::chat(directory.path(), "user1", &["--server", "127.0.0.1:1"]);
    assert_eq!(nobody.end().exit_code(), 4);
    let mut piped = teamtalk(directory.path());
    let output = run(piped.args(["chat", "--user", "user1"]), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs a terminal"));
}
