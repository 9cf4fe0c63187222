//! msg_server: where clients stay connected, and through which all they do passes.
//!
//! ```text
//! client ── PDU, port 8000 ──► msg_server ──► db_proxy_server   all that is kept
//!                                  │ │ │ └──► route_server      users on other msg_servers
//!                                  │ │ └────► login_server      how many users are here
//!                                  │ └──────► file_server       tasks of file transfers
//!                                  └────────► push_server       alerts for phones
//! ```
//!
//! It keeps nothing over a restart. A request of a client is answered here or passed on with the
//! handle of its connection as attach data, by which the answer finds its way back.
//!
//! - [`msg_conn`]: connections of clients, and their commands.
//! - [`im_user`]: who is logged in, and how a user's connections are reached.
//! - [`group_chat`]: groups and their messages.
//! - [`file_handler`]: requests to send files.
//! - [`db_serv_conn`], [`route_serv_conn`], [`login_serv_conn`], [`file_serv_conn`],
//!   [`push_serv_conn`]: the connections to the other servers and what arrives on them.

pub mod db_serv_conn;
pub mod file_handler;
pub mod file_serv_conn;
pub mod group_chat;
pub mod im_user;
pub mod login_serv_conn;
pub mod msg_conn;
pub mod push_serv_conn;
pub mod route_serv_conn;

mod fan_out;
mod figures;
mod relay;
mod reload;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::{fs, io};

use log::{info, warn};

use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_snapshot::ConfigSnapshot;
use crate::base::config_value::{Host, HostList};
use crate::base::enc_dec::Aes;
use crate::base::signals::Signal;
use crate::base::unix_time::unix_time_ms;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::peers::PeerTls;
use crate::netlib::tls::ClientListener;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions};
use db_serv_conn::DbServers;
use fan_out::FanOuts;
use file_serv_conn::FileServers;
use group_chat::GroupChat;
use im_user::ImUserManager;
use login_serv_conn::LoginServers;
use msg_conn::{GivenUp, MsgConn, MsgStats};
use push_serv_conn::PushServers;
use route_serv_conn::RouteServers;

type Cx<'a> = crate::netlib::Cx<'a, MsgServer>;

/// What a client may cost before it has logged in: a login fits well.
pub const LOGIN_LIMITS: ConnLimits = ConnLimits { message_len_max: 64 << 10, ..ConnLimits::CLIENT };

/// Connections to each db_proxy_server unless the configuration says otherwise.
pub const CONCURRENT_DB_CONN_CNT: usize = 10;

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct MsgServerConfig {
    /// `ListenIP`, `ListenPort`, `TlsListenPort`: where clients connect.
    pub listen: ClientListener,
    /// `IpAddr1`: where clients of the first carrier reach this server.
    pub ip_addr1: String,
    /// `IpAddr2`: where all others do.
    pub ip_addr2: String,
    /// `MaxConnCnt`: most clients at a time.
    pub max_conn_cnt: u32,
    /// `MaxMsgCntPerSecond`: messages one client may send in a second; 0 for any number.
    pub max_msg_cnt_per_second: u32,
    /// `AllowRegister`: whether clients may make accounts.
    pub allow_register: bool,
    /// `aesKey`: the key of message texts, 32 bytes that every client knows.
    pub aes_key: String,
    /// `DBServerIP<n>`, `DBServerPort<n>`: at least one.
    pub db_servers: Vec<(String, u16)>,
    /// `ConcurrentDBConnCnt`: connections to each of them.
    pub concurrent_db_conn_cnt: NonZeroUsize,
    /// `LoginServerIP<n>`, `LoginServerPort<n>`.
    pub login_servers: Vec<(String, u16)>,
    /// `RouteServerIP<n>`, `RouteServerPort<n>`.
    pub route_servers: Vec<(String, u16)>,
    /// `PushServerIP<n>`, `PushServerPort<n>`.
    pub push_servers: Vec<(String, u16)>,
    /// `FileServerIP<n>`, `FileServerPort<n>`.
    pub file_servers: Vec<(String, u16)>,
    /// `PeerTls…`: how all these servers are proved to be ours, and this one to them.
    pub peer_tls: Option<PeerTls>,
    /// What the file says as a whole, for who changes it while the server runs.
    pub file: ConfigSnapshot,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

impl MsgServerConfig {
    /// Reads the keys of `msgserver.conf`.
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
        let ip_addr1: String = config.get("IpAddr1")?;
        let default_conns = NonZeroUsize::new(CONCURRENT_DB_CONN_CNT).expect("not zero");
        Ok(Self {
            listen: ClientListener::read(config, hosts, "ListenPort")?,
            ip_addr2: config.get_or("IpAddr2", ip_addr1.clone())?,
            ip_addr1,
            max_conn_cnt: config.get("MaxConnCnt")?,
            max_msg_cnt_per_second: config
                .get_or("MaxMsgCntPerSecond", msg_conn::MAX_MSG_CNT_PER_SECOND)?,
            allow_register: config.get_or("AllowRegister", false)?,
            aes_key: config.get("aesKey")?,
            db_servers,
            concurrent_db_conn_cnt: config.get_or("ConcurrentDBConnCnt", default_conns)?,
            login_servers: config.read_server_config("LoginServerIP", "LoginServerPort")?,
            route_servers: config.read_server_config("RouteServerIP", "RouteServerPort")?,
            push_servers: config.read_server_config("PushServerIP", "PushServerPort")?,
            file_servers: config.read_server_config("FileServerIP", "FileServerPort")?,
            peer_tls: PeerTls::read(config)?,
            file: ConfigSnapshot::of(config),
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }
}

/// The state of the service.
#[derive(Debug)]
pub struct MsgServer {
    ip_addr1: String,
    ip_addr2: String,
    listen_port: u16,
    max_conn_cnt: u32,
    max_msg_cnt_per_second: u32,
    allow_register: bool,
    host_name: String,
    /// Tells this msg_server from all others.
    server_id: u32,
    /// Unix milliseconds.
    clock: fn() -> u64,
    /// C++: msg_server/msg_server.cpp pAes
    aes: Aes,
    /// C++: msg_server/MsgConn.cpp g_msg_conn_map
    msg_conns: ConnMap<MsgConn>,
    im_users: ImUserManager,
    msg_stats: MsgStats,
    given_up: GivenUp,
    /// Logins since the start, and those that were refused.
    logins: u64,
    logins_refused: u64,
    /// Whether every message is logged.
    ///
    /// C++: msg_server/MsgConn.cpp g_log_msg_toggle
    /// Differs: off until SIGUSR2: one line a message is no default for a loop.
    log_msg_toggle: bool,
    group_chat: GroupChat,
    fan_outs: FanOuts,
    db_servers: DbServers,
    login_servers: LoginServers,
    route_servers: RouteServers,
    push_servers: PushServers,
    file_servers: FileServers,
    /// As it was at the start.
    config_file: ConfigSnapshot,
}

impl MsgServer {
    /// The service of this configuration, without connections.
    ///
    /// # Errors
    /// The key of message texts is not one.
    fn new(config: &MsgServerConfig, clock: fn() -> u64) -> io::Result<Self> {
        // Not a value of the configuration file: its error would print the key.
        let aes = Aes::new(config.aes_key.as_bytes()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("aesKey: {error}"))
        })?;
        Ok(Self {
            ip_addr1: config.ip_addr1.clone(),
            ip_addr2: config.ip_addr2.clone(),
            listen_port: config.listen.port.unwrap_or_default(),
            max_conn_cnt: config.max_conn_cnt,
            max_msg_cnt_per_second: config.max_msg_cnt_per_second,
            allow_register: config.allow_register,
            host_name: host_name(),
            server_id: RandomState::new().hash_one(&config.listen.hosts) as u32,
            clock,
            aes,
            msg_conns: ConnMap::default(),
            im_users: ImUserManager::default(),
            msg_stats: MsgStats::default(),
            given_up: GivenUp::default(),
            logins: 0,
            logins_refused: 0,
            log_msg_toggle: false,
            group_chat: GroupChat::default(),
            fan_outs: FanOuts::default(),
            db_servers: DbServers::new(&config.db_servers, config.concurrent_db_conn_cnt),
            login_servers: LoginServers::new(config.login_servers.clone()),
            route_servers: RouteServers::new(config.route_servers.clone()),
            push_servers: PushServers::new(config.push_servers.clone()),
            file_servers: FileServers::new(config.file_servers.clone()),
            config_file: config.file.clone(),
        })
    }

    /// The loop that serves this configuration, its service, and the addresses it listens on.
    /// Connections wait from here on; they are served once the loop runs.
    ///
    /// # Errors
    /// An address cannot be listened on, or the key of message texts is not one.
    pub fn dispatch(
        config: &MsgServerConfig,
    ) -> io::Result<(EventDispatch<Self>, Self, Vec<SocketAddr>)> {
        let mut srv = Self::new(config, unix_time_ms)?;
        let mut dispatch = EventDispatch::new()?;
        let options = ListenOptions {
            conn_max: config.max_conn_cnt as usize,
            ..ListenOptions::new(LOGIN_LIMITS)
        };
        let addrs = config.listen.listen::<MsgConn>(&mut dispatch, &options)?;
        // Clients of the original are told this one, so it is the one in the clear if there is one.
        if let Some(addr) = addrs.first() {
            srv.listen_port = addr.port();
        }
        let peer_tls = config.peer_tls.as_ref().map(PeerTls::connecting);
        dispatch.net().set_outgoing_transport(peer_tls);
        srv.init(dispatch.net());
        dispatch.listen_for_admin(config.metrics_listen)?;
        Ok((dispatch, srv, addrs))
    }

    /// Registers the timers, and starts to connect to the other servers.
    fn init(&mut self, net: &mut crate::netlib::Netlib<Self>) {
        let cx = &mut Cx { srv: self, net };
        msg_conn::init_msg_conn(cx);
        group_chat::init_group_chat(cx);
        file_serv_conn::init_file_serv_conn(cx);
        db_serv_conn::init_db_serv_conn(cx);
        login_serv_conn::init_login_serv_conn(cx);
        route_serv_conn::init_route_serv_conn(cx);
        push_serv_conn::init_push_serv_conn(cx);
    }

    /// Unix seconds.
    fn now(&self) -> u32 {
        u32::try_from((self.clock)() / 1000).unwrap_or(u32::MAX)
    }

    /// Connections of clients, logged in or not.
    pub fn msg_conn_cnt(&self) -> usize {
        self.msg_conns.len()
    }

    /// Users who are here with at least one connection.
    pub fn user_cnt(&self) -> usize {
        self.im_users.len()
    }

    /// Logged-in connections, until they are closed.
    ///
    /// C++: msg_server/ImUser.cpp CImUserManager::GetUserConnCnt
    pub fn user_conn_cnt(&self) -> u32 {
        let count = self.msg_conns.iter().filter(|(_, conn)| conn.user_id() != 0).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// What login_server shows in its log.
fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "msg_server".to_owned(), |name| name.trim().to_owned())
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: msg_server/msg_server.cpp main
pub fn run(config: MsgServerConfig) -> io::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let (mut dispatch, mut srv, addrs) = MsgServer::dispatch(&config)?;
    let signals =
        [Signal::Terminate, Signal::Interrupt, Signal::Hangup, Signal::User1, Signal::User2];
    dispatch.handle_signals(&signals, on_signal)?;
    for addr in addrs {
        let tls = config.listen.is_tls(addr.port());
        info!("listening addr={addr} for=clients tls={tls} max={}", config.max_conn_cnt);
    }
    dispatch.start_dispatch(&mut srv)
}

fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    match signal {
        Signal::Terminate | Signal::Interrupt | Signal::Quit => {
            info!("stopping signal={signal:?} users={}", cx.srv.im_users.len());
            msg_conn::close_all(cx);
            cx.net.stop_event();
        }
        Signal::User1 => msg_conn::signal_handler_usr1(cx),
        Signal::User2 => msg_conn::signal_handler_usr2(cx),
        Signal::Hangup => reload::reload(cx),
    }
}
