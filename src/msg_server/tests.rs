//! A msg_server without sockets, for the tests of all handlers, and its configuration.

mod lives;
mod reload;

use std::ops::{Deref, DerefMut};
use std::path::Path;

use prost::Message;

use super::db_serv_conn::DbServConn;
use super::file_serv_conn::FileServConn;
use super::login_serv_conn::LoginServConn;
use super::push_serv_conn::PushServConn;
use super::route_serv_conn::RouteServConn;
use super::*;
use crate::base::command_line::CommonOptions;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader};
use crate::netlib::testing::TestBed;
use crate::netlib::tls::with_tls_files;
use crate::netlib::{ConnHandler, NetHandle};
use crate::pb::base_define::{ClientType, UserInfo, UserStatType};
use crate::pb::cmd::*;
use crate::pb::login::{ImLoginReq, ImLoginRes};
use crate::pb::server::{ImValidateReq, ImValidateRsp};

const SAMPLE: &str = include_str!("../../conf/msgserver.conf");

/// Unix seconds of all tests.
pub(super) const NOW: u32 = 1_700_000_000;
pub(super) const WINDOWS: ClientType = ClientType::Windows;
pub(super) const MAC: ClientType = ClientType::Mac;
pub(super) const IOS: ClientType = ClientType::Ios;
pub(super) const ANDROID: ClientType = ClientType::Android;

/// One of each server unless a test says otherwise.
const ONE_OF_EACH: &str = "ListenIP=127.0.0.1\nListenPort=8000\nIpAddr1=192.0.2.1\n\
    IpAddr2=192.0.2.2\nMaxConnCnt=1000\naesKey=12345678901234567890123456789012\n\
    ConcurrentDBConnCnt=1\nDBServerIP1=127.0.0.1\nDBServerPort1=10600\n\
    LoginServerIP1=127.0.0.1\nLoginServerPort1=8100\nRouteServerIP1=127.0.0.1\n\
    RouteServerPort1=8200\nPushServerIP1=127.0.0.1\nPushServerPort1=8500\n\
    FileServerIP1=127.0.0.1\nFileServerPort1=8601\n";

/// A msg_server and the connections to its servers, in the order of the configuration.
pub(super) struct Bed {
    bed: TestBed<MsgServer>,
    pub(super) db: Vec<NetHandle>,
    pub(super) login: Vec<NetHandle>,
    pub(super) route: Vec<NetHandle>,
    pub(super) file: Vec<NetHandle>,
    pub(super) push: Vec<NetHandle>,
}

impl Deref for Bed {
    type Target = TestBed<MsgServer>;

    fn deref(&self) -> &Self::Target {
        &self.bed
    }
}

impl DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.bed
    }
}

/// With all servers connected.
pub(super) fn bed() -> Bed {
    bed_with("")
}

/// The same with more keys; the first one counts.
pub(super) fn bed_with(more: &str) -> Bed {
    let mut bed = bed_alone(more);
    for conn in bed.db.clone() {
        bed.confirm::<DbServConn>(conn);
    }
    for conn in bed.login.clone() {
        bed.confirm::<LoginServConn>(conn);
    }
    for conn in bed.route.clone() {
        bed.confirm::<RouteServConn>(conn);
    }
    for conn in bed.file.clone() {
        bed.confirm::<FileServConn>(conn);
    }
    for conn in bed.push.clone() {
        bed.confirm::<PushServConn>(conn);
    }
    bed.forget_sent();
    bed
}

/// No connection is established yet.
pub(super) fn bed_alone(more: &str) -> Bed {
    let text = [more, ONE_OF_EACH].concat();
    let config = MsgServerConfig::read(&mut config(&text)).unwrap();
    let srv = MsgServer::new(&config, || u64::from(NOW) * 1000).unwrap();
    let mut bed = TestBed::new(srv);
    bed.srv.init(&mut bed.net);
    let srv = &bed.srv;
    let sorted = |mut conns: Vec<NetHandle>| {
        conns.sort_by_key(|conn| conn.index());
        conns
    };
    let (db, login) = (srv.db_servers.conns.handles(), srv.login_servers.handles());
    let (route, file) = (srv.route_servers.conns.handles(), srv.file_servers.conns.handles());
    let push = sorted(srv.push_servers.conns.handles());
    let [db, login, route, file] = [db, login, route, file].map(sorted);
    Bed { bed, db, login, route, file, push }
}

impl Bed {
    pub(super) fn confirm<H: ConnHandler<Server = MsgServer>>(&mut self, conn: NetHandle) {
        self.bed.confirm::<H>(conn);
    }

    /// Nothing that was sent so far is of interest.
    pub(super) fn forget_sent(&mut self) {
        let servers = [&self.db, &self.login, &self.route, &self.file, &self.push];
        let clients = self.srv.msg_conns.handles();
        let conns: Vec<_> = servers.into_iter().flatten().copied().chain(clients).collect();
        for conn in conns {
            self.sent(conn);
        }
    }

    pub(super) fn client(&mut self) -> NetHandle {
        self.accept::<MsgConn>()
    }

    /// A client sends a request.
    pub(super) fn ask(
        &mut self,
        conn: NetHandle,
        command_id: u16,
        msg: &impl Message,
    ) -> Result<(), PduError> {
        self.receive::<MsgConn>(conn, &request(command_id, msg))
    }

    /// db_proxy_server answers.
    pub(super) fn db_says(&mut self, command_id: u16, msg: &impl Message) {
        let db = self.db[0];
        self.receive::<DbServConn>(db, &request(command_id, msg)).unwrap();
    }

    /// route_server passes something on.
    pub(super) fn route_says(&mut self, command_id: u16, msg: &impl Message) {
        let route = self.route[0];
        self.receive::<RouteServConn>(route, &request(command_id, msg)).unwrap();
    }

    /// The one PDU that was sent there since the last look, which is this command.
    #[track_caller]
    pub(super) fn one_pdu(&mut self, conn: NetHandle, command_id: u16) -> ImPdu {
        let mut sent = self.sent(conn);
        assert_eq!(ids(&sent), [command_id]);
        sent.remove(0)
    }

    #[track_caller]
    pub(super) fn one<M: Message + Default>(&mut self, conn: NetHandle, command_id: u16) -> M {
        self.one_pdu(conn, command_id).as_pdu().decode().unwrap()
    }

    #[track_caller]
    pub(super) fn assert_silent(&mut self, conn: NetHandle) {
        let sent = self.sent(conn);
        assert_eq!(ids(&sent), [] as [u16; 0]);
    }

    /// A client asks to log in, and db_proxy_server is asked.
    #[track_caller]
    pub(super) fn ask_login(
        &mut self,
        user_id: u32,
        client_type: ClientType,
    ) -> (NetHandle, ImValidateReq) {
        self.ask_login_with(&login_req(user_id, client_type))
    }

    #[track_caller]
    pub(super) fn ask_login_with(&mut self, req: &ImLoginReq) -> (NetHandle, ImValidateReq) {
        let conn = self.client();
        self.ask(conn, CID_LOGIN_REQ_USERLOGIN, req).unwrap();
        let db = self.db[0];
        let req = self.one(db, CID_OTHER_VALIDATE_REQ);
        (conn, req)
    }

    /// A logged-in client; nothing of the login is left to be looked at.
    #[track_caller]
    pub(super) fn log_in(&mut self, user_id: u32, client_type: ClientType) -> NetHandle {
        let (conn, req) = self.ask_login(user_id, client_type);
        self.db_says(CID_OTHER_VALIDATE_RSP, &validated(user_id, &req));
        let sent = self.sent(conn);
        let res: ImLoginRes = sent.last().unwrap().as_pdu().decode().unwrap();
        assert_eq!(res.result_code, 0);
        self.forget_sent();
        conn
    }
}

pub(super) fn ids(pdus: &[ImPdu]) -> Vec<u16> {
    pdus.iter().map(|pdu| pdu.as_pdu().command_id()).collect()
}

/// With sequence number 42.
pub(super) fn request(command_id: u16, msg: &impl Message) -> ImPdu {
    ImPdu::encode_with(PduHeader::new(command_id >> 8, command_id, 42), msg)
}

pub(super) fn login_req(user_id: u32, client_type: ClientType) -> ImLoginReq {
    ImLoginReq {
        user_name: format!("user{user_id}"),
        password: "0123456789abcdef0123456789abcdef".to_owned(),
        online_status: UserStatType::UserStatusOnline.into(),
        client_type: client_type.into(),
        client_version: None,
    }
}

/// What db_proxy_server answers to a right password.
pub(super) fn validated(user_id: u32, req: &ImValidateReq) -> ImValidateRsp {
    ImValidateRsp {
        user_name: req.user_name.clone(),
        result_code: 0,
        result_string: Some("ok".to_owned()),
        user_info: Some(UserInfo {
            user_id,
            user_nick_name: format!("nick{user_id}"),
            ..UserInfo::default()
        }),
        attach_data: req.attach_data.clone(),
    }
}

fn config(text: &str) -> ConfigFileReader {
    ConfigFileReader::parse(Path::new("msgserver.conf"), text.as_bytes())
}

#[test]
fn the_sample_configuration_is_complete() {
    let read = |text: &str| {
        let mut config = config(text);
        CommonOptions::read(&mut config).unwrap();
        let read = MsgServerConfig::read(&mut config).unwrap();
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        read
    };
    let plain = read(SAMPLE);
    assert_eq!((plain.listen.port, plain.max_conn_cnt), (Some(8000), 100_000));
    assert_eq!((plain.db_servers.len(), plain.concurrent_db_conn_cnt.get()), (1, 2));
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
    assert!(full.listen.tls.is_some() && full.peer_tls.is_some());
    let counts = [&full.db_servers, &full.login_servers, &full.route_servers, &full.file_servers]
        .map(Vec::len);
    assert_eq!(counts, [2, 2, 2, 2]);
    assert_eq!(full.max_msg_cnt_per_second, msg_conn::MAX_MSG_CNT_PER_SECOND);
}

#[test]
fn a_configuration_of_the_original_is_read() {
    let mut config = config(
        "ListenIP=0.0.0.0\nListenPort=8000\n\nConcurrentDBConnCnt=1\nDBServerIP1=127.0.0.1\n\
         DBServerPort1=10600\nDBServerIP2=127.0.0.1\nDBServerPort2=10600\n\n\
         LoginServerIP1=localhost\nLoginServerPort1=8100\n#LoginServerIP2=localhost\n\
         RouteServerIP1=localhost\nRouteServerPort1=8200\nPushServerIP1=localhost\n\
         PushServerPort1=8500\nFileServerIP1=localhost\nFileServerPort1=8601\n\
         IpAddr1=192.168.226.128\t#telecom\nMaxConnCnt=100000\n\n# AES key\n\
         aesKey=12345678901234567890123456789012\n",
    );
    let read = MsgServerConfig::read(&mut config).unwrap();
    assert_eq!(
        (read.ip_addr1.as_str(), read.ip_addr2.as_str()),
        ("192.168.226.128", "192.168.226.128")
    );
    assert_eq!((read.db_servers.len(), read.push_servers.len()), (2, 1));
}

#[test]
fn f51_what_is_missing_is_named_and_a_wrong_key_refused() {
    for key in ["ListenIP", "ListenPort", "IpAddr1", "MaxConnCnt", "aesKey", "DBServerIP1"] {
        let line = |line: &&str| !line.starts_with(&format!("{key}="));
        let text: Vec<_> = ONE_OF_EACH.lines().filter(line).collect();
        let error = MsgServerConfig::read(&mut config(&text.join("\n"))).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    let text = ["aesKey=short\n", ONE_OF_EACH].concat();
    let read = MsgServerConfig::read(&mut config(&text)).unwrap();
    let error = MsgServer::dispatch(&read).unwrap_err().to_string();
    assert!(error.contains("aesKey") && !error.contains("short"), "{error}");
}
