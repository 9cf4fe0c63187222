//! http_msg_server: lets other programs of the company make groups and change their members.
//!
//! ```text
//! back end ── HTTP, port 8400 ──► http_msg_server ──► db_proxy_server   makes the change
//!                                        └──────────► route_server      tells the members
//! ```
//!
//! It keeps nothing over a restart. A request becomes a PDU for db_proxy_server with the number of
//! its connection as attach data, by which the answer finds its way back. Whoever asks is answered:
//! with the result, or with an error code when nobody can tell it in time.
//!
//! - [`http_conn`]: connections of those who ask.
//! - [`http_query`]: what can be asked, and the error codes.
//! - [`app_list`]: who may ask what.
//! - [`http_pdu`]: how answers look.
//! - [`db_serv_conn`], [`route_serv_conn`]: the connections to the other servers.

pub mod app_list;
pub mod db_serv_conn;
mod figures;
pub mod http_conn;
pub mod http_pdu;
pub mod http_query;
pub mod route_serv_conn;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use log::{info, warn};

use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::{Host, HostList};
use crate::base::signals::Signal;
use crate::base::unix_time::unix_time;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::peers::PeerTls;
use crate::netlib::tls::ClientListener;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions, Netlib};
use app_list::AppList;
use db_serv_conn::DbServers;
use http_conn::HttpConn;
use http_query::TotalQuery;
use route_serv_conn::RouteServers;

type Cx<'a> = crate::netlib::Cx<'a, HttpMsgServer>;

/// Connections to each db_proxy_server unless the configuration says otherwise.
///
/// C++: http_msg_server/http_msg_server.cpp DEFAULT_CONCURRENT_DB_CONN_CNT
pub const CONCURRENT_DB_CONN_CNT: usize = 2;

/// Most connections of those who ask, at a time.
pub const HTTP_CONN_MAX: usize = 1024;

/// What one of them may cost: the members of the largest group fit a request, and answers are
/// short.
pub const HTTP_LIMITS: ConnLimits =
    ConnLimits { message_len_max: 1 << 20, out_len_max: 1 << 20, ..ConnLimits::CLIENT };

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct HttpMsgServerConfig {
    /// `ListenIP`, `ListenPort`, `TlsListenPort`: where those who ask connect.
    pub listen: ClientListener,
    /// `DBServerIP<n>`, `DBServerPort<n>`.
    pub db_servers: Vec<(String, u16)>,
    /// `ConcurrentDBConnCnt`: connections to each of them.
    pub concurrent_db_conn_cnt: NonZeroUsize,
    /// `RouteServerIP<n>`, `RouteServerPort<n>`.
    pub route_servers: Vec<(String, u16)>,
    /// `PeerTls…`: how these servers are proved to be ours, and this one to them.
    pub peer_tls: Option<PeerTls>,
    /// `AppKey<n>` and what belongs to them.
    pub apps: AppList,
    /// `CreatorIsRequester`: whether a new group belongs to `req_user_id`, not to nobody.
    pub creator_is_requester: bool,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

impl HttpMsgServerConfig {
    /// Reads the keys of `httpmsgserver.conf`.
    ///
    /// # Errors
    /// A key is missing, or its value is wrong.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let db_servers = config.read_server_config("DBServerIP", "DBServerPort")?;
        if db_servers.is_empty() {
            // One of the two is missing, and its error says which.
            config.get::<Host>("DBServerIP1")?;
            config.get::<u16>("DBServerPort1")?;
        }
        let hosts = config.get::<HostList>("ListenIP")?.0.join(";");
        let default_conns = NonZeroUsize::new(CONCURRENT_DB_CONN_CNT).expect("not zero");
        Ok(Self {
            listen: ClientListener::read(config, hosts, "ListenPort")?,
            db_servers,
            concurrent_db_conn_cnt: config.get_or("ConcurrentDBConnCnt", default_conns)?,
            route_servers: config.read_server_config("RouteServerIP", "RouteServerPort")?,
            peer_tls: PeerTls::read(config)?,
            apps: AppList::read(config)?,
            creator_is_requester: config.get_or("CreatorIsRequester", false)?,
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }
}

/// The state of the service.
#[derive(Debug)]
pub struct HttpMsgServer {
    /// C++: http_msg_server/HttpConn.cpp g_http_conn_map
    http_conns: ConnMap<HttpConn>,
    apps: AppList,
    creator_is_requester: bool,
    total_query: TotalQuery,
    db_servers: DbServers,
    route_servers: RouteServers,
    /// Unix seconds.
    clock: fn() -> u32,
    /// No more requests; those that wait for their answer still get it.
    stopping: bool,
}

impl HttpMsgServer {
    /// The service of this configuration, without connections.
    fn new(config: &HttpMsgServerConfig, clock: fn() -> u32) -> Self {
        Self {
            http_conns: ConnMap::default(),
            apps: config.apps.clone(),
            creator_is_requester: config.creator_is_requester,
            total_query: TotalQuery::default(),
            db_servers: DbServers::new(&config.db_servers, config.concurrent_db_conn_cnt),
            route_servers: RouteServers::new(config.route_servers.clone()),
            clock,
            stopping: false,
        }
    }

    /// The loop that serves this configuration, its service, and the addresses it listens on.
    /// Connections wait from here on; they are served once the loop runs.
    ///
    /// # Errors
    /// An address cannot be listened on.
    ///
    /// C++: http_msg_server/http_msg_server.cpp http_callback
    pub fn dispatch(
        config: &HttpMsgServerConfig,
    ) -> io::Result<(EventDispatch<Self>, Self, Vec<SocketAddr>)> {
        let mut srv = Self::new(config, unix_time);
        let mut dispatch = EventDispatch::new()?;
        let options = ListenOptions { conn_max: HTTP_CONN_MAX, ..ListenOptions::new(HTTP_LIMITS) };
        let addrs = config.listen.listen::<HttpConn>(&mut dispatch, &options)?;
        let peer_tls = config.peer_tls.as_ref().map(PeerTls::connecting);
        dispatch.net().set_outgoing_transport(peer_tls);
        srv.init(dispatch.net());
        dispatch.listen_for_admin(config.metrics_listen)?;
        Ok((dispatch, srv, addrs))
    }

    /// Registers the timers, and starts to connect to the other servers.
    fn init(&mut self, net: &mut Netlib<Self>) {
        let cx = &mut Cx { srv: self, net };
        http_conn::init_http_conn(cx);
        http_query::init_http_query(cx);
        db_serv_conn::init_db_serv_conn(cx);
        route_serv_conn::init_route_serv_conn(cx);
    }

    /// Ends the loop of a stopping server once nobody waits for an answer.
    fn stop_if_done(cx: &mut Cx<'_>) {
        if cx.srv.stopping && !cx.srv.http_conns.iter().any(|(_, conn)| conn.is_waiting()) {
            cx.net.stop_event();
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: http_msg_server/http_msg_server.cpp main
pub fn run(config: HttpMsgServerConfig) -> io::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let (mut dispatch, mut srv, addrs) = HttpMsgServer::dispatch(&config)?;
    dispatch.handle_signals(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup], on_signal)?;
    for addr in addrs {
        let (tls, apps) = (config.listen.is_tls(addr.port()), config.apps.len());
        info!("listening addr={addr} for=http tls={tls} apps={apps}");
    }
    dispatch.start_dispatch(&mut srv)
}

fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    if signal.is_stop() {
        info!("stopping signal={signal:?} connections={}", cx.srv.http_conns.len());
        cx.srv.stopping = true;
        HttpMsgServer::stop_if_done(cx);
    } else {
        info!("signal={signal:?} ignored: every key takes effect at the start only");
    }
}
