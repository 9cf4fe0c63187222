//! Tells phones of messages whose users are away.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::base::unix_time::unix_time;
use teamtalk::push_server::{self, PushServerConfig};

const NAME: ServerName = ServerName {
    program: "push_server",
    config: "pushserver.conf",
    about: "Tells phones of messages whose users are away",
};

fn main() -> ExitCode {
    command_line::main(NAME, PushServerConfig::read, |config| push_server::run(config, unix_time))
}
