//! Stores pictures and voice, and hands them out again.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::msfs::{self, MsfsConfig};

const NAME: ServerName = ServerName {
    program: "msfs",
    config: "msfs.conf",
    about: "Stores pictures and voice, and hands them out again",
};

fn main() -> ExitCode {
    command_line::main(NAME, MsfsConfig::read, msfs::run)
}
