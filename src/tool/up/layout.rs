//! Which servers a cluster has, where they listen, and what their configurations say.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::base::config_file_reader::ConfigFileReader;
use crate::tool::files::write_private;

/// Ports a cluster takes, in the order in which `--base-port` numbers them.
const PORTS: [(&str, u16); 21] = [
    ("login_server, HTTP", 8080),
    ("login_server, PDU", 8008),
    ("login_server, msg_servers", 8100),
    ("msg_server_1", 8000),
    ("msg_server_2", 8001),
    ("route_server", 8200),
    ("db_proxy_server", 10600),
    ("file_server, clients", 8600),
    ("file_server, msg_servers", 8601),
    ("msfs", 8700),
    ("http_msg_server", 8400),
    ("push_server", 8500),
    ("login_server, metrics", 8901),
    ("msg_server_1, metrics", 8902),
    ("msg_server_2, metrics", 8903),
    ("route_server, metrics", 8904),
    ("db_proxy_server, metrics", 8905),
    ("file_server, metrics", 8906),
    ("msfs, metrics", 8907),
    ("http_msg_server, metrics", 8908),
    ("push_server, metrics", 8909),
];

/// What is chosen at the first start and kept from then on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Choice {
    /// The first of the ports; `None` for those of the original.
    pub(super) base_port: Option<u16>,
    /// Where clients reach this machine.
    pub(super) address: IpAddr,
    /// `mysql://user:password@host:port/database`
    pub(super) mysql: Option<String>,
    /// `redis://[user:password@]host:port`
    pub(super) redis: Option<String>,
}

impl Choice {
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let context = || format!("{} is damaged", path.display());
        let value: Value =
            serde_json::from_str(&fs::read_to_string(path)?).with_context(context)?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let base_port = value["base_port"].as_u64().map(u16::try_from).transpose();
        Ok(Some(Self {
            base_port: base_port.with_context(context)?,
            address: text("address").with_context(context)?.parse().with_context(context)?,
            mysql: text("mysql"),
            redis: text("redis"),
        }))
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let Self { base_port, address, mysql, redis } = self;
        let value = json!({
            "base_port": base_port, "address": address, "mysql": mysql, "redis": redis,
        });
        write_private(path, format!("{value:#}\n").as_bytes())
            .with_context(|| path.display().to_string())
    }

    fn port(&self, name: &str) -> u16 {
        let at = PORTS.iter().position(|(port, _)| *port == name).expect("a port of the table");
        self.base_port.map_or(PORTS[at].1, |base| base + at as u16)
    }
}

/// One server of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// What it is called here, e.g. `msg_server_1`.
    pub(super) name: &'static str,
    /// The program, beside this one.
    pub(super) program: &'static str,
    /// Its configuration.
    pub(super) conf: PathBuf,
    /// Where it runs, with what it writes beside its log.
    pub(super) directory: PathBuf,
    /// The ports it listens on.
    pub(super) ports: Vec<u16>,
    /// Its administration port, as its configuration has it.
    pub(super) metrics: Option<SocketAddr>,
}

impl Service {
    /// Every port it listens on.
    pub(super) fn all_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().copied().chain(self.metrics.map(|addr| addr.port()))
    }
}

/// The directory of a cluster and everything in it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) var: PathBuf,
    pub(super) choice: Choice,
}

impl Layout {
    /// The cluster in `var`, or a new one with what is asked for.
    ///
    /// # Errors
    /// It is another one than is asked for, or files cannot be read or written.
    pub(super) fn open(var: &Path, asked: &Choice, is_asked: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(var).with_context(|| var.display().to_string())?;
        let var = var.canonicalize()?;
        let path = var.join("up.json");
        let known = Choice::read(&path)?;
        let is_new = known.is_none();
        let choice = match known {
            Some(known) if is_asked && known != *asked => bail!(
                "{} was made with other options; leave them away, or choose another --var",
                var.display()
            ),
            Some(known) => known,
            None => asked.clone(),
        };
        let last = PORTS.len() as u16 - 1;
        ensure!(
            choice.base_port.is_none_or(|base| base >= 1024 && base <= u16::MAX - last),
            "--base-port lies between 1024 and {}",
            u16::MAX - last
        );
        let this = Self { var, choice };
        for directory in ["conf", "log", "run", "offline_file", "msfs"] {
            let path = this.var.join(directory);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        for (file, text) in this.configurations()? {
            let path = this.var.join("conf").join(file);
            // Whatever was changed in there stays.
            if !path.exists() {
                write_private(&path, text.as_bytes())
                    .with_context(|| path.display().to_string())?;
            }
        }
        if is_new {
            this.choice.write(&path)?;
        }
        Ok(this)
    }

    /// The cluster in `var`, if there is one.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub(super) fn find(var: &Path) -> anyhow::Result<Self> {
        let choice = Choice::read(&var.join("up.json"))?.with_context(|| {
            format!("there is no cluster in {}; `teamtalk up` makes one", var.display())
        })?;
        Ok(Self { var: var.canonicalize()?, choice })
    }

    /// The HTTP address of login_server.
    pub(super) fn login_server(&self) -> String {
        format!("{}:{}", self.choice.address, self.choice.port("login_server, HTTP"))
    }

    /// The servers in the order in which they are started; they are stopped in the reverse one.
    pub(super) fn services(&self) -> Vec<Service> {
        const SERVICES: [(&str, &str, &str, &[&str]); 9] = [
            ("db_proxy_server", "db_proxy_server", "dbproxyserver.conf", &["db_proxy_server"]),
            ("route_server", "route_server", "routeserver.conf", &["route_server"]),
            (
                "file_server",
                "file_server",
                "fileserver.conf",
                &["file_server, clients", "file_server, msg_servers"],
            ),
            ("msfs", "msfs", "msfs.conf", &["msfs"]),
            ("push_server", "push_server", "pushserver.conf", &["push_server"]),
            (
                "login_server",
                "login_server",
                "loginserver.conf",
                &["login_server, HTTP", "login_server, PDU", "login_server, msg_servers"],
            ),
            ("msg_server_1", "msg_server", "msgserver_1.conf", &["msg_server_1"]),
            ("msg_server_2", "msg_server", "msgserver_2.conf", &["msg_server_2"]),
            ("http_msg_server", "http_msg_server", "httpmsgserver.conf", &["http_msg_server"]),
        ];
        let service = |(name, program, conf, ports): (_, _, &str, &[&str])| {
            let conf = self.var.join("conf").join(conf);
            Service {
                name,
                program,
                metrics: metrics_listen(&conf),
                conf,
                directory: self.var.join("run").join(name),
                ports: ports.iter().map(|port| self.choice.port(port)).collect(),
            }
        };
        SERVICES.map(service).to_vec()
    }

    /// The configurations of a new cluster: the samples with addresses, paths and secrets of its
    /// own.
    fn configurations(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut confs = self.samples()?;
        for (name, _, conf) in &mut confs {
            let port = self.choice.port(&format!("{name}, metrics"));
            conf.set("MetricsListen", &format!("127.0.0.1:{port}"));
        }
        Ok(confs.into_iter().map(|(_, file, conf)| (file, conf.0)).collect())
    }

    /// Server, name of the file, and what it says but for the administration port.
    fn samples(&self) -> anyhow::Result<Vec<(&'static str, &'static str, Conf)>> {
        let port = |name: &str| self.choice.port(name).to_string();
        let path = |name: &str| self.var.join(name).display().to_string();
        let address = self.choice.address.to_string();
        // Listening there is what the samples do for internal ports; for clients it is enough as
        // long as they are on this machine.
        let listen = if self.choice.address.is_loopback() { "127.0.0.1" } else { "0.0.0.0" };

        let mut db = Conf::new(include_str!("../../../conf/dbproxyserver.conf"));
        db.set("ListenPort", &port("db_proxy_server"));
        db.set("MsfsSite", &format!("127.0.0.1:{}", port("msfs")));
        self.set_storage(&mut db)?;
        let mut route = Conf::new(include_str!("../../../conf/routeserver.conf"));
        route.set("ListenMsgPort", &port("route_server"));
        let mut file = Conf::new(include_str!("../../../conf/fileserver.conf"));
        file.set("FileServerIp", &address);
        file.set("ClientListenIP", listen);
        file.set("ClientListenPort", &port("file_server, clients"));
        file.set("MsgServerListenPort", &port("file_server, msg_servers"));
        file.set("OfflineFileDir", &path("offline_file"));
        let mut msfs = Conf::new(include_str!("../../../conf/msfs.conf"));
        msfs.set("ListenIP", listen);
        msfs.set("ListenPort", &port("msfs"));
        msfs.set("BaseDir", &path("msfs"));
        // Dry: it says what it would send.
        let mut push = Conf::new(include_str!("../../../conf/pushserver.conf"));
        push.set("ListenPort", &port("push_server"));
        let mut login = Conf::new(include_str!("../../../conf/loginserver.conf"));
        login.set("ClientListenIP", listen);
        login.set("ClientPort", &port("login_server, PDU"));
        login.set("HttpListenIP", listen);
        login.set("HttpPort", &port("login_server, HTTP"));
        login.set("MsgServerPort", &port("login_server, msg_servers"));
        login.set("msfs", &format!("http://{address}:{}/", port("msfs")));
        let msg = |name: &str| {
            let mut msg = Conf::new(include_str!("../../../conf/msgserver.conf"));
            msg.set("ListenIP", listen);
            msg.set("ListenPort", &port(name));
            msg.set("IpAddr1", &address);
            msg.set("IpAddr2", &address);
            msg.set("DBServerPort1", &port("db_proxy_server"));
            msg.set("LoginServerPort1", &port("login_server, msg_servers"));
            msg.set("RouteServerPort1", &port("route_server"));
            msg.set("MaxConnCnt", "10000");
            msg.set("PushServerPort1", &port("push_server"));
            msg.set("FileServerPort1", &port("file_server, msg_servers"));
            msg
        };
        let mut http = Conf::new(include_str!("../../../conf/httpmsgserver.conf"));
        http.set("ListenPort", &port("http_msg_server"));
        http.set("AppKey1", &Uuid::new_v4().simple().to_string());
        http.set("AppAllowIP1", "127.0.0.1");
        http.set("DBServerPort1", &port("db_proxy_server"));
        http.set("RouteServerPort1", &port("route_server"));
        Ok(vec![
            ("db_proxy_server", "dbproxyserver.conf", db),
            ("route_server", "routeserver.conf", route),
            ("file_server", "fileserver.conf", file),
            ("msfs", "msfs.conf", msfs),
            ("push_server", "pushserver.conf", push),
            ("login_server", "loginserver.conf", login),
            ("msg_server_1", "msgserver_1.conf", msg("msg_server_1")),
            ("msg_server_2", "msgserver_2.conf", msg("msg_server_2")),
            ("http_msg_server", "httpmsgserver.conf", http),
        ])
    }

    fn set_storage(&self, db: &mut Conf) -> anyhow::Result<()> {
        let file = self.var.join("teamtalk.db").display().to_string();
        for pool in ["teamtalk_master", "teamtalk_slave"] {
            match &self.choice.mysql {
                None => db.set(&format!("{pool}_path"), &file),
                Some(url) => {
                    let server = Url::parse("mysql", url)?;
                    db.set(&format!("{pool}_driver"), "mysql");
                    db.set(&format!("{pool}_host"), &server.host);
                    db.set(&format!("{pool}_port"), &server.port.unwrap_or(3306).to_string());
                    db.set(&format!("{pool}_dbname"), server.path.as_deref().unwrap_or("teamtalk"));
                    db.set(&format!("{pool}_username"), server.user.as_deref().unwrap_or("root"));
                    db.set(&format!("{pool}_password"), server.password.as_deref().unwrap_or(""));
                    db.set(&format!("{pool}_maxconncnt"), "16");
                }
            }
        }
        for pool in ["unread", "group_set", "sync", "token", "group_member"] {
            match &self.choice.redis {
                None => db.set(&format!("{pool}_path"), &file),
                Some(url) => {
                    let server = Url::parse("redis", url)?;
                    db.set(&format!("{pool}_driver"), "redis");
                    db.set(&format!("{pool}_host"), &server.host);
                    db.set(&format!("{pool}_port"), &server.port.unwrap_or(6379).to_string());
                    if let Some(user) = server.user.filter(|user| !user.is_empty()) {
                        db.set(&format!("{pool}_username"), &user);
                    }
                    if let Some(password) = server.password {
                        db.set(&format!("{pool}_password"), &password);
                    }
                    db.set(&format!("{pool}_maxconncnt"), "16");
                }
            }
        }
        Ok(())
    }
}

/// The administration port that a configuration names; clusters of older versions have none.
fn metrics_listen(conf: &Path) -> Option<SocketAddr> {
    ConfigFileReader::load(conf).ok()?.value("MetricsListen")?.parse().ok()
}

/// The text of a configuration file.
struct Conf(String);

impl Conf {
    fn new(sample: &str) -> Self {
        Self(sample.to_owned())
    }

    /// Gives a key its value where it stands, or where the sample mentions it, else at the end.
    fn set(&mut self, key: &str, value: &str) {
        let is_it = |line: &str, start: &str| {
            line.strip_prefix(start).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let mut lines: Vec<&str> = self.0.lines().collect();
        let mentioned = format!("#{key}");
        let at = lines
            .iter()
            .position(|line| is_it(line, key))
            .or_else(|| lines.iter().position(|line| is_it(line, &mentioned)));
        let line = format!("{key}={value}");
        match at {
            Some(at) => lines[at] = &line,
            None => lines.push(&line),
        }
        self.0 = lines.join("\n") + "\n";
    }
}

/// `scheme://[user[:password]@]host[:port][/path]`
#[derive(Debug, Eq, PartialEq)]
struct Url {
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    path: Option<String>,
}

impl Url {
    fn parse(scheme: &str, url: &str) -> anyhow::Result<Self> {
        let wrong = || format!("--{scheme} wants {scheme}://[user:password@]host[:port]");
        let rest = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        let rest = rest.with_context(wrong)?;
        // The last one: a password may have such a character.
        let (account, rest) = match rest.rsplit_once('@') {
            Some((account, rest)) => (Some(account), rest),
            None => (None, rest),
        };
        let (user, password) = match account.map(|account| account.split_once(':')) {
            Some(Some((user, password))) => (Some(user.to_owned()), Some(password.to_owned())),
            Some(None) => (account.map(str::to_owned), None),
            None => (None, None),
        };
        let (place, path) = match rest.split_once('/') {
            Some((place, path)) => (place, Some(path.to_owned()).filter(|path| !path.is_empty())),
            None => (rest, None),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().with_context(wrong)?)),
            None => (place, None),
        };
        ensure!(!host.is_empty(), wrong());
        Ok(Self { user, password, host: host.to_owned(), port, path })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::db_proxy_server::DbProxyServerConfig;

    fn choice() -> Choice {
        let address = "127.0.0.1".parse().unwrap();
        Choice { base_port: None, address, mysql: None, redis: None }
    }

    fn port_of(layout: &Layout, file: &str, key: &str) -> u16 {
        ConfigFileReader::load(&layout.var.join("conf").join(file)).unwrap().get(key).unwrap()
    }

    #[test]
    fn a_new_cluster_has_the_ports_of_the_original_or_those_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::open(directory.path(), &choice(), false).unwrap();
        assert_eq!(layout.login_server(), "127.0.0.1:8080");
        assert_eq!(port_of(&layout, "msgserver_2.conf", "ListenPort"), 8001);
        let other = tempfile::tempdir().unwrap();
        let asked = Choice { base_port: Some(20_000), ..choice() };
        let layout = Layout::open(other.path(), &asked, true).unwrap();
        let ports: Vec<u16> = layout.services().iter().flat_map(Service::all_ports).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len(), "{ports:?}");
        assert!(ports.iter().all(|port| (20_000..20_021).contains(port)));
        assert!(layout.services().iter().all(|service| service.metrics.is_some()));
        assert_eq!(port_of(&layout, "msfs.conf", "ListenPort"), 20_009);
        let metrics = "127.0.0.1:20015".parse().ok();
        assert_eq!(layout.services()[1].metrics, metrics, "route_server");
        assert_eq!(port_of(&layout, "msgserver_1.conf", "DBServerPort1"), 20_006);
        assert_eq!(port_of(&layout, "dbproxyserver.conf", "ListenPort"), 20_006);
    }

    #[test]
    fn what_was_made_or_changed_stays() {
        let directory = tempfile::tempdir().unwrap();
        let asked = Choice { base_port: Some(20_000), ..choice() };
        let layout = Layout::open(directory.path(), &asked, true).unwrap();
        let path = layout.var.join("conf/routeserver.conf");
        fs::write(&path, "ListenIP=127.0.0.1\nListenMsgPort=1\n").unwrap();
        let again = Layout::open(directory.path(), &choice(), false).unwrap();
        assert_eq!(
            (again.choice, port_of(&layout, "routeserver.conf", "ListenMsgPort")),
            (asked, 1)
        );
        let error = Layout::open(directory.path(), &choice(), true).unwrap_err();
        assert!(error.to_string().contains("another --var"), "{error}");
        assert!(Layout::find(&directory.path().join("elsewhere")).is_err());
        let wrong = Choice { base_port: Some(65_530), ..choice() };
        let other = tempfile::tempdir().unwrap();
        assert!(Layout::open(other.path(), &wrong, true).is_err());
    }

    #[test]
    fn storage_on_servers_is_what_the_urls_say() {
        let directory = tempfile::tempdir().unwrap();
        let asked = Choice {
            mysql: Some("mysql://chat:p@ss:word@db.example:3307/talk".to_owned()),
            redis: Some("redis://cache.example".to_owned()),
            ..choice()
        };
        let layout = Layout::open(directory.path(), &asked, true).unwrap();
        let path = layout.var.join("conf/dbproxyserver.conf");
        let mut config = ConfigFileReader::load(&path).unwrap();
        for (key, value) in [
            ("teamtalk_master_host", "db.example"),
            ("teamtalk_slave_port", "3307"),
            ("teamtalk_master_dbname", "talk"),
            ("teamtalk_master_username", "chat"),
            ("teamtalk_master_password", "p@ss:word"),
            ("group_member_host", "cache.example"),
            ("unread_port", "6379"),
        ] {
            assert_eq!(config.get::<String>(key).unwrap(), value);
        }
        DbProxyServerConfig::read(&mut config).unwrap();
        for wrong in ["db.example", "mysql://", "redis://x", "mysql://x:y"] {
            assert!(Url::parse("mysql", wrong).is_err(), "{wrong}");
        }
    }
}
