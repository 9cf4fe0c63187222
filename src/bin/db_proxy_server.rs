//! Reads and writes everything that is kept, on behalf of the other servers.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::base::unix_time::unix_time;
use teamtalk::db_proxy_server::{self, DbProxyServerConfig};

const NAME: ServerName = ServerName {
    program: "db_proxy_server",
    config: "dbproxyserver.conf",
    about: "Reads and writes everything that is kept, on behalf of the other servers",
};

fn main() -> ExitCode {
    command_line::main(NAME, DbProxyServerConfig::read, |config| {
        db_proxy_server::run(config, unix_time)
    })
}
