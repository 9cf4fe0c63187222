//! The tool as scripts use it: arguments in, output and exit codes out.

mod admin;
mod bench;
mod chat;
mod chat_picture;
mod db;
mod doctor;
mod picture;
mod talk;
mod top;
mod top_picture;
mod up;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The tool in this directory.
pub fn teamtalk(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teamtalk"));
    command.current_dir(directory).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// What it does when this is typed.
#[track_caller]
pub fn run(command: &mut Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may not read it at all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it prints, if all went well.
#[track_caller]
pub fn output(command: &mut Command, input: &str) -> String {
    let output = run(command, input);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {} {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
