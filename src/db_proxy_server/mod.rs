//! db_proxy_server: reads and writes everything that is kept, on behalf of the other servers.
//!
//! ```text
//! msg_server ──────┐ PDU, port 10600                      ┌──► MySQL, or a file
//! http_msg_server ─┴────────────────► loop ──► workers ───┤
//!                                      ▲          │       └──► Redis, or the same file
//!                                      └─ answers ┘
//! ```
//!
//! The loop never touches the database: it hands requests to workers and sends what comes back.
//! Requests of one user, and of one conversation, keep their order; a full queue stops reading from
//! whoever fills it.
//!
//! - [`proxy_conn`]: connections of other servers.
//! - [`handler_map`]: which function answers which command.
//! - [`proxy_task`]: a request on its way through a worker.
//! - [`figures`]: what it tells about itself.
//! - [`storage_check`]: whether databases and caches are there.
//! - [`business`]: the functions, and the models below them.

pub mod business;
pub mod figures;
pub mod handler_map;
mod lanes;
pub mod proxy_conn;
pub mod proxy_task;
pub mod storage_check;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use log::{info, warn};

use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::{HostList, Secret};
use crate::base::signals::Signal;
use crate::base::thread_pool::ThreadPool;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::peers::Peers;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions, ResponseList};
use crate::storage::{CacheManager, DbManager};
use business::Business;
use business::message_batch::BATCH_MAX;
use business::password::PasswordForm;
use business::quiet_hours::{QuietHours, Zone};
use figures::WorkerFigures;
use lanes::Lanes;
use proxy_conn::ProxyConn;
use proxy_task::{ProxyTask, ResponsePdu};
use storage_check::StorageCheck;

type Cx<'a> = crate::netlib::Cx<'a, DbProxyServer>;

/// Most connections at a time. A msg_server has a handful.
pub const CONN_MAX: usize = 4096;

/// Requests that may wait for a worker.
pub const QUEUE_MAX: usize = 8192;

/// Longest message unless the configuration says otherwise: a voice message of a minute fits.
pub const MSG_LEN_MAX: usize = 1 << 20;

/// What the configuration file says.
#[derive(Debug)]
pub struct DbProxyServerConfig {
    /// `ListenIP`: addresses or host names, separated by `;`.
    pub listen_ip: String,
    /// `ListenPort`.
    pub listen_port: u16,
    /// `AllowIP`, `PeerTls…`: who may connect.
    pub peers: Peers,
    /// `ThreadNum`: workers.
    pub thread_num: NonZeroUsize,
    /// `MaxMsgLen`: longest message that is stored, in bytes.
    pub msg_len_max: usize,
    /// `MsfsSite`: where voice messages are kept, as a URL.
    pub msfs_site: String,
    /// `MsfsUploadSecret`: what msfs asks for before it stores something.
    pub msfs_upload_secret: Option<String>,
    /// `aesKey`: the key of message texts, 32 bytes that every client knows.
    pub aes_key: String,
    /// `QuietHours`: when phones of users who asked for it do not ring.
    pub quiet_hours: QuietHours,
    /// `TimeZone`: where these hours are.
    pub zone: Zone,
    /// `PasswordHash`: in which form passwords are kept.
    pub password_form: PasswordForm,
    /// `DBInstances` and what belongs to them.
    pub db: DbManager,
    /// `CacheInstances` and what belongs to them.
    pub cache: CacheManager,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

impl DbProxyServerConfig {
    /// Reads the keys of `dbproxyserver.conf`.
    ///
    /// # Errors
    /// A key is missing, or its value is wrong.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        Ok(Self {
            listen_ip: config.get::<HostList>("ListenIP")?.0.join(";"),
            listen_port: config.get("ListenPort")?,
            peers: Peers::read(config, "AllowIP")?,
            thread_num: config.get("ThreadNum")?,
            msg_len_max: config.get_or("MaxMsgLen", MSG_LEN_MAX)?,
            msfs_site: format!("http://{}/", config.get::<String>("MsfsSite")?),
            msfs_upload_secret: config.get_opt::<Secret>("MsfsUploadSecret")?.map(|s| s.0),
            aes_key: config.get("aesKey")?,
            quiet_hours: config.get_opt("QuietHours")?.unwrap_or_default(),
            zone: config.get_opt("TimeZone")?.unwrap_or_default(),
            password_form: config.get_opt("PasswordHash")?.unwrap_or_default(),
            db: DbManager::from_config(config)?,
            cache: CacheManager::from_config(config)?,
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }
}

/// The state of the service.
#[derive(Debug)]
pub struct DbProxyServer {
    proxy_conns: ConnMap<ProxyConn>,
    workers: ThreadPool<ProxyTask>,
    responses: ResponseList<ResponsePdu>,
    /// The queue of the workers has room again.
    room: ResponseList<()>,
    /// What the full queue did not take; its senders are not read from.
    refused: VecDeque<ProxyTask>,
    /// Requests that are with the workers.
    in_flight: usize,
    /// When the workers last answered something, or had nothing to do.
    progress_tick: u64,
    /// Since when the service is stopping.
    stop_tick: Option<u64>,
    business: Arc<Business>,
    lanes: Lanes,
    figures: Arc<WorkerFigures>,
    /// Nobody asks without an administration port.
    storage_check: Option<StorageCheck>,
}

impl DbProxyServer {
    /// The loop that serves this configuration, its service, and the addresses it listens on. The
    /// tables are brought up to date first.
    ///
    /// # Errors
    /// An address cannot be listened on, a thread cannot be started, or the database is not to be
    /// had or newer than this program.
    pub fn dispatch(
        config: DbProxyServerConfig,
        clock: fn() -> u32,
    ) -> anyhow::Result<(EventDispatch<Self>, Self, Vec<SocketAddr>)> {
        let (listen_ip, listen_port) = (config.listen_ip.clone(), config.listen_port);
        let (peers, thread_num) = (config.peers.clone(), config.thread_num);
        let metrics_listen = config.metrics_listen;
        let business = Business::new(config, clock)?;
        business.db.migrate()?;
        let mut dispatch = EventDispatch::new()?;
        let options =
            ListenOptions { conn_max: CONN_MAX, ..ListenOptions::new(ConnLimits::SERVER) };
        let options = peers.only(options);
        let addrs = dispatch.listen_on::<ProxyConn>(&listen_ip, listen_port, options)?;
        let mut srv = Self::new(&dispatch, thread_num, business)?;
        proxy_conn::init_proxy_conn(dispatch.net());
        dispatch.listen_for_admin(metrics_listen)?;
        if metrics_listen.is_some() {
            storage_check::init_storage_check(&mut srv, &mut dispatch)?;
        }
        Ok((dispatch, srv, addrs))
    }

    fn new(
        dispatch: &EventDispatch<Self>,
        thread_num: NonZeroUsize,
        business: Business,
    ) -> io::Result<Self> {
        let responses = dispatch.response_list();
        let room: ResponseList<()> = dispatch.response_list();
        let (answers, telling) = (responses.clone(), room.clone());
        let queue_max = NonZeroUsize::new(QUEUE_MAX).expect("not zero");
        let (business, figures) = (Arc::new(business), Arc::new(WorkerFigures::default()));
        let lanes = Lanes::new(&business);
        let (theirs, counted) = (Arc::clone(&business), Arc::clone(&figures));
        let work = move |tasks| proxy_task::run(&theirs, &counted, &answers, tasks);
        let batch_max = NonZeroUsize::new(BATCH_MAX).expect("not zero");
        let workers =
            ThreadPool::with_batches("db worker", thread_num, queue_max, batch_max, work)?;
        workers.notify_room(move || telling.push(()));
        Ok(Self {
            proxy_conns: ConnMap::default(),
            workers,
            responses,
            room,
            refused: VecDeque::new(),
            in_flight: 0,
            progress_tick: 0,
            stop_tick: None,
            business,
            lanes,
            figures,
            storage_check: None,
        })
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: db_proxy_server/db_proxy_server.cpp main
pub fn run(config: DbProxyServerConfig, clock: fn() -> u32) -> anyhow::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let peers = config.peers.clone();
    let (mut dispatch, mut srv, addrs) = DbProxyServer::dispatch(config, clock)?;
    let signals = [Signal::Terminate, Signal::Interrupt, Signal::Hangup];
    dispatch.handle_signals(&signals, on_signal)?;
    for addr in addrs {
        info!("listening addr={addr} {peers}");
    }
    dispatch.start_dispatch(&mut srv)?;
    Ok(())
}

fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    if signal.is_stop() {
        info!("stopping signal={signal:?} conns={}", cx.srv.proxy_conns.len());
        proxy_conn::stop(cx);
    } else {
        info!("signal={signal:?} ignored: every key takes effect at the start only");
    }
}

#[cfg(test)]
mod tests;
