//! Passes files between clients, and keeps them for receivers who are away.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::base::unix_time::unix_time;
use teamtalk::file_server::{self, FileServerConfig};

const NAME: ServerName = ServerName {
    program: "file_server",
    config: "fileserver.conf",
    about: "Passes files between clients, and keeps them for receivers who are away",
};

fn main() -> ExitCode {
    command_line::main(NAME, FileServerConfig::read, |config| file_server::run(config, unix_time))
}
