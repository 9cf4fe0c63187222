//! Connects clients with each other and with all that is stored.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::msg_server::{self, MsgServerConfig};

const NAME: ServerName = ServerName {
    program: "msg_server",
    config: "msgserver.conf",
    about: "Connects clients with each other and with all that is stored",
};

fn main() -> ExitCode {
    command_line::main(NAME, MsgServerConfig::read, msg_server::run)
}
