//! login_server: tells clients which msg_server to use.
//!
//! ```text
//! client ── PDU, port 8008 ────┐
//!                              ├──► login_server ◄── PDU, port 8100 ── msg_server
//! client ── HTTP, port 8080 ───┘
//! ```
//!
//! It connects to nobody and stores nothing. A msg_server registers when it connects and reports
//! each login and logout; a client gets the address of the one with the fewest users. With several
//! login_servers each msg_server reports to all of them.
//!
//! - [`msg_serv_info`]: the choice.
//! - [`login_conn`]: the PDU connections of clients and of msg_servers.
//! - [`http_conn`]: the HTTP connections of clients.
//! - [`ip_parser`]: which of the two addresses of a msg_server is nearer to a client.

mod figures;
pub mod http_conn;
pub mod ip_parser;
pub mod login_conn;
pub mod msg_serv_info;

use std::io;
use std::net::SocketAddr;

use log::{info, warn};

use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::HostList;
use crate::base::signals::Signal;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::peers::Peers;
use crate::netlib::tls::ClientListener;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions, NetHandle};
use http_conn::HttpConn;
use ip_parser::IpParser;
use login_conn::{ClientConn, MsgServConn};
use msg_serv_info::{NoMsgServ, choose};

type Cx<'a> = crate::netlib::Cx<'a, LoginServer>;

/// Most msg_servers at a time, and what is left of those that were cut off.
pub const MSG_SERV_CONN_MAX: usize = 4096;

/// What a client may cost: it has one question, which fits a PDU without body or the first line of
/// an HTTP request. The queue of answers is for a browser that asks several times at once.
pub const CLIENT_LIMITS: ConnLimits =
    ConnLimits { message_len_max: 8 << 10, out_len_max: 1 << 20, ..ConnLimits::CLIENT };

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct LoginServerConfig {
    /// `ClientListenIP`, `ClientPort`, `TlsClientPort`: for PDUs of clients.
    pub client_listen: ClientListener,
    /// `HttpListenIP`, `HttpPort`, `TlsHttpPort`: for HTTP requests of clients.
    pub http_listen: ClientListener,
    /// `MsgServerListenIP`: addresses or host names, separated by `;`.
    pub msg_server_listen_ip: String,
    /// `MsgServerPort`.
    pub msg_server_port: u16,
    /// `MsgServerAllowIP`, `PeerTls…`: which msg_servers may connect.
    pub msg_servers: Peers,
    /// `msfs`: where clients find pictures and voice.
    ///
    /// C++: login_server/login_server.cpp strMsfsUrl
    pub msfs_url: String,
    /// `discovery`: where clients find the discovery page.
    ///
    /// C++: login_server/login_server.cpp strDiscovery
    pub discovery: String,
    /// `TelecomIP`.
    pub ip_parser: IpParser,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

impl LoginServerConfig {
    /// Reads the keys of `loginserver.conf`.
    ///
    /// # Errors
    /// A key is missing, or its value is wrong.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let mut hosts = |key: &str| Ok(config.get::<HostList>(key)?.0.join(";"));
        let (client_hosts, http_hosts) = (hosts("ClientListenIP")?, hosts("HttpListenIP")?);
        Ok(Self {
            msg_server_listen_ip: hosts("MsgServerListenIP")?,
            client_listen: ClientListener::read(config, client_hosts, "ClientPort")?,
            http_listen: ClientListener::read(config, http_hosts, "HttpPort")?,
            msg_server_port: config.get("MsgServerPort")?,
            msg_servers: Peers::read(config, "MsgServerAllowIP")?,
            msfs_url: config.get("msfs")?,
            discovery: config.get("discovery")?,
            ip_parser: IpParser::read(config)?,
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }
}

/// Where a login_server listens.
#[derive(Clone, Debug)]
pub struct LoginServerAddrs {
    /// For PDUs of clients.
    pub client: Vec<SocketAddr>,
    /// For HTTP requests of clients.
    pub http: Vec<SocketAddr>,
    /// For msg_servers.
    pub msg_server: Vec<SocketAddr>,
}

/// What a client is told.
#[derive(Clone, Debug, Eq, PartialEq)]
struct MsgServAddr {
    prior_ip: String,
    backup_ip: String,
    port: u16,
}

/// The state of the service.
#[derive(Debug)]
pub struct LoginServer {
    client_conns: ConnMap<ClientConn>,
    msg_serv_conns: ConnMap<MsgServConn>,
    http_conns: ConnMap<HttpConn>,
    ip_parser: IpParser,
    msfs_url: String,
    discovery: String,
    /// What the last client was refused with, so that the log tells it once.
    refusing: Option<NoMsgServ>,
    /// Clients that were sent to a msg_server, and those for which there was none.
    sent: u64,
    refused_unregistered: u64,
    refused_full: u64,
}

impl LoginServer {
    /// The service of this configuration, without connections.
    pub fn new(config: &LoginServerConfig) -> Self {
        Self {
            client_conns: ConnMap::default(),
            msg_serv_conns: ConnMap::default(),
            http_conns: ConnMap::default(),
            ip_parser: config.ip_parser.clone(),
            msfs_url: config.msfs_url.clone(),
            discovery: config.discovery.clone(),
            refusing: None,
            sent: 0,
            refused_unregistered: 0,
            refused_full: 0,
        }
    }

    /// The loop that serves this configuration, its service, and the addresses it listens on.
    /// Connections wait from here on; they are served once the loop runs.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn dispatch(
        config: &LoginServerConfig,
    ) -> io::Result<(EventDispatch<Self>, Self, LoginServerAddrs)> {
        let mut dispatch = EventDispatch::new()?;
        let client_options = ListenOptions::new(CLIENT_LIMITS);
        let msg_server_options =
            ListenOptions { conn_max: MSG_SERV_CONN_MAX, ..ListenOptions::new(ConnLimits::SERVER) };
        let addrs = LoginServerAddrs {
            client: config.client_listen.listen::<ClientConn>(&mut dispatch, &client_options)?,
            msg_server: dispatch.listen_on::<MsgServConn>(
                &config.msg_server_listen_ip,
                config.msg_server_port,
                config.msg_servers.only(msg_server_options),
            )?,
            http: config.http_listen.listen::<HttpConn>(&mut dispatch, &client_options)?,
        };
        dispatch.listen_for_admin(config.metrics_listen)?;
        login_conn::init_login_conn(dispatch.net());
        http_conn::init_http_conn(dispatch.net());
        Ok((dispatch, Self::new(config), addrs))
    }

    /// The msg_server a client is sent to.
    fn choose_msg_serv(cx: &mut Cx<'_>, client: NetHandle) -> Result<MsgServAddr, NoMsgServ> {
        let (tick, peer) = (cx.net.tick(), cx.net.peer_addr(client));
        let infos = cx.srv.msg_serv_conns.iter_mut().filter_map(|(_, conn)| conn.info.as_mut());
        let chosen = choose(infos, tick);
        if cx.srv.refusing != chosen.as_ref().err().copied() {
            cx.srv.refusing = chosen.as_ref().err().copied();
            match cx.srv.refusing {
                Some(reason) => warn!("clients are refused: {reason}"),
                None => info!("clients are sent to msg_servers again"),
            }
        }
        match &chosen {
            Ok(_) => cx.srv.sent += 1,
            Err(NoMsgServ::Unregistered) => cx.srv.refused_unregistered += 1,
            Err(NoMsgServ::Full) => cx.srv.refused_full += 1,
        }
        let info = chosen?;
        let telecom = peer.is_none_or(|peer| cx.srv.ip_parser.is_telecom(peer.ip()));
        let (first, second) = (info.ip_addr1.clone(), info.ip_addr2.clone());
        let (prior_ip, backup_ip) = if telecom { (first, second) } else { (second, first) };
        Ok(MsgServAddr { prior_ip, backup_ip, port: info.port })
    }

    /// Users of all msg_servers, for the log.
    ///
    /// C++: login_server/LoginConn.cpp g_total_online_user_cnt
    /// Differs: added up when asked for, so that it cannot drift (F54).
    pub fn total_online_user_cnt(&self) -> u64 {
        let infos = self.msg_serv_conns.iter().filter_map(|(_, conn)| conn.info.as_ref());
        infos.map(|info| u64::from(info.cur_conn_cnt)).sum()
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: login_server/login_server.cpp main
pub fn run(config: LoginServerConfig) -> io::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let (mut dispatch, mut srv, addrs) = LoginServer::dispatch(&config)?;
    dispatch.handle_signals(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup], on_signal)?;
    for addr in addrs.client {
        let tls = config.client_listen.is_tls(addr.port());
        info!("listening addr={addr} for=clients tls={tls}");
    }
    for addr in addrs.http {
        let tls = config.http_listen.is_tls(addr.port());
        info!("listening addr={addr} for=http tls={tls}");
    }
    for addr in addrs.msg_server {
        info!("listening addr={addr} for=msg_servers {}", config.msg_servers);
    }
    dispatch.start_dispatch(&mut srv)
}

fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    if signal.is_stop() {
        info!(
            "stopping signal={signal:?} msg_servers={} users={}",
            cx.srv.msg_serv_conns.len(),
            cx.srv.total_online_user_cnt()
        );
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
    use crate::netlib::testing::TestBed;
    use crate::netlib::tls::with_tls_files;

    const SAMPLE: &str = include_str!("../../conf/loginserver.conf");

    fn config(text: &str) -> ConfigFileReader {
        ConfigFileReader::parse(Path::new("loginserver.conf"), text.as_bytes())
    }

    /// The service of the sample configuration and more keys, without a loop.
    pub(super) fn test_bed(more: &str) -> TestBed<LoginServer> {
        let config = LoginServerConfig::read(&mut config(&[SAMPLE, more].concat())).unwrap();
        let mut bed = TestBed::new(LoginServer::new(&config));
        login_conn::init_login_conn(&mut bed.net);
        http_conn::init_http_conn(&mut bed.net);
        bed
    }

    #[test]
    fn f10_the_sample_configuration_is_complete_and_msg_servers_connect_on_loopback() {
        let read = |text: &str| {
            let mut config = config(text);
            CommonOptions::read(&mut config).unwrap();
            let read = LoginServerConfig::read(&mut config).unwrap();
            assert!(config.warnings().is_empty(), "{:?}", config.warnings());
            read
        };
        let safe = read(SAMPLE);
        assert_eq!(safe.msg_server_listen_ip, "127.0.0.1");
        let ports = (safe.client_listen.port, safe.http_listen.port, safe.msg_server_port);
        assert_eq!(ports, (Some(8008), Some(8080), 8100));
        assert_eq!(safe.msg_servers.allow, AllowList::default());
        // With every key that the sample only mentions.
        let text: Vec<_> = SAMPLE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => key,
                _ => line,
            })
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let full = read(&with_tls_files(&text.join("\n"), directory.path()));
        assert!(full.msg_servers.tls.is_some());
        assert!(full.client_listen.tls.is_some() && full.http_listen.tls.is_some());
        assert!(full.msg_servers.allow.allows("10.9.9.9".parse().unwrap()));
        assert!(!full.msg_servers.allow.allows("192.0.2.1".parse().unwrap()));
        assert!(!full.ip_parser.is_telecom("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn a_configuration_of_the_original_is_read() {
        let mut config = config(
            "ClientListenIP=0.0.0.0\t\t# can use multiple ip, seperate by ';'\n\
             ClientPort=8008\nHttpListenIP=0.0.0.0\nHttpPort=8080\n\
             MsgServerListenIP=0.0.0.0 \t# can use multiple ip, seperate by ';'\n\
             MsgServerPort=8100\n\nmsfs=http://192.0.2.1:8700/\n\n\
             discovery=http://127.0.0.1/api/discovery\n",
        );
        let read = LoginServerConfig::read(&mut config).unwrap();
        assert_eq!((read.msg_server_listen_ip.as_str(), read.msg_server_port), ("0.0.0.0", 8100));
        assert_eq!(read.msfs_url, "http://192.0.2.1:8700/");
        assert_eq!(read.discovery, "http://127.0.0.1/api/discovery");
    }
}
