//! What the configuration file says.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::HostList;
use crate::netlib::peers::Peers;
use crate::netlib::tls::ClientListener;
use crate::pb::base_define::IpAddr;

/// Seconds, unless the configuration says otherwise.
pub const TASK_TIMEOUT: u32 = 3600;

/// Where offline files lie, unless the configuration says otherwise: where the original has them.
pub const OFFLINE_FILE_DIR: &str = "./offline_file";

/// MiB of all offline files together, unless the configuration says otherwise.
pub const OFFLINE_QUOTA_MB: u32 = 100 * 1024;

/// MiB of the offline files of one sender, unless the configuration says otherwise: two of the
/// largest files fit.
pub const OFFLINE_USER_QUOTA_MB: u32 = 10 * 1024;

/// MiB of the disk that offline files leave free, unless the configuration says otherwise.
pub const DISK_RESERVE_MB: u32 = 256;

/// Days that a file waits for its receiver, unless the configuration says otherwise.
pub const OFFLINE_FILE_DAYS: u16 = 30;

/// Hours that a file is kept after its receiver has it, unless the configuration says otherwise.
pub const FETCHED_FILE_HOURS: u16 = 24;

/// Threads for the disk, unless the configuration says otherwise.
pub const DISK_THREAD_COUNT: NonZeroUsize = NonZeroUsize::new(4).expect("a number from 1");

/// How much is kept of offline files, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OfflineLimits {
    /// `OfflineQuotaMB`, in bytes; 0 for any number.
    pub total_bytes_max: u64,
    /// `OfflineUserQuotaMB`, in bytes; 0 for any number.
    pub user_bytes_max: u64,
    /// `DiskReserveMB`, in bytes: what is left free on the disk.
    pub reserve_bytes: u64,
    /// `OfflineFileDays`, in seconds; 0 for ever.
    pub age_max: u32,
    /// `FetchedFileHours`, in seconds.
    pub fetched_age_max: u32,
}

/// The configuration of a file_server.
///
/// C++: file_server/config_util.h ConfigUtil
#[derive(Clone, Debug)]
pub struct FileServerConfig {
    /// `FileServerIp`: where clients reach this server, addresses or host names.
    pub file_server_ips: Vec<String>,
    /// `ClientListenIP`, `ClientListenPort`, `TlsClientListenPort`: where clients connect.
    pub client_listen: ClientListener,
    /// `MsgServerListenIP`: addresses or host names, separated by `;`.
    pub msg_server_listen_ip: String,
    /// `MsgServerListenPort`.
    pub msg_server_listen_port: u16,
    /// `MsgServerAllowIP`, `PeerTls…`: which msg_servers may connect.
    pub msg_servers: Peers,
    /// `TaskTimeout`: seconds that a transfer waits for its clients.
    pub task_timeout: u32,
    /// `OfflineFileDir`.
    pub offline_file_dir: PathBuf,
    /// `OfflineQuotaMB`, `OfflineUserQuotaMB`, `DiskReserveMB`, `OfflineFileDays`,
    /// `FetchedFileHours`.
    pub offline_limits: OfflineLimits,
    /// `DiskThreadCount`.
    pub disk_thread_count: NonZeroUsize,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

impl FileServerConfig {
    /// Reads the keys of `fileserver.conf`.
    ///
    /// # Errors
    /// A key is missing, or its value is wrong.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let bytes = |mb: u32| u64::from(mb) << 20;
        let offline_limits = OfflineLimits {
            total_bytes_max: bytes(config.get_or("OfflineQuotaMB", OFFLINE_QUOTA_MB)?),
            user_bytes_max: bytes(config.get_or("OfflineUserQuotaMB", OFFLINE_USER_QUOTA_MB)?),
            reserve_bytes: bytes(config.get_or("DiskReserveMB", DISK_RESERVE_MB)?),
            age_max: u32::from(config.get_or("OfflineFileDays", OFFLINE_FILE_DAYS)?)
                .saturating_mul(24 * 3600),
            fetched_age_max: u32::from(config.get_or("FetchedFileHours", FETCHED_FILE_HOURS)?)
                * 3600,
        };
        let client_hosts = config.get::<HostList>("ClientListenIP")?.0.join(";");
        Ok(Self {
            file_server_ips: config.get::<HostList>("FileServerIp")?.0,
            client_listen: ClientListener::read(config, client_hosts, "ClientListenPort")?,
            msg_server_listen_ip: config.get::<HostList>("MsgServerListenIP")?.0.join(";"),
            msg_server_listen_port: config.get("MsgServerListenPort")?,
            msg_servers: Peers::read(config, "MsgServerAllowIP")?,
            task_timeout: config.get_or("TaskTimeout", TASK_TIMEOUT)?,
            offline_file_dir: config.get_or("OfflineFileDir", OFFLINE_FILE_DIR.to_owned())?.into(),
            offline_limits,
            disk_thread_count: config.get_or("DiskThreadCount", DISK_THREAD_COUNT)?,
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }

    /// What clients are told, with the port that is listened on.
    ///
    /// C++: file_server/config_util.cpp ConfigUtil::AddAddress
    pub fn addresses(&self, port: u16) -> Vec<IpAddr> {
        let address = |ip: &String| IpAddr { ip: ip.clone(), port: port.into() };
        self.file_server_ips.iter().map(address).collect()
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
        ConfigFileReader::parse(Path::new("fileserver.conf"), text.as_bytes())
    }

    #[test]
    fn f10_the_sample_configuration_is_complete_and_msg_servers_connect_on_loopback() {
        let sample = include_str!("../../conf/fileserver.conf");
        let read = |text: &str| {
            let mut config = config(text);
            CommonOptions::read(&mut config).unwrap();
            let read = FileServerConfig::read(&mut config).unwrap();
            assert!(config.warnings().is_empty(), "{:?}", config.warnings());
            read
        };
        let safe = read(sample);
        assert_eq!(safe.msg_server_listen_ip, "127.0.0.1");
        assert_eq!((safe.client_listen.port, safe.msg_server_listen_port), (Some(8600), 8601));
        assert_eq!((safe.task_timeout, safe.msg_servers.allow), (60, AllowList::default()));
        // With every key that the sample only mentions: the limits are the defaults.
        let text: Vec<_> = sample
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => key,
                _ => line,
            })
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let full = read(&with_tls_files(&text.join("\n"), directory.path()));
        assert!(full.client_listen.tls.is_some() && full.msg_servers.tls.is_some());
        assert!(full.msg_servers.allow.allows("10.9.9.9".parse().unwrap()));
        assert!(!full.msg_servers.allow.allows("192.0.2.1".parse().unwrap()));
        assert_eq!(full.offline_limits, safe.offline_limits);
        assert_eq!(full.offline_file_dir, safe.offline_file_dir);
        assert_eq!(full.disk_thread_count, safe.disk_thread_count);
    }

    #[test]
    fn a_configuration_of_the_original_is_read() {
        let mut config = config(
            "#Address=0.0.0.0         # address for client\nFileServerIp=192.0.2.1;192.0.2.2\n\
             ClientListenIP=0.0.0.0\nClientListenPort=8600   # Listening Port for client\n\n\
             MsgServerListenIP=127.0.0.1\nMsgServerListenPort=8601\n\n\
             TaskTimeout=60         # Task Timeout (seconds)\n",
        );
        let read = FileServerConfig::read(&mut config).unwrap();
        let addresses = read.addresses(8600);
        let addresses: Vec<_> = addresses.iter().map(|a| (a.ip.as_str(), a.port)).collect();
        assert_eq!(addresses, [("192.0.2.1", 8600), ("192.0.2.2", 8600)]);
        assert_eq!(read.offline_file_dir, Path::new("./offline_file"));
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn f51_a_missing_key_is_named() {
        let error = FileServerConfig::read(&mut config("ClientListenIP=0.0.0.0\n")).unwrap_err();
        assert!(error.to_string().contains("FileServerIp"), "{error}");
    }
}
