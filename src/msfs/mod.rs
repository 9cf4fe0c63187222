//! msfs: stores pictures and voice, and hands them out again.
//!
//! ```text
//! client ──────────┐ HTTP, port 8700
//! db_proxy_server ─┴──────────────► msfs ──► BaseDir
//! ```
//!
//! `POST` stores the file of a form and answers with its URL; `GET` and `HEAD` fetch it. The loop
//! touches no file: uploads and downloads have a pool of workers each.
//!
//! - [`http_conn`]: connections, and what workers do for them.
//! - [`multipart`]: the file of an upload.
//! - [`range`]: the part of a file that a download wants.
//! - [`file_manager`]: where files lie, and what they are called.
//! - [`file_lin`]: one file.
//! - [`content_type`]: what browsers are told of it.
//! - [`upload_quota`]: how much everybody may store.

pub mod content_type;
mod figures;
pub mod file_lin;
pub mod file_manager;
pub mod http_conn;
pub mod multipart;
pub mod range;
pub mod upload_quota;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use log::{info, warn};

use crate::base::allow_list::AllowList;
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::{ConfigValue, HostList, Secret};
use crate::base::signals::Signal;
use crate::base::thread_pool::ThreadPool;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::tls::ClientListener;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions, ResponseList};
use file_manager::{FILE_SIZE_MAX, FileManager};
use http_conn::HttpConn;
use upload_quota::{
    QuotaLimits, UPLOAD_MB_IN_FLIGHT, UPLOAD_MB_PER_DAY, UPLOADS_PER_MINUTE, UploadQuota,
};

type Cx<'a> = crate::netlib::Cx<'a, Msfs>;

/// Most connections at a time.
pub const CONN_MAX: usize = 10_000;

/// The largest body of an upload: the largest file, and what a form puts around it.
///
/// C++: msfs/HttpConn.cpp CHttpConn::OnRead
/// Differs: ends where files do; the original takes 10 MiB and stores 5 (F121).
pub const HTTP_UPLOAD_MAX: usize = FILE_SIZE_MAX + 64 * 1024;

/// Uploads that wait for a worker, each with its file in memory. Beyond it they get 503.
pub const POST_QUEUE_MAX: NonZeroUsize = NonZeroUsize::new(128).expect("a number from 1");

/// A connection has one request at a time, so no download finds this full.
const GET_QUEUE_MAX: NonZeroUsize = NonZeroUsize::new(CONN_MAX).expect("a number from 1");

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct MsfsConfig {
    /// `ListenIP`, `ListenPort`, `TlsListenPort`: where clients connect.
    pub listen: ClientListener,
    /// `BaseDir`: where files lie.
    pub base_dir: PathBuf,
    /// `PostThreadCount`: workers for uploads.
    pub post_thread_count: NonZeroUsize,
    /// `GetThreadCount`: workers for downloads.
    pub get_thread_count: NonZeroUsize,
    /// `UploadSecret` and the like.
    pub upload_limits: UploadLimits,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

/// Whose uploads are not limited unless the configuration says otherwise: a db_proxy_server on the
/// same machine stores the voice messages of all.
const UNLIMITED_IP: &str = "127.0.0.0/8;::1";

/// Who may store files, and how much. The default lets everybody.
#[derive(Clone, Debug)]
pub struct UploadLimits {
    /// What the header `X-Upload-Secret` has to say.
    pub secret: Option<String>,
    /// Where uploads may come from.
    pub allow_ip: AllowList,
    /// Who has no quota. Who brings the secret has none either.
    pub unlimited_ip: AllowList,
    /// What the others have.
    pub quota: QuotaLimits,
}

impl UploadLimits {
    /// Reads `UploadSecret`, `UploadAllowIP`, `UploadUnlimitedIP`, `MaxUploadCntPerMinute`,
    /// `MaxUploadMBPerDay` and `MaxUploadMBInFlight`.
    fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let unlimited = config.get_opt("UploadUnlimitedIP")?;
        Ok(Self {
            secret: config.get_opt::<Secret>("UploadSecret")?.map(|secret| secret.0),
            allow_ip: config.get_opt("UploadAllowIP")?.unwrap_or_default(),
            unlimited_ip: unlimited.or_else(|| AllowList::parse(UNLIMITED_IP)).unwrap_or_default(),
            quota: QuotaLimits::new(
                config.get_or("MaxUploadCntPerMinute", UPLOADS_PER_MINUTE)?,
                config.get_or("MaxUploadMBPerDay", UPLOAD_MB_PER_DAY)?,
                config.get_or("MaxUploadMBInFlight", UPLOAD_MB_IN_FLIGHT)?,
            ),
        })
    }
}

impl MsfsConfig {
    /// Reads the keys of `msfs.conf`.
    ///
    /// # Errors
    /// A key is missing, or its value is wrong.
    ///
    /// C++: msfs/main.cpp config_file
    /// Differs: `FileCnt` and `FilesPerDir` are accepted and mean nothing; the file is never
    /// rewritten (F123).
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        config.get_opt::<u64>("FileCnt")?;
        config.get_opt::<u64>("FilesPerDir")?;
        let hosts = config.get::<HostList>("ListenIP")?.0.join(";");
        Ok(Self {
            listen: ClientListener::read(config, hosts, "ListenPort")?,
            base_dir: config.get::<String>("BaseDir")?.into(),
            post_thread_count: config.get("PostThreadCount")?,
            get_thread_count: config.get("GetThreadCount")?,
            upload_limits: UploadLimits::read(config)?,
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }
}

/// The state of the service.
#[derive(Debug)]
pub struct Msfs {
    http_conns: ConnMap<HttpConn>,
    /// C++: msfs/main.cpp g_fileManager
    files: Arc<FileManager>,
    /// C++: msfs/main.cpp g_PostThreadPool
    post_thread_pool: ThreadPool,
    /// C++: msfs/main.cpp g_GetThreadPool
    get_thread_pool: ThreadPool,
    /// What workers have for connections.
    responses: ResponseList<http_conn::Response>,
    upload_limits: UploadLimits,
    upload_quota: UploadQuota,
}

impl Msfs {
    /// The loop that serves this configuration, its service, and the addresses it listens on.
    /// Connections wait from here on; they are served once the loop runs.
    ///
    /// # Errors
    /// An address cannot be listened on, or the directory of the files cannot be used.
    pub fn dispatch(
        config: &MsfsConfig,
    ) -> io::Result<(EventDispatch<Self>, Self, Vec<SocketAddr>)> {
        let mut dispatch = EventDispatch::new()?;
        let srv = Self {
            http_conns: ConnMap::default(),
            files: Arc::new(FileManager::init_dir(&config.base_dir)?),
            post_thread_pool: ThreadPool::new("post", config.post_thread_count, POST_QUEUE_MAX)?,
            get_thread_pool: ThreadPool::new("get", config.get_thread_count, GET_QUEUE_MAX)?,
            responses: dispatch.response_list(),
            upload_limits: config.upload_limits.clone(),
            upload_quota: UploadQuota::new(config.upload_limits.quota),
        };
        let limits = ConnLimits { message_len_max: HTTP_UPLOAD_MAX as u32, ..ConnLimits::CLIENT };
        let options = ListenOptions { conn_max: CONN_MAX, ..ListenOptions::new(limits) };
        let addrs = config.listen.listen::<HttpConn>(&mut dispatch, &options)?;
        dispatch.listen_for_admin(config.metrics_listen)?;
        http_conn::init_http_conn(dispatch.net());
        Ok((dispatch, srv, addrs))
    }

    /// Bytes of uploads that are being received or wait to be stored.
    pub fn upload_bytes_in_flight(&self) -> u64 {
        self.upload_quota.in_flight()
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: msfs/main.cpp main
pub fn run(config: MsfsConfig) -> io::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let (mut dispatch, mut srv, addrs) = Msfs::dispatch(&config)?;
    dispatch.handle_signals(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup], on_signal)?;
    for addr in addrs {
        let tls = config.listen.is_tls(addr.port());
        info!("listening addr={addr} tls={tls} dir={}", config.base_dir.display());
    }
    dispatch.start_dispatch(&mut srv)
}

/// C++: msfs/main.cpp Stop
/// Differs: nothing has to be saved (F123).
fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    if signal.is_stop() {
        info!("stopping signal={signal:?} conns={}", cx.srv.http_conns.len());
        cx.net.stop_event();
    } else {
        info!("signal={signal:?} ignored: every key takes effect at the start only");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::slog::LogOptions;
    use crate::netlib::tls::with_tls_files;

    fn config(text: &str) -> ConfigFileReader {
        ConfigFileReader::parse(Path::new("msfs.conf"), text.as_bytes())
    }

    #[test]
    fn the_sample_configuration_is_complete_and_listens_on_loopback() {
        let sample = include_str!("../../conf/msfs.conf");
        let read = |text: &str| {
            let mut config = config(text);
            LogOptions::read(&mut config).unwrap();
            let read = MsfsConfig::read(&mut config).unwrap();
            assert!(config.warnings().is_empty(), "{:?}", config.warnings());
            read
        };
        let safe = read(sample);
        assert_eq!((safe.listen.hosts.as_str(), safe.listen.port), ("127.0.0.1", Some(8700)));
        assert_eq!(safe.upload_limits.secret, None);
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
        assert!(full.listen.tls.is_some());
        let limits = full.upload_limits;
        assert!(limits.secret.is_some());
        assert_eq!(limits.quota, safe.upload_limits.quota, "the sample shows the defaults");
        assert!(limits.unlimited_ip.allows("127.0.0.1".parse().unwrap()));
        assert!(!limits.allow_ip.allows("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn f123_a_configuration_of_the_original_is_read_counter_and_all() {
        let mut config = config(
            "ListenIP=0.0.0.0\t\t#several\nListenPort=8700\nBaseDir=./tmp\nFileCnt=12\n\
             FilesPerDir=30000\nGetThreadCount=32\nPostThreadCount=1\n",
        );
        let read = MsfsConfig::read(&mut config).unwrap();
        assert_eq!(read.base_dir, Path::new("./tmp"));
        assert_eq!((read.get_thread_count.get(), read.post_thread_count.get()), (32, 1));
        assert!(config.warnings().is_empty());
    }
}
