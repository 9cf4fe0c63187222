//! A file_server without sockets, for the tests of its handlers.

mod lives;

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::{fs, thread};

use prost::Message;

use super::*;
use crate::base::config_file_reader::ConfigFileReader;
use crate::base::im_pdu::ImPdu;
use crate::netlib::NetHandle;
use crate::netlib::testing::TestBed;
use crate::pb::base_define::{ClientFileRole, ClientFileState, TransferFileType};
use crate::pb::cmd::*;
use crate::pb::file::*;
use crate::pb::server::{
    ImFileServerIpReq, ImFileServerIpRsp, ImFileTransferReq, ImFileTransferRsp,
};

pub(super) const SENDER: ClientFileRole = ClientFileRole::ClientRealtimeSender;
pub(super) const RECVER: ClientFileRole = ClientFileRole::ClientRealtimeRecver;
pub(super) const UPLOAD: ClientFileRole = ClientFileRole::ClientOfflineUpload;
pub(super) const DOWNLOAD: ClientFileRole = ClientFileRole::ClientOfflineDownload;
pub(super) const ONLINE: TransferFileType = TransferFileType::FileTypeOnline;
pub(super) const OFFLINE: TransferFileType = TransferFileType::FileTypeOffline;
pub(super) const PEER_READY: ClientFileState = ClientFileState::ClientFilePeerReady;
pub(super) const CANCEL: ClientFileState = ClientFileState::ClientFileCancel;
pub(super) const REFUSE: ClientFileState = ClientFileState::ClientFileRefuse;
pub(super) const DONE: ClientFileState = ClientFileState::ClientFileDone;

thread_local! {
    /// Unix seconds of a test.
    static NOW: Cell<u32> = const { Cell::new(1_700_000_000) };
}

/// A file_server and a msg_server. User 1 sends, user 2 receives.
pub(super) struct Bed {
    bed: TestBed<FileServer>,
    pub(super) dir: tempfile::TempDir,
    msg_server: NetHandle,
}

impl Deref for Bed {
    type Target = TestBed<FileServer>;

    fn deref(&self) -> &Self::Target {
        &self.bed
    }
}

impl DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.bed
    }
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// With more keys; the first one counts.
    pub(super) fn with(more: &str) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), more)
    }

    fn in_dir(dir: tempfile::TempDir, more: &str) -> Self {
        let text = format!(
            "{more}FileServerIp=192.0.2.1;192.0.2.2\nClientListenIP=127.0.0.1\n\
             ClientListenPort=0\nMsgServerListenIP=127.0.0.1\nMsgServerListenPort=0\n\
             TaskTimeout=60\nOfflineFileDir={}\n",
            dir.path().display()
        );
        let mut config = ConfigFileReader::parse(Path::new("test.conf"), text.as_bytes());
        let config = FileServerConfig::read(&mut config).unwrap();
        let (_, srv, _) = FileServer::dispatch(&config, || NOW.get()).unwrap();
        let mut bed = TestBed::new(srv);
        FileServer::init(&mut bed.net);
        let msg_server = bed.accept::<FileMsgServerConn>();
        Self { bed, dir, msg_server }
    }

    /// The server stops and starts again.
    pub(super) fn restart(self) -> Self {
        self.restart_with("")
    }

    /// The same with another configuration.
    pub(super) fn restart_with(self, more: &str) -> Self {
        let Self { bed, dir, .. } = self;
        drop(bed);
        Self::in_dir(dir, more)
    }

    /// Time passes, for the clock of the world too. Clients in between send heartbeats.
    pub(super) fn pass_s(&mut self, seconds: u32) {
        for _ in 0..seconds {
            let conns: Vec<_> = self.srv.file_client_conns.handles().collect();
            for conn in conns {
                self.client_sends(conn, CID_OTHER_HEARTBEAT, 0, &());
                let beats = self.sent(conn);
                assert!(beats.iter().all(|p| p.as_pdu().command_id() == CID_OTHER_HEARTBEAT));
            }
            let msg_server = self.msg_server;
            self.receive_from_msg_server(CID_OTHER_HEARTBEAT, 0, &());
            self.sent(msg_server);
            NOW.set(NOW.get() + 1);
            self.pass_ms(1000);
        }
    }

    /// A long time passes, and nobody is there.
    pub(super) fn skip_s(&mut self, seconds: u32) {
        NOW.set(NOW.get() + seconds);
        self.pass_ms(u64::from(seconds) * 1000);
    }

    /// Until workers have nothing to do, and the loop has taken what they did.
    pub(super) fn settle(&mut self) {
        while !self.srv.disk.is_idle() {
            disk::disk_loop_callback(&mut self.bed.cx());
            thread::yield_now();
        }
    }

    fn receive_from_msg_server(&mut self, command_id: u16, seq_num: u16, msg: &impl Message) {
        // It may have been given up for its silence.
        if !self.net.is_open(self.msg_server) {
            self.msg_server = self.accept::<FileMsgServerConn>();
        }
        let pdu = ImPdu::encode(SID_OTHER, command_id, seq_num, msg);
        let conn = self.msg_server;
        self.receive::<FileMsgServerConn>(conn, &pdu).unwrap();
    }

    pub(super) fn ask(&mut self, req: &ImFileTransferReq) -> ImFileTransferRsp {
        self.receive_from_msg_server(CID_OTHER_FILE_TRANSFER_REQ, 7, req);
        let conn = self.msg_server;
        let pdus = self.sent(conn);
        let [pdu] = &pdus[..] else { panic!("{pdus:?}") };
        let pdu = pdu.as_pdu();
        assert_eq!((pdu.command_id(), pdu.seq_num()), (CID_OTHER_FILE_TRANSFER_RSP, 7));
        pdu.decode().unwrap()
    }

    /// A transfer from user 1 to user 2: its task id.
    pub(super) fn announce(&mut self, mode: TransferFileType, file_size: u32) -> String {
        self.try_announce(mode, 1, file_size).unwrap()
    }

    pub(super) fn try_announce(
        &mut self,
        mode: TransferFileType,
        from_user_id: u32,
        file_size: u32,
    ) -> Option<String> {
        let rsp = self.ask(&ImFileTransferReq {
            from_user_id,
            to_user_id: 2,
            file_name: b"name"[..].into(),
            file_size,
            trans_mode: mode.into(),
            attach_data: None,
        });
        (rsp.result_code == 0).then(|| rsp.task_id.unwrap())
    }

    pub(super) fn client(&mut self) -> NetHandle {
        self.accept::<FileClientConn>()
    }

    pub(super) fn client_sends(
        &mut self,
        conn: NetHandle,
        command_id: u16,
        seq_num: u16,
        msg: &impl Message,
    ) {
        let pdu = ImPdu::encode(command_id >> 8, command_id, seq_num, msg);
        self.receive::<FileClientConn>(conn, &pdu).unwrap();
    }

    /// What the client got; the connection is looked at as well.
    pub(super) fn got(&mut self, conn: NetHandle) -> Vec<Got> {
        self.sent(conn).iter().map(Got::of).collect()
    }

    pub(super) fn log_in(
        &mut self,
        user_id: u32,
        role: ClientFileRole,
        task_id: &str,
    ) -> (NetHandle, Vec<Got>) {
        let conn = self.client();
        let msg = ImFileLoginReq { user_id, task_id: task_id.to_owned(), file_role: role.into() };
        self.client_sends(conn, CID_FILE_LOGIN_REQ, 3, &msg);
        self.settle();
        let got = self.got(conn);
        (conn, got)
    }

    /// Logged in, and told so.
    #[track_caller]
    pub(super) fn enter(&mut self, role: ClientFileRole, task_id: &str) -> NetHandle {
        let user_id = if transfer_task::is_sender(role) { 1 } else { 2 };
        let (conn, got) = self.log_in(user_id, role, task_id);
        assert_eq!(got.first(), Some(&Got::Login(3, 0)), "{role:?}");
        conn
    }

    #[track_caller]
    pub(super) fn assert_refused(&mut self, user_id: u32, role: ClientFileRole, task_id: &str) {
        let (conn, got) = self.log_in(user_id, role, task_id);
        assert_eq!(got, [Got::Login(3, 1)]);
        assert!(!self.net.is_open(conn));
    }

    pub(super) fn pull(
        &mut self,
        conn: NetHandle,
        task_id: &str,
        seq_num: u16,
        (offset, data_size): (u32, u32),
    ) {
        let msg = ImFilePullDataReq {
            task_id: task_id.to_owned(),
            user_id: 2,
            trans_mode: OFFLINE.into(),
            offset,
            data_size,
        };
        self.client_sends(conn, CID_FILE_PULL_DATA_REQ, seq_num, &msg);
    }

    pub(super) fn block(&mut self, conn: NetHandle, task_id: &str, offset: u32, data: &[u8]) {
        let msg = ImFilePullDataRsp {
            result_code: 0,
            task_id: task_id.to_owned(),
            user_id: 1,
            offset,
            file_data: data.to_vec().into(),
        };
        self.client_sends(conn, CID_FILE_PULL_DATA_RSP, 99, &msg);
    }

    pub(super) fn state(
        &mut self,
        conn: NetHandle,
        task_id: &str,
        user_id: u32,
        state: ClientFileState,
    ) {
        let msg = ImFileState { state: state.into(), task_id: task_id.to_owned(), user_id };
        self.client_sends(conn, CID_FILE_STATE, 0, &msg);
    }

    /// Sends a file of user 1 for user 2 to the server, whole.
    pub(super) fn store(&mut self, content: &[u8]) -> String {
        let task_id = self.announce(OFFLINE, content.len() as u32);
        let conn = self.enter_upload(&task_id, 0, content.len() as u32);
        self.upload(conn, &task_id, 0, content);
        assert_eq!(self.got(conn), [Got::State(DONE, 1)]);
        assert!(!self.net.is_open(conn));
        task_id
    }

    /// Logged in as uploader and asked for the block at this offset.
    #[track_caller]
    pub(super) fn enter_upload(&mut self, task_id: &str, offset: u32, size: u32) -> NetHandle {
        let (conn, got) = self.log_in(1, UPLOAD, task_id);
        assert_eq!(got[0], Got::Login(3, 0));
        if offset < size {
            let len = (size - offset).min(transfer_task::SEGMENT_SIZE);
            assert_eq!(got[1], Got::Pull(0, offset, len));
        }
        conn
    }

    /// Answers with all blocks from the offset on that the server has asked for.
    pub(super) fn upload(&mut self, conn: NetHandle, task_id: &str, offset: usize, content: &[u8]) {
        let blocks = content[offset..].chunks(transfer_task::SEGMENT_SIZE as usize);
        let mut offset = offset as u32;
        for block in blocks {
            self.block(conn, task_id, offset, block);
            self.settle();
            offset += block.len() as u32;
            let rest = content.len() as u32 - offset;
            if rest > 0 {
                let len = rest.min(transfer_task::SEGMENT_SIZE);
                assert_eq!(self.got(conn), [Got::Pull(0, offset, len)]);
            }
        }
    }

    /// Fetches a file as user 2, whole.
    pub(super) fn fetch(&mut self, task_id: &str) -> Vec<u8> {
        let conn = self.enter(DOWNLOAD, task_id);
        let content = self.download(conn, task_id);
        self.state(conn, task_id, 2, DONE);
        assert!(!self.net.is_open(conn));
        content
    }

    /// Asks for block after block until the server says that it is done.
    pub(super) fn download(&mut self, conn: NetHandle, task_id: &str) -> Vec<u8> {
        let mut content = Vec::new();
        for seq_num in 1.. {
            let offset = content.len() as u32;
            // The size is what the Windows client says first, and is ignored.
            self.pull(conn, task_id, seq_num, (offset, 34 << 10));
            self.settle();
            let mut got = self.got(conn).into_iter();
            let Some(Got::Data(0, seq, at, data)) = got.next() else { panic!("no block") };
            assert_eq!((seq, at), (seq_num, offset));
            content.extend_from_slice(&data);
            if let Some(done) = got.next() {
                assert_eq!((done, got.next()), (Got::State(DONE, 1), None));
                break;
            }
        }
        content
    }

    /// Files below the directory, less the lock.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let dirs = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = dirs.filter(|path| path.is_dir()).flat_map(|dir| fs::read_dir(dir).unwrap());
        files.map(|entry| entry.unwrap().path()).collect()
    }

    /// Transfers, stored files, bytes that count, clients.
    pub(super) fn totals(&self) -> (usize, usize, u64, usize) {
        let (tasks, stored, bytes) = self.srv.tasks.totals();
        (tasks, stored, bytes, self.srv.file_client_conns.len())
    }
}

/// What a client was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Got {
    /// Sequence number and result.
    Login(u16, u32),
    /// State and user.
    State(ClientFileState, u32),
    /// Sequence number, offset and size.
    Pull(u16, u32, u32),
    /// Result, sequence number, offset and bytes.
    Data(u32, u16, u32, Vec<u8>),
    Heartbeat,
}

impl Got {
    fn of(pdu: &ImPdu) -> Self {
        let pdu = pdu.as_pdu();
        let seq_num = pdu.seq_num();
        match pdu.command_id() {
            CID_FILE_LOGIN_RES => {
                Self::Login(seq_num, pdu.decode::<ImFileLoginRsp>().unwrap().result_code)
            }
            CID_FILE_STATE => {
                let msg: ImFileState = pdu.decode().unwrap();
                Self::State(msg.state(), msg.user_id)
            }
            CID_FILE_PULL_DATA_REQ => {
                let msg: ImFilePullDataReq = pdu.decode().unwrap();
                Self::Pull(seq_num, msg.offset, msg.data_size)
            }
            CID_FILE_PULL_DATA_RSP => {
                let msg: ImFilePullDataRsp = pdu.decode().unwrap();
                Self::Data(msg.result_code, seq_num, msg.offset, msg.file_data.to_vec())
            }
            CID_OTHER_HEARTBEAT => Self::Heartbeat,
            command_id => panic!("{command_id:#06x}"),
        }
    }
}

/// Bytes that tell where they are.
pub(super) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn a_msg_server_is_told_where_clients_connect() {
    let mut bed = Bed::new();
    bed.receive_from_msg_server(CID_OTHER_FILE_SERVER_IP_REQ, 5, &ImFileServerIpReq::default());
    let conn = bed.msg_server;
    let pdus = bed.sent(conn);
    let pdu = pdus[0].as_pdu();
    assert_eq!((pdu.command_id(), pdu.seq_num()), (CID_OTHER_FILE_SERVER_IP_RSP, 5));
    let rsp: ImFileServerIpRsp = pdu.decode().unwrap();
    let ips: Vec<_> = rsp.ip_addr_list.iter().map(|addr| addr.ip.as_str()).collect();
    assert_eq!(ips, ["192.0.2.1", "192.0.2.2"]);
    assert!(rsp.ip_addr_list.iter().all(|addr| addr.port != 0));
}

#[test]
fn f113_a_task_that_cannot_be_made_is_refused_and_the_connection_lives() {
    let mut bed = Bed::new();
    let good = ImFileTransferReq {
        from_user_id: 1,
        to_user_id: 2,
        // Not UTF-8, as of an old Windows client.
        file_name: vec![0xc4, 0xe3].into(),
        file_size: u32::MAX,
        trans_mode: ONLINE.into(),
        attach_data: Some(b"attach"[..].into()),
    };
    let rsp = bed.ask(&good);
    assert_eq!((rsp.result_code, rsp.task_id().len()), (0, 36));
    assert_eq!((rsp.from_user_id, rsp.to_user_id, rsp.file_size()), (1, 2, u32::MAX));
    assert_eq!(
        (rsp.file_name, rsp.attach_data),
        (Some(good.file_name.clone()), good.attach_data.clone())
    );
    for bad in [
        ImFileTransferReq { trans_mode: 3, ..good.clone() },
        ImFileTransferReq { from_user_id: 0, ..good.clone() },
        ImFileTransferReq { to_user_id: 0, ..good.clone() },
    ] {
        let rsp = bed.ask(&bad);
        assert_eq!((rsp.result_code, rsp.task_id()), (1, ""));
        assert_eq!(rsp.attach_data, good.attach_data);
    }
    assert_eq!(bed.ask(&good).result_code, 0);
}

#[test]
fn a_msg_server_that_falls_silent_is_given_up() {
    let mut bed = Bed::new();
    let conn = bed.msg_server;
    bed.pass_ms(30_000);
    assert!(bed.net.is_open(conn));
    bed.pass_ms(1_000);
    assert!(!bed.net.is_open(conn) && bed.srv.file_msg_server_conns.is_empty());
}
