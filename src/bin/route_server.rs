//! Passes messages and presence between msg_servers.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use teamtalk::base::command_line::{self, ServerName};
use teamtalk::route_server::{self, RouteServerConfig};

const NAME: ServerName = ServerName {
    program: "route_server",
    config: "routeserver.conf",
    about: "Passes messages and presence between msg_servers",
};

fn main() -> ExitCode {
    command_line::main(NAME, RouteServerConfig::read, route_server::run)
}
