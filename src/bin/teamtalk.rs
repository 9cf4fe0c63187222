//! Runs, operates, uses and measures a TeamTalk installation.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    teamtalk::tool::main()
}
