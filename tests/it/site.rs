//! All the servers a chat needs, in one process, on ports of their own.

use std::net::SocketAddr;

use teamtalk::base::im_pdu::ImPdu;
use teamtalk::base::md5::md5_hex;
use teamtalk::client::{Client, ClientError, Login};
use teamtalk::db_proxy_server::{DbProxyServer, DbProxyServerConfig};
use teamtalk::login_server::{LoginServer, LoginServerConfig};
use teamtalk::msg_server::{MsgServer, MsgServerConfig};
use teamtalk::pb::base_define::ClientType;
use teamtalk::pb::cmd::*;
use teamtalk::pb::login::{ImMsgServReq, ImMsgServRsp};
use teamtalk::route_server::{RouteServer, RouteServerConfig};
use teamtalk::storage::DbManager;
use teamtalk::storage::db_conn::Transaction;
use teamtalk::storage::db_pool::TEAMTALK_MASTER;

use crate::backends::{MariaDb, Redis};
use crate::db_proxy_server::{embedded_pools, server_pools, text_with};
use crate::running::{Peer, Running, config, free_port};

/// The key of message texts.
pub const AES_KEY: &[u8] = b"12345678901234567890123456789012";

/// All servers but msg_servers. Users 1 to 9 exist, `user1` and so on, with the password `secret`.
pub struct Site {
    pub db: Running,
    pub login: Running,
    pub routes: Vec<Running>,
    /// The keys of db_proxy_server's storage.
    pub pools: String,
    /// Keys that every server's configuration has.
    common: String,
    _directory: tempfile::TempDir,
}

pub fn route_server_text(port: u16) -> String {
    format!("ListenIP=127.0.0.1\nListenMsgPort={port}\n")
}

pub fn route_server(port: u16) -> Running {
    start_route_server(&route_server_text(port))
}

fn start_route_server(text: &str) -> Running {
    let config = config(text, RouteServerConfig::read);
    Running::start(RouteServer::dispatch(&config).unwrap())
}

pub fn db_proxy_server(pools: &str, port: u16) -> Running {
    let text = text_with(pools).replace("ListenPort=0", &format!("ListenPort={port}"));
    let config = config(&text, DbProxyServerConfig::read);
    Running::start(DbProxyServer::dispatch(config, || 1_700_000_000).unwrap())
}

pub fn login_server_text(port: u16) -> String {
    format!(
        "ClientListenIP=127.0.0.1\nClientPort=0\nHttpListenIP=127.0.0.1\nHttpPort=0\n\
         MsgServerListenIP=127.0.0.1\nMsgServerPort={port}\nmsfs=http://m/\n\
         discovery=http://d/\n"
    )
}

/// Its addresses: for msg_servers, for clients, and for clients that speak HTTP.
pub fn login_server(port: u16) -> Running {
    start_login_server(&login_server_text(port))
}

fn start_login_server(text: &str) -> Running {
    let config = config(text, LoginServerConfig::read);
    let (dispatch, srv, addrs) = LoginServer::dispatch(&config).unwrap();
    Running::start((dispatch, srv, vec![addrs.msg_server[0], addrs.client[0], addrs.http[0]]))
}

/// With more keys; the first one counts.
pub fn msg_server(db: SocketAddr, login: SocketAddr, routes: &[SocketAddr], more: &str) -> Running {
    let text = more.to_owned() + &msg_server_text(&[db], &[login], routes);
    Running::start(MsgServer::dispatch(&config(&text, MsgServerConfig::read)).unwrap())
}

/// The configuration of a msg_server that uses these servers.
pub fn msg_server_text(dbs: &[SocketAddr], logins: &[SocketAddr], routes: &[SocketAddr]) -> String {
    let mut text = "ListenIP=127.0.0.1\nListenPort=0\nIpAddr1=127.0.0.1\nMaxConnCnt=100\n\
                    aesKey=12345678901234567890123456789012\nConcurrentDBConnCnt=2\n"
        .to_owned();
    for (kind, addrs) in [("DB", dbs), ("Login", logins), ("Route", routes)] {
        for (at, addr) in addrs.iter().enumerate() {
            let (number, port) = (at + 1, addr.port());
            text += &format!("{kind}ServerIP{number}=127.0.0.1\n{kind}ServerPort{number}={port}\n");
        }
    }
    text
}

/// Users who are called `user` and their id, with the password `secret`.
pub fn add_users(pools: &str, ids: impl IntoIterator<Item = u32>) {
    let db = config(pools, DbManager::from_config);
    let mut conn = db.db_conn(TEAMTALK_MASTER).unwrap();
    let mut conn = Transaction::begin(&mut *conn).unwrap();
    let password = md5_hex(format!("{}77", md5_hex(b"secret")).as_bytes());
    for id in ids {
        let sql = "insert into IMUser (id, name, password, salt, departId, nick, created, \
                   updated) values (?, ?, ?, '77', 1, ?, 1, 1)";
        let (name, nick) = (format!("user{id}"), format!("nick{id}"));
        let values = [id.into(), name.into(), password.clone().into(), nick.into()];
        conn.execute_update(sql, &values).unwrap();
    }
    conn.commit().unwrap();
}

impl Site {
    /// On embedded storage.
    pub fn new(routes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::with_pools(routes, embedded_pools(&directory), "", directory)
    }

    /// On embedded storage, with keys that every server's configuration has.
    pub fn with_common(common: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::with_pools(1, embedded_pools(&directory), common, directory)
    }

    /// On MariaDB and Redis. Redis has 64 databases; `redis_db` is one nobody else uses.
    pub fn on_servers(routes: usize, name: &str, redis_db: u32) -> Self {
        let db = MariaDb::shared().database(name);
        let pools = server_pools(&db, &Redis::shared().config(redis_db));
        Self::with_pools(routes, pools, "", tempfile::tempdir().unwrap())
    }

    fn with_pools(
        routes: usize,
        pools: String,
        common: &str,
        directory: tempfile::TempDir,
    ) -> Self {
        let route = || start_route_server(&(route_server_text(free_port()) + common));
        let site = Self {
            db: db_proxy_server(&(pools.clone() + common), free_port()),
            login: start_login_server(&(login_server_text(free_port()) + common)),
            routes: (0..routes).map(|_| route()).collect(),
            pools,
            common: common.to_owned(),
            _directory: directory,
        };
        site.add_users(1..10);
        site
    }

    pub fn add_users(&self, ids: impl IntoIterator<Item = u32>) {
        add_users(&self.pools, ids);
    }

    pub fn msg_server(&self) -> Running {
        self.msg_server_with("")
    }

    pub fn ask_login_server(&self) -> ImMsgServRsp {
        let mut peer = Peer::connect(self.login.addrs[1]);
        peer.send(&ImPdu::encode(SID_LOGIN, CID_LOGIN_REQ_MSGSERVER, 1, &ImMsgServReq::default()));
        peer.receive().as_pdu().decode().unwrap()
    }

    /// With more keys; the first one counts.
    pub fn msg_server_with(&self, more: &str) -> Running {
        let routes: Vec<_> = self.routes.iter().map(|route| route.addrs[0]).collect();
        let more = self.common.clone() + more;
        msg_server(self.db.addrs[0], self.login.addrs[0], &routes, &more)
    }
}

/// The user is logged in. A msg_server that was just started may lack a server still: then again.
#[track_caller]
pub fn log_in(addr: SocketAddr, user_id: u32, client_type: ClientType) -> Client {
    let login = Login::new(&format!("user{user_id}"), "secret").with_client_type(client_type);
    loop {
        let mut client = Client::connect(&addr.to_string(), AES_KEY).unwrap();
        match client.login(&login) {
            Ok(user) => {
                assert_eq!(user.user_id, user_id);
                return client;
            }
            Err(ClientError::Refused { code: 3..=5, .. }) => pause(),
            Err(error) => panic!("login refused: {error}"),
        }
    }
}

/// Between two attempts at something that will work at some time.
pub fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}
