//! Reading the configuration again while the server runs.

use log::{error, info, warn};

use super::route_serv_conn::RouteServers;
use super::{Cx, MsgServerConfig, db_serv_conn, file_serv_conn};
use super::{login_serv_conn, push_serv_conn, route_serv_conn};

/// Numbered keys that take effect without a restart: where other servers are.
const LISTS: [&str; 10] = [
    "DBServerIP",
    "DBServerPort",
    "LoginServerIP",
    "LoginServerPort",
    "RouteServerIP",
    "RouteServerPort",
    "PushServerIP",
    "PushServerPort",
    "FileServerIP",
    "FileServerPort",
];

/// Takes over the lists of servers; nothing if the server could not start with the file.
///
/// C++: base/ServInfo.cpp read_server_config
/// Differs: read again at SIGHUP (F142).
pub(super) fn reload(cx: &mut Cx<'_>) {
    let path = cx.srv.config_file.path().display().to_string();
    // A file of a few lines: reading it holds up nobody.
    let config = match cx.srv.config_file.read_again(MsgServerConfig::read) {
        Ok(config) => config,
        Err(error) => return error!("the configuration stays as it is: {error}"),
    };
    let is_list = |key: &&str| {
        LISTS.iter().filter_map(|list| key.strip_prefix(list)).any(|n| n.parse::<u32>().is_ok())
    };
    let changed = cx.srv.config_file.changed(&config.file);
    for key in changed.iter().filter(|key| !is_list(key)) {
        // Not the value, which may be a secret.
        warn!("{path}: key {key} has changed, which takes effect at the next start only");
    }
    info!(
        "read again config={path} db={} login={} route={} push={} file={}",
        config.db_servers.len(),
        config.login_servers.len(),
        config.route_servers.len(),
        config.push_servers.len(),
        config.file_servers.len(),
    );
    cx.srv.db_servers.set_servers(cx.net, &config.db_servers);
    cx.srv.login_servers.set_servers(cx.net, config.login_servers);
    RouteServers::set_servers(cx, config.route_servers);
    cx.srv.push_servers.set_servers(cx.net, config.push_servers);
    cx.srv.file_servers.conns.set_servers(cx.net, config.file_servers);
    // Not at the next tick of the timers.
    db_serv_conn::db_server_conn_timer_callback(cx);
    login_serv_conn::login_server_conn_timer_callback(cx);
    route_serv_conn::route_server_conn_timer_callback(cx);
    push_serv_conn::push_server_conn_timer_callback(cx);
    file_serv_conn::file_server_conn_timer_callback(cx);
}
