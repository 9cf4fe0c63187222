//! The configuration files of a directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::Report;
use crate::base::command_line::CommonOptions;
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::db_proxy_server::DbProxyServerConfig;
use crate::file_server::FileServerConfig;
use crate::http_msg_server::HttpMsgServerConfig;
use crate::login_server::LoginServerConfig;
use crate::msfs::MsfsConfig;
use crate::msg_server::MsgServerConfig;
use crate::push_server::PushServerConfig;
use crate::route_server::RouteServerConfig;

/// Who is to reach a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum For {
    /// Everybody.
    Clients,
    /// Servers of the installation alone: whoever else reaches it may do what he likes.
    Servers,
    /// Those who run the installation: whoever else reaches it can read its figures.
    Operators,
}

/// The keys of a port that a server listens on.
#[derive(Debug)]
pub struct Listener {
    /// Its addresses.
    pub ip: &'static str,
    /// Its number.
    pub port: &'static str,
    /// Who may connect.
    pub allow: Option<&'static str>,
    /// Who is to connect.
    pub used_by: For,
}

/// The keys of servers that a server connects to, without their numbers.
#[derive(Debug)]
pub struct Peers {
    /// Their addresses.
    pub ip: &'static str,
    /// Their ports.
    pub port: &'static str,
    /// Which server listens there.
    pub program: &'static str,
}

/// The administration port that every server may have; one key names address and port.
pub const METRICS: Listener =
    Listener { ip: "MetricsListen", port: "MetricsListen", allow: None, used_by: For::Operators };

type ReadFn = fn(&mut ConfigFileReader) -> Result<(), ConfigError>;

/// One of the servers.
pub struct Kind {
    /// Its program.
    pub program: &'static str,
    /// How the names of its configurations begin; a number may follow.
    pub stem: &'static str,
    /// Where it listens.
    pub listeners: &'static [Listener],
    /// What it connects to.
    pub peers: &'static [Peers],
    /// Reads a configuration as the server does.
    read: ReadFn,
}

const fn listener(
    ip: &'static str,
    port: &'static str,
    allow: Option<&'static str>,
    used_by: For,
) -> Listener {
    Listener { ip, port, allow, used_by }
}

const fn peers(ip: &'static str, port: &'static str, program: &'static str) -> Peers {
    Peers { ip, port, program }
}

/// All servers.
pub const KINDS: [Kind; 8] = [
    Kind {
        program: "db_proxy_server",
        stem: "dbproxyserver",
        listeners: &[listener("ListenIP", "ListenPort", Some("AllowIP"), For::Servers)],
        peers: &[],
        read: |config| DbProxyServerConfig::read(config).map(drop),
    },
    Kind {
        program: "route_server",
        stem: "routeserver",
        listeners: &[listener("ListenIP", "ListenMsgPort", Some("AllowIP"), For::Servers)],
        peers: &[],
        read: |config| RouteServerConfig::read(config).map(drop),
    },
    Kind {
        program: "login_server",
        stem: "loginserver",
        listeners: &[
            listener("ClientListenIP", "ClientPort", None, For::Clients),
            listener("HttpListenIP", "HttpPort", None, For::Clients),
            listener("MsgServerListenIP", "MsgServerPort", Some("MsgServerAllowIP"), For::Servers),
        ],
        peers: &[],
        read: |config| LoginServerConfig::read(config).map(drop),
    },
    Kind {
        program: "msg_server",
        stem: "msgserver",
        listeners: &[listener("ListenIP", "ListenPort", None, For::Clients)],
        peers: &[
            peers("DBServerIP", "DBServerPort", "db_proxy_server"),
            peers("LoginServerIP", "LoginServerPort", "login_server"),
            peers("RouteServerIP", "RouteServerPort", "route_server"),
            peers("PushServerIP", "PushServerPort", "push_server"),
            peers("FileServerIP", "FileServerPort", "file_server"),
        ],
        read: |config| MsgServerConfig::read(config).map(drop),
    },
    Kind {
        program: "msfs",
        stem: "msfs",
        listeners: &[listener("ListenIP", "ListenPort", None, For::Clients)],
        peers: &[],
        read: |config| MsfsConfig::read(config).map(drop),
    },
    Kind {
        program: "file_server",
        stem: "fileserver",
        listeners: &[
            listener("ClientListenIP", "ClientListenPort", None, For::Clients),
            listener(
                "MsgServerListenIP",
                "MsgServerListenPort",
                Some("MsgServerAllowIP"),
                For::Servers,
            ),
        ],
        peers: &[],
        read: |config| FileServerConfig::read(config).map(drop),
    },
    Kind {
        program: "push_server",
        stem: "pushserver",
        listeners: &[listener("ListenIP", "ListenPort", Some("AllowIP"), For::Servers)],
        peers: &[],
        read: |config| PushServerConfig::read(config).map(drop),
    },
    Kind {
        program: "http_msg_server",
        stem: "httpmsgserver",
        listeners: &[listener("ListenIP", "ListenPort", Some("AppAllowIP1"), For::Servers)],
        peers: &[
            peers("DBServerIP", "DBServerPort", "db_proxy_server"),
            peers("RouteServerIP", "RouteServerPort", "route_server"),
        ],
        read: |config| HttpMsgServerConfig::read(config).map(drop),
    },
];

/// One file.
pub struct Conf {
    /// Whose it is.
    pub kind: &'static Kind,
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub file: ConfigFileReader,
}

impl Conf {
    /// The name of the file, for messages.
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The value of a key, as it stands there.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.file.value(key)
    }

    /// A port that stands there.
    pub fn port(&self, key: &str) -> Option<u16> {
        self.value(key)?.parse().ok()
    }
}

/// The configurations of a directory, those that servers read first.
///
/// # Errors
/// There is none, or one cannot be read.
pub fn load_all(directory: &Path) -> anyhow::Result<Vec<Conf>> {
    let wanted = "name the directory with dbproxyserver.conf and the others by --conf-dir";
    let entries =
        fs::read_dir(directory).with_context(|| format!("{}; {wanted}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut confs = Vec::new();
    for kind in &KINDS {
        for path in paths.iter().filter(|path| is_of(path, kind.stem)) {
            let file = ConfigFileReader::load(path)?;
            confs.push(Conf { kind, path: path.clone(), file });
        }
    }
    if confs.is_empty() {
        bail!("{} has no configurations of servers; {wanted}", directory.display());
    }
    Ok(confs)
}

/// `msgserver.conf`, `msgserver2.conf`, `msgserver-2.conf`.
fn is_of(path: &Path, stem: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(".conf"));
    number.is_some_and(|rest| {
        rest.trim_start_matches(['-', '_']).bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// What servers say about their files.
pub fn check(confs: &[Conf], report: &mut Report) {
    for conf in confs {
        let samples =
            format!("the sample of {}.conf has every key with its meaning", conf.kind.stem);
        // A second reader, so that it knows which keys the server asked for.
        let checked = ConfigFileReader::load(&conf.path).and_then(|mut config| {
            CommonOptions::read(&mut config)?;
            (conf.kind.read)(&mut config)?;
            Ok(config)
        });
        match checked {
            Ok(config) => {
                for warning in config.warnings() {
                    report.note(&conf.name(), warning.to_string(), samples.as_str());
                }
            }
            Err(error) => {
                let text = error.to_string();
                let path = format!("{}: ", conf.path.display());
                let text = text.strip_prefix(&path).unwrap_or(&text);
                report.problem(&conf.name(), text, samples);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_have_several_numbered_configurations() {
        for (name, expected) in [
            ("msgserver.conf", true),
            ("msgserver2.conf", true),
            ("msgserver-12.conf", true),
            ("httpmsgserver.conf", false),
            ("msgserver.conf.old", false),
            ("msgserver-old.conf", false),
        ] {
            assert_eq!(is_of(Path::new(name), "msgserver"), expected, "{name}");
        }
    }
}
