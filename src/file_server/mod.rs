//! file_server: passes files between clients, and keeps them for receivers who are away.
//!
//! ```text
//! client ─────┐ PDU, port 8600
//! client ─────┼────────────────► file_server ──► OfflineFileDir
//! msg_server ─┘ PDU, port 8601
//! ```
//!
//! A msg_server has a task made for each file, and tells its two clients the id of the task and
//! where this server is. Who knows the id may take part. On line, the receiver asks for one block
//! after the other and the sender answers; blocks pass through here. Off line, this server asks the
//! sender for the blocks and stores them, and the receiver fetches them when he comes, in days
//! perhaps, and after restarts. The loop touches no file: a pool of workers does.
//!
//! - [`task_id`]: the name of a transfer, which is its secret.
//! - [`transfer_task`]: one transfer, as states.
//! - [`transfer_task_manager`]: all of them, and the files that are stored.
//! - [`offline_file`]: files on the disk; [`quota`]: how much there may be.
//! - [`file_msg_server_conn`], [`file_client_conn`]: connections and their commands.
//! - `disk`: what workers do for transfers, and what becomes of it.

pub mod config_util;
pub mod file_client_conn;
pub mod file_msg_server_conn;
pub mod offline_file;
pub mod quota;
pub mod task_id;
pub mod transfer_task;
pub mod transfer_task_manager;

mod disk;
mod figures;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;

use log::{info, warn};

use crate::base::signals::Signal;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions, Netlib, ResponseList};
use crate::pb::base_define::IpAddr;
pub use config_util::FileServerConfig;
use disk::Disk;
use file_client_conn::FileClientConn;
use file_msg_server_conn::FileMsgServerConn;
use transfer_task_manager::TransferTaskManager;

type Cx<'a> = crate::netlib::Cx<'a, FileServer>;

/// Most clients at a time.
pub const CONN_MAX: usize = 10_000;

/// Most msg_servers at a time, and what is left of those that were cut off.
pub const MSG_SERVER_CONN_MAX: usize = 4096;

/// What a client may cost: blocks of 32 KiB, or of 34 KiB between Windows clients, and what stands
/// around them; and as many of them as a receiver may have asked for.
pub const CLIENT_LIMITS: ConnLimits =
    ConnLimits { message_len_max: 64 << 10, out_len_max: 2 << 20, ..ConnLimits::CLIENT };

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct ListenAddrs {
    /// For clients.
    pub client: Vec<SocketAddr>,
    /// For msg_servers.
    pub msg_server: Vec<SocketAddr>,
}

/// The state of the service.
#[derive(Debug)]
pub struct FileServer {
    /// Unix seconds.
    clock: fn() -> u32,
    /// What clients are told.
    addresses: Vec<IpAddr>,
    file_client_conns: ConnMap<FileClientConn>,
    file_msg_server_conns: ConnMap<FileMsgServerConn>,
    tasks: TransferTaskManager,
    disk: Disk,
}

impl FileServer {
    /// The service of this configuration, without connections. It knows all stored files.
    ///
    /// # Errors
    /// The directory of the files cannot be used.
    fn new(
        config: &FileServerConfig,
        clock: fn() -> u32,
        responses: ResponseList<disk::Response>,
    ) -> io::Result<Self> {
        let (disk, stored) = Disk::open(config, responses)?;
        let timeout_ms = u64::from(config.task_timeout) * 1000;
        let mut tasks = TransferTaskManager::new(timeout_ms, config.offline_limits, &stored);
        tasks.set_free_space(disk.free_space());
        Ok(Self {
            clock,
            addresses: config.addresses(config.client_listen.port.unwrap_or_default()),
            file_client_conns: ConnMap::default(),
            file_msg_server_conns: ConnMap::default(),
            tasks,
            disk,
        })
    }

    /// The loop that serves this configuration, its service, and the addresses it listens on.
    /// Connections wait from here on; they are served once the loop runs.
    ///
    /// # Errors
    /// An address cannot be listened on, or the directory of the files cannot be used.
    pub fn dispatch(
        config: &FileServerConfig,
        clock: fn() -> u32,
    ) -> io::Result<(EventDispatch<Self>, Self, ListenAddrs)> {
        let mut dispatch = EventDispatch::new()?;
        let mut srv = Self::new(config, clock, dispatch.response_list())?;
        let options = ListenOptions { conn_max: CONN_MAX, ..ListenOptions::new(CLIENT_LIMITS) };
        let client = config.client_listen.listen::<FileClientConn>(&mut dispatch, &options)?;
        let options = ListenOptions {
            conn_max: MSG_SERVER_CONN_MAX,
            ..ListenOptions::new(ConnLimits::SERVER)
        };
        let msg_server = dispatch.listen_on::<FileMsgServerConn>(
            &config.msg_server_listen_ip,
            config.msg_server_listen_port,
            config.msg_servers.only(options),
        )?;
        if let Some(addr) = client.first() {
            srv.addresses = config.addresses(addr.port());
        }
        dispatch.listen_for_admin(config.metrics_listen)?;
        Self::init(dispatch.net());
        Ok((dispatch, srv, ListenAddrs { client, msg_server }))
    }

    /// Registers the timers, and what takes the results of workers.
    fn init(net: &mut Netlib<Self>) {
        file_msg_server_conn::initialize_file_msg_server_conn(net);
        file_client_conn::initialize_file_client_conn(net);
        disk::init_disk(net);
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: file_server/file_server.cpp main
pub fn run(config: FileServerConfig, clock: fn() -> u32) -> io::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let (mut dispatch, mut srv, addrs) = FileServer::dispatch(&config, clock)?;
    dispatch.handle_signals(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup], on_signal)?;
    for addr in addrs.client {
        let (tls, told) = (config.client_listen.is_tls(addr.port()), &config.file_server_ips);
        info!("listening addr={addr} for=clients tls={tls} told={told:?}");
    }
    for addr in addrs.msg_server {
        info!("listening addr={addr} for=msg_servers {}", config.msg_servers);
    }
    if config.file_server_ips.iter().any(|ip| ip == "0.0.0.0") {
        warn!("FileServerIp is 0.0.0.0: clients are told so, and cannot connect to it");
    }
    let (_, files, bytes) = srv.tasks.totals();
    info!("offline files dir={} files={files} bytes={bytes}", config.offline_file_dir.display());
    dispatch.start_dispatch(&mut srv)
}

fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    if signal.is_stop() {
        let (tasks, ..) = cx.srv.tasks.totals();
        info!("stopping signal={signal:?} tasks={tasks}");
        cx.net.stop_event();
    } else {
        info!("signal={signal:?} ignored: every key takes effect at the start only");
    }
}
