//! route_server: passes messages and presence between msg_servers.
//!
//! ```text
//! msg_server ──────┐ PDU, port 8200
//! msg_server ──────┼────────────────► route_server
//! http_msg_server ─┘
//! ```
//!
//! It connects to nobody, stores nothing and learns everything from its peers: a msg_server sends
//! its users when it connects, and each login and logout from then on. With several route_servers
//! each msg_server reports to all of them and sends its messages through one, its master.
//!
//! - [`user_info`]: who is on line, on which msg_server.
//! - [`route_conn`]: the commands.

mod figures;
pub mod route_conn;
pub mod user_info;

use std::io;
use std::net::SocketAddr;

use log::{info, warn};

use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::HostList;
use crate::base::signals::Signal;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::peers::Peers;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions};
use route_conn::RouteConn;
use user_info::UserInfoMap;

type Cx<'a> = crate::netlib::Cx<'a, RouteServer>;

/// Most connections at a time: one of each msg_server and http_msg_server, and what is left of
/// those that were cut off.
pub const CONN_MAX: usize = 4096;

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct RouteServerConfig {
    /// `ListenIP`: addresses or host names, separated by `;`.
    pub listen_ip: String,
    /// `ListenMsgPort`.
    pub listen_msg_port: u16,
    /// `AllowIP`, `PeerTls…`: who may connect.
    pub peers: Peers,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

impl RouteServerConfig {
    /// Reads the keys of `routeserver.conf`.
    ///
    /// # Errors
    /// A key is missing, or its value is wrong.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        Ok(Self {
            listen_ip: config.get::<HostList>("ListenIP")?.0.join(";"),
            listen_msg_port: config.get("ListenMsgPort")?,
            peers: Peers::read(config, "AllowIP")?,
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }
}

/// The state of the service.
#[derive(Debug, Default)]
pub struct RouteServer {
    /// C++: route_server/RouteConn.cpp g_route_conn_map
    route_conns: ConnMap<RouteConn>,
    users: UserInfoMap,
}

impl RouteServer {
    /// Users who are on line on some msg_server.
    pub fn online_user_cnt(&self) -> usize {
        self.users.len()
    }

    /// The loop that serves this configuration, its service, and the addresses it listens on.
    /// Connections wait from here on; they are served once the loop runs.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn dispatch(
        config: &RouteServerConfig,
    ) -> io::Result<(EventDispatch<Self>, Self, Vec<SocketAddr>)> {
        let mut dispatch = EventDispatch::new()?;
        let options =
            ListenOptions { conn_max: CONN_MAX, ..ListenOptions::new(ConnLimits::SERVER) };
        let options = config.peers.only(options);
        let addrs =
            dispatch.listen_on::<RouteConn>(&config.listen_ip, config.listen_msg_port, options)?;
        dispatch.listen_for_admin(config.metrics_listen)?;
        route_conn::init_route_conn_timer_callback(dispatch.net());
        Ok((dispatch, Self::default(), addrs))
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: route_server/route_server.cpp main
pub fn run(config: RouteServerConfig) -> io::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let (mut dispatch, mut srv, addrs) = RouteServer::dispatch(&config)?;
    dispatch.handle_signals(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup], on_signal)?;
    for addr in addrs {
        info!("listening addr={addr} {}", config.peers);
    }
    dispatch.start_dispatch(&mut srv)
}

fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    if signal.is_stop() {
        info!("stopping signal={signal:?} conns={}", cx.srv.route_conns.len());
        cx.net.stop_event();
    } else {
        info!("signal={signal:?} ignored: every key takes effect at the start only");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::allow_list::AllowList;
    use crate::base::command_line::CommonOptions;
    use crate::netlib::tls::with_tls_files;

    fn config(text: &str) -> ConfigFileReader {
        ConfigFileReader::parse(Path::new("routeserver.conf"), text.as_bytes())
    }

    #[test]
    fn f10_the_sample_configuration_is_complete_and_listens_on_loopback() {
        let sample = include_str!("../../conf/routeserver.conf");
        let read = |text: &str| {
            let mut config = config(text);
            CommonOptions::read(&mut config).unwrap();
            let read = RouteServerConfig::read(&mut config).unwrap();
            assert!(config.warnings().is_empty(), "{:?}", config.warnings());
            read
        };
        let safe = read(sample);
        assert_eq!((safe.listen_ip.as_str(), safe.listen_msg_port), ("127.0.0.1", 8200));
        assert_eq!(safe.peers.allow, AllowList::default());
        // With every key that the sample only mentions.
        let text: Vec<_> = sample
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => key,
                _ => line,
            })
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let full = read(&with_tls_files(&text.join("\n"), directory.path()));
        assert!(full.peers.tls.is_some());
        let allowed = full.peers.allow;
        assert!(allowed.allows("10.9.9.9".parse().unwrap()));
        assert!(!allowed.allows("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn a_configuration_of_the_original_is_read() {
        let mut config = config(
            "ListenIP=0.0.0.0\t\t\t# Listening IP\n\
             ListenMsgPort=8200\t\t\t# Listening Port for MsgServer\n",
        );
        let read = RouteServerConfig::read(&mut config).unwrap();
        assert_eq!((read.listen_ip.as_str(), read.listen_msg_port), ("0.0.0.0", 8200));
    }
}
