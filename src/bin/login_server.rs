//! Tells clients which msg_server to use.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::login_server::{self, LoginServerConfig};

const NAME: ServerName = ServerName {
    program: "login_server",
    config: "loginserver.conf",
    about: "Tells clients which msg_server to use",
};

fn main() -> ExitCode {
    command_line::main(NAME, LoginServerConfig::read, login_server::run)
}
