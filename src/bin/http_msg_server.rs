//! Lets other programs make groups and change their members.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::http_msg_server::{self, HttpMsgServerConfig};

const NAME: ServerName = ServerName {
    program: "http_msg_server",
    config: "httpmsgserver.conf",
    about: "Lets other programs make groups and change their members",
};

fn main() -> ExitCode {
    command_line::main(NAME, HttpMsgServerConfig::read, http_msg_server::run)
}
