//! Transfers between clients over sockets, and files that wait on the disk.

mod chat;
mod library;
mod process;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use prost::Message;
use teamtalk::base::im_pdu::ImPdu;
use teamtalk::file_server::{FileServer, FileServerConfig};
use teamtalk::pb::base_define::{ClientFileRole, ClientFileState, TransferFileType};
use teamtalk::pb::cmd::*;
use teamtalk::pb::file::*;
use teamtalk::pb::server::*;

use crate::running::{Peer, Running, config};

const SENDER: ClientFileRole = ClientFileRole::ClientRealtimeSender;
const RECVER: ClientFileRole = ClientFileRole::ClientRealtimeRecver;
const UPLOAD: ClientFileRole = ClientFileRole::ClientOfflineUpload;
const DOWNLOAD: ClientFileRole = ClientFileRole::ClientOfflineDownload;
const ONLINE: TransferFileType = TransferFileType::FileTypeOnline;
const OFFLINE: TransferFileType = TransferFileType::FileTypeOffline;

/// What the Windows client asks for first.
const FIRST_BLOCK: u32 = 34 << 10;
const SEGMENT: u32 = 32 << 10;

/// A file_server and a msg_server that is connected to it. User 1 sends, user 2 receives.
struct Site {
    server: Option<Running>,
    msg_server: Option<Peer>,
    clients_at: SocketAddr,
    dir: tempfile::TempDir,
    more: &'static str,
}

impl Site {
    fn new() -> Self {
        Self::with("")
    }

    /// With more keys; the first one counts.
    fn with(more: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clients_at = "127.0.0.1:0".parse().unwrap();
        let mut site = Self { server: None, msg_server: None, clients_at, dir, more };
        site.start();
        site
    }

    fn start(&mut self) {
        let text = format!(
            "{}FileServerIp=127.0.0.1\nClientListenIP=127.0.0.1\nClientListenPort=0\n\
             MsgServerListenIP=127.0.0.1\nMsgServerListenPort=0\nTaskTimeout=60\n\
             OfflineFileDir={}\n",
            self.more,
            self.dir.path().display()
        );
        let config = config(&text, FileServerConfig::read);
        let (dispatch, srv, addrs) = FileServer::dispatch(&config, || 1_700_000_000).unwrap();
        self.clients_at = addrs.client[0];
        let server = Running::start((dispatch, srv, addrs.msg_server));
        self.msg_server = Some(server.peer());
        self.server = Some(server);
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }

    fn stop(&mut self) {
        self.msg_server = None;
        self.server = None;
    }

    fn try_announce(&mut self, mode: TransferFileType, file_size: u32) -> Option<String> {
        try_announce(self.msg_server.as_mut().unwrap(), 1, mode, file_size)
    }

    fn announce(&mut self, mode: TransferFileType, file_size: u32) -> String {
        self.try_announce(mode, file_size).unwrap()
    }

    #[track_caller]
    fn enter(&self, role: ClientFileRole, task_id: &str) -> Client {
        Client::enter(self.clients_at, role, task_id)
    }

    /// A client sends this file, off line.
    fn store(&mut self, content: &[u8]) -> String {
        let task_id = self.announce(OFFLINE, content.len() as u32);
        self.enter(UPLOAD, &task_id).upload(content);
        task_id
    }

    #[track_caller]
    fn assert_fetched(&self, task_id: &str, content: &[u8]) {
        let fetched = self.enter(DOWNLOAD, task_id).download(content.len());
        assert!(fetched == content, "{} bytes, {} expected", fetched.len(), content.len());
    }

    #[track_caller]
    fn assert_refused(&self, role: ClientFileRole, task_id: &str) {
        let (mut client, result) = Client::log_in(self.clients_at, role, task_id);
        assert_eq!(result, 1);
        client.peer.assert_closed();
    }

    fn files(&self) -> Vec<PathBuf> {
        let dirs = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = dirs.filter(|path| path.is_dir()).flat_map(|dir| fs::read_dir(dir).unwrap());
        files.map(|entry| entry.unwrap().path()).collect()
    }
}

/// Has a transfer to user 2 made.
fn try_announce(
    msg_server: &mut Peer,
    from_user_id: u32,
    mode: TransferFileType,
    file_size: u32,
) -> Option<String> {
    let req = ImFileTransferReq {
        from_user_id,
        to_user_id: 2,
        file_name: b"a file"[..].into(),
        file_size,
        trans_mode: mode.into(),
        attach_data: Some(b"attached"[..].into()),
    };
    msg_server.send(&ImPdu::encode(SID_OTHER, CID_OTHER_FILE_TRANSFER_REQ, 1, &req));
    let rsp: ImFileTransferRsp = msg_server.receive().as_pdu().decode().unwrap();
    assert_eq!(rsp.attach_data, req.attach_data);
    (rsp.result_code == 0).then(|| rsp.task_id.unwrap())
}

/// A client of one transfer. Whatever arrives has to be about it.
struct Client {
    peer: Peer,
    task_id: String,
    user_id: u32,
}

impl Client {
    fn log_in(addr: SocketAddr, role: ClientFileRole, task_id: &str) -> (Self, u32) {
        let user_id = if matches!(role, SENDER | UPLOAD) { 1 } else { 2 };
        Self::log_in_as(addr, user_id, role, task_id)
    }

    fn log_in_as(
        addr: SocketAddr,
        user_id: u32,
        role: ClientFileRole,
        task_id: &str,
    ) -> (Self, u32) {
        let mut client = Self { peer: Peer::connect(addr), task_id: task_id.to_owned(), user_id };
        let task_id = task_id.to_owned();
        let req = ImFileLoginReq { user_id, task_id, file_role: role.into() };
        client.send(CID_FILE_LOGIN_REQ, &req);
        let rsp: ImFileLoginRsp = client.expect(CID_FILE_LOGIN_RES);
        assert_eq!(rsp.task_id, client.task_id);
        (client, rsp.result_code)
    }

    /// Again and again: the server may not know yet that the last connection of this role is gone.
    fn come_back(addr: SocketAddr, role: ClientFileRole, task_id: &str) -> Self {
        loop {
            let (client, result) = Self::log_in(addr, role, task_id);
            if result == 0 {
                return client;
            }
        }
    }

    #[track_caller]
    fn enter(addr: SocketAddr, role: ClientFileRole, task_id: &str) -> Self {
        let (client, result) = Self::log_in(addr, role, task_id);
        assert_eq!(result, 0);
        client
    }

    fn send(&mut self, command_id: u16, msg: &impl Message) {
        self.peer.send(&ImPdu::encode(SID_FILE, command_id, 0, msg));
    }

    #[track_caller]
    fn expect<M: Message + Default>(&mut self, command_id: u16) -> M {
        let pdu = self.peer.receive();
        assert_eq!(pdu.as_pdu().command_id(), command_id);
        pdu.as_pdu().decode().unwrap()
    }

    #[track_caller]
    fn expect_state(&mut self, state: ClientFileState) {
        let msg: ImFileState = self.expect(CID_FILE_STATE);
        assert_eq!((msg.state(), &msg.task_id), (state, &self.task_id));
    }

    fn say(&mut self, state: ClientFileState) {
        let msg = ImFileState {
            state: state.into(),
            task_id: self.task_id.clone(),
            user_id: self.user_id,
        };
        self.send(CID_FILE_STATE, &msg);
    }

    /// What the other side, or the server, wants next: offset and size.
    #[track_caller]
    fn asked(&mut self) -> (u32, u32) {
        let req: ImFilePullDataReq = self.expect(CID_FILE_PULL_DATA_REQ);
        assert_eq!(req.task_id, self.task_id);
        (req.offset, req.data_size)
    }

    fn answer(&mut self, offset: u32, data: &[u8]) {
        let rsp = ImFilePullDataRsp {
            result_code: 0,
            task_id: self.task_id.clone(),
            user_id: self.user_id,
            offset,
            file_data: data.to_vec().into(),
        };
        self.send(CID_FILE_PULL_DATA_RSP, &rsp);
    }

    /// Answers one request. Whether it was for the end of the file.
    #[track_caller]
    fn answer_asked(&mut self, content: &[u8]) -> bool {
        let (offset, len) = self.asked();
        let (from, to) = (offset as usize, (offset + len) as usize);
        self.answer(offset, &content[from..to]);
        to == content.len()
    }

    /// Answers until the server has everything.
    #[track_caller]
    fn upload(mut self, content: &[u8]) {
        while !self.answer_asked(content) {}
        self.expect_state(ClientFileState::ClientFileDone);
        self.peer.receive_rest();
    }

    fn pull(&mut self, offset: u32, data_size: u32) {
        let req = ImFilePullDataReq {
            task_id: self.task_id.clone(),
            user_id: 2,
            trans_mode: OFFLINE.into(),
            offset,
            data_size,
        };
        self.send(CID_FILE_PULL_DATA_REQ, &req);
    }

    #[track_caller]
    fn block(&mut self, offset: u32) -> Vec<u8> {
        let rsp: ImFilePullDataRsp = self.expect(CID_FILE_PULL_DATA_RSP);
        assert_eq!((rsp.result_code, rsp.offset, &rsp.task_id), (0, offset, &self.task_id));
        rsp.file_data.to_vec()
    }

    /// Asks for block after block, as the Windows client does, which wants more than a block first.
    #[track_caller]
    fn download(mut self, size: usize) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let offset = content.len() as u32;
            self.pull(offset, FIRST_BLOCK);
            content.extend(self.block(offset));
            if content.len() >= size {
                break;
            }
        }
        self.expect_state(ClientFileState::ClientFileDone);
        self.say(ClientFileState::ClientFileDone);
        self.peer.assert_closed();
        content
    }

    /// Receives a file on line, block after block.
    fn receive_online(mut self, size: u32) -> Vec<u8> {
        let mut content = Vec::new();
        while content.len() < size as usize {
            let offset = content.len() as u32;
            self.pull(offset, FIRST_BLOCK.min(size - offset));
            content.extend(self.block(offset));
        }
        self.say(ClientFileState::ClientFileDone);
        self.peer.receive_rest();
        content
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn a_file_goes_from_client_to_client() {
    let mut site = Site::new();
    let content = content(1_000_000);
    let task_id = site.announce(ONLINE, content.len() as u32);
    let mut sender = site.enter(SENDER, &task_id);
    let mut receiver = site.enter(RECVER, &task_id);
    receiver.expect_state(ClientFileState::ClientFilePeerReady);
    thread::scope(|scope| {
        let received = scope.spawn(|| receiver.receive_online(content.len() as u32));
        while !sender.answer_asked(&content) {}
        sender.expect_state(ClientFileState::ClientFileDone);
        sender.peer.receive_rest();
        assert!(received.join().unwrap() == content);
    });
    assert!(site.files().is_empty());
    site.assert_refused(SENDER, &task_id);
}

#[test]
fn an_offline_file_outlives_a_restart() {
    let mut site = Site::new();
    let content = content(10 * SEGMENT as usize + 1);
    let (whole, small) = (site.store(&content), site.store(b"x"));
    let (blocks, empty) = (site.store(&content[..2 * SEGMENT as usize]), {
        let task_id = site.announce(OFFLINE, 0);
        let mut client = site.enter(UPLOAD, &task_id);
        client.expect_state(ClientFileState::ClientFileDone);
        client.peer.receive_rest();
        task_id
    });
    site.restart();
    site.assert_fetched(&whole, &content);
    site.assert_fetched(&blocks, &content[..2 * SEGMENT as usize]);
    site.assert_fetched(&small, b"x");
    site.assert_fetched(&empty, b"");
    site.assert_refused(UPLOAD, &whole);
    site.assert_refused(RECVER, &whole);
}

#[test]
fn a_refusal_or_cancel_reaches_the_other_client() {
    let mut site = Site::new();
    for state in [ClientFileState::ClientFileRefuse, ClientFileState::ClientFileCancel] {
        let task_id = site.announce(ONLINE, 5);
        let mut sender = site.enter(SENDER, &task_id);
        let mut receiver = site.enter(RECVER, &task_id);
        receiver.expect_state(ClientFileState::ClientFilePeerReady);
        receiver.say(state);
        receiver.peer.receive_rest();
        sender.expect_state(state);
        sender.peer.receive_rest();
    }
    let task_id = site.announce(OFFLINE, 5);
    let mut uploader = site.enter(UPLOAD, &task_id);
    let mut receiver = site.enter(DOWNLOAD, &task_id);
    assert_eq!(uploader.asked(), (0, 5));
    uploader.say(ClientFileState::ClientFileCancel);
    receiver.expect_state(ClientFileState::ClientFileCancel);
    receiver.peer.receive_rest();
    uploader.peer.receive_rest();
    site.assert_refused(UPLOAD, &task_id);
}

#[test]
fn a_client_that_vanishes_at_any_step_of_an_online_transfer_ends_it() {
    let mut site = Site::new();
    let content = content(3 * FIRST_BLOCK as usize);
    for vanishing in [SENDER, RECVER] {
        for blocks in 0..3 {
            let task_id = site.announce(ONLINE, content.len() as u32);
            let mut sender = site.enter(SENDER, &task_id);
            let mut receiver = site.enter(RECVER, &task_id);
            receiver.expect_state(ClientFileState::ClientFilePeerReady);
            for at in 0..blocks {
                receiver.pull(at * FIRST_BLOCK, FIRST_BLOCK);
                sender.answer_asked(&content);
                receiver.block(at * FIRST_BLOCK);
            }
            let mut other = if vanishing == SENDER {
                drop(sender);
                receiver
            } else {
                drop(receiver);
                sender
            };
            assert!(other.peer.receive_rest().is_empty());
            site.assert_refused(SENDER, &task_id);
        }
    }
}

#[test]
fn an_uploader_who_vanishes_goes_on_where_he_was_or_leaves_nothing() {
    let mut site = Site::new();
    let content = content(4 * SEGMENT as usize);
    let task_id = site.announce(OFFLINE, content.len() as u32);
    for blocks in 0..4 {
        let mut uploader = Client::come_back(site.clients_at, UPLOAD, &task_id);
        let (offset, len) = uploader.asked();
        assert_eq!((offset, len), (blocks * SEGMENT, SEGMENT));
        if blocks == 3 {
            uploader.answer(offset, &content[offset as usize..]);
            uploader.expect_state(ClientFileState::ClientFileDone);
            break;
        }
        uploader.answer(offset, &content[offset as usize..][..len as usize]);
        // The block has been taken when the next one is asked for.
        uploader.asked();
    }
    site.assert_fetched(&task_id, &content);
    // A server that stops takes along what is not complete.
    let task_id = site.announce(OFFLINE, content.len() as u32);
    let mut uploader = site.enter(UPLOAD, &task_id);
    uploader.answer_asked(&content);
    uploader.asked();
    assert_eq!(site.files().len(), 2);
    site.restart();
    assert_eq!(site.files().len(), 1);
    site.assert_refused(UPLOAD, &task_id);
    site.assert_refused(DOWNLOAD, &task_id);
}

#[test]
fn a_receiver_who_vanishes_may_come_back() {
    let mut site = Site::new();
    let content = content(3 * SEGMENT as usize + 1);
    let task_id = site.store(&content);
    for blocks in 0..4 {
        let mut receiver = Client::come_back(site.clients_at, DOWNLOAD, &task_id);
        for at in 0..blocks {
            receiver.pull(at * SEGMENT, SEGMENT);
            receiver.block(at * SEGMENT);
        }
        // Gone with an answer on its way.
        receiver.pull(blocks * SEGMENT, SEGMENT);
    }
    let receiver = Client::come_back(site.clients_at, DOWNLOAD, &task_id);
    assert!(receiver.download(content.len()) == content);
}

#[test]
fn f109_a_receiver_who_is_told_at_once_gets_the_file_when_it_is_complete() {
    let mut site = Site::new();
    let content = content(5 * SEGMENT as usize + 3);
    let task_id = site.announce(OFFLINE, content.len() as u32);
    let receiver = site.enter(DOWNLOAD, &task_id);
    let uploader = site.enter(UPLOAD, &task_id);
    thread::scope(|scope| {
        let received = scope.spawn(|| receiver.download(content.len()));
        uploader.upload(&content);
        assert!(received.join().unwrap() == content);
    });
}

#[test]
fn f115_what_exceeds_the_quota_is_refused_to_the_msg_server_and_nothing_else_suffers() {
    let mut site = Site::with("OfflineQuotaMB=1\n");
    let fits = site.announce(OFFLINE, 1_000_000);
    assert_eq!(site.try_announce(OFFLINE, 1_000_000), None);
    assert_eq!(site.try_announce(OFFLINE, u32::MAX), None);
    let content = content(1_000_000);
    site.enter(UPLOAD, &fits).upload(&content);
    // After a restart the files on the disk count.
    site.restart();
    assert_eq!(site.try_announce(OFFLINE, 1_000_000), None);
    assert!(site.try_announce(ONLINE, u32::MAX).is_some());
    site.assert_fetched(&fits, &content);
}

#[test]
fn a_directory_that_fails_refuses_uploads_and_harms_no_download() {
    let mut site = Site::new();
    let stored = site.store(b"hello");
    for byte in 0..=255u8 {
        let path = site.dir.path().join(format!("{byte:02x}"));
        if !path.exists() {
            fs::write(path, b"in the way").unwrap();
        }
    }
    let refused = loop {
        let task_id = site.announce(OFFLINE, 5);
        if task_id[..2] != stored[..2] {
            break task_id;
        }
    };
    site.assert_refused(UPLOAD, &refused);
    site.assert_refused(UPLOAD, &refused);
    site.assert_fetched(&stored, b"hello");
}

#[test]
fn bad_input_closes_its_connection_and_no_other() {
    let mut site = Site::new();
    let content = content(2 * SEGMENT as usize);
    let task_id = site.announce(OFFLINE, content.len() as u32);
    let mut uploader = site.enter(UPLOAD, &task_id);
    // Before the login, nothing is answered.
    let mut stranger =
        Client { peer: Peer::connect(site.clients_at), task_id: task_id.clone(), user_id: 1 };
    stranger.answer(0, &content[..SEGMENT as usize]);
    stranger.peer.assert_closed();
    for bytes in [
        // Lengths below the header, and beyond the limit.
        b"\0\0\0\x0f\0\x01\0\0\0\x05\x05\x01\0\0\0\0".to_vec(),
        b"\xff\xff\xff\xff\0\x01\0\0\0\x05\x05\x01\0\0\0\0".to_vec(),
        vec![0; 100],
    ] {
        let mut peer = Peer::connect(site.clients_at);
        peer.send_bytes(&bytes);
        peer.assert_closed();
    }
    let mut peer = Peer::connect(site.clients_at);
    let long = ImPdu::with_body(*ImPdu::encode(5, 0x0501, 1, &()).as_pdu().header(), &[0; 70_000]);
    peer.try_send(&long).unwrap();
    peer.assert_closed();
    for wrong in ["", "../../../../etc/passwd", "\0", "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
        site.assert_refused(DOWNLOAD, wrong);
    }
    // A second uploader, and a block too long.
    site.assert_refused(UPLOAD, &task_id);
    uploader.answer_asked(&content);
    uploader.asked();
    uploader.answer(SEGMENT, &content[..SEGMENT as usize - 1]);
    uploader.peer.assert_closed();
    let uploader = Client::come_back(site.clients_at, UPLOAD, &task_id);
    uploader.upload(&content);
    site.assert_fetched(&task_id, &content);
}

#[test]
fn f10_msg_servers_are_let_in_by_address() {
    let mut site = Site::with("MsgServerAllowIP=192.0.2.0/24\n");
    let mut msg_server = site.msg_server.take().unwrap();
    msg_server.assert_closed();
    // Clients are let in from everywhere.
    site.assert_refused(DOWNLOAD, "67e55044-10b1-426f-9247-bb680e5fe0c8");
}

#[test]
fn parallel_transfers_do_not_mix() {
    const COUNT: usize = 200;
    let mut site = Site::new();
    let contents: Vec<Vec<u8>> = (0..COUNT)
        .map(|at| content(at * 1_501).iter().map(|byte| byte.wrapping_add(at as u8)).collect())
        .collect();
    let mut tasks = Vec::new();
    for (at, content) in contents.iter().enumerate() {
        let mode = if at % 2 == 0 { ONLINE } else { OFFLINE };
        // The transfers of one user are limited.
        let user_id = 10 + (at / 50) as u32;
        let msg_server = site.msg_server.as_mut().unwrap();
        let task_id = try_announce(msg_server, user_id, mode, content.len() as u32).unwrap();
        tasks.push((mode, user_id, task_id));
    }
    let addr = site.clients_at;
    thread::scope(|scope| {
        for ((mode, user_id, task_id), content) in tasks.iter().zip(&contents) {
            let online = *mode == ONLINE;
            scope.spawn(move || {
                let role = if online { SENDER } else { UPLOAD };
                let (mut sender, result) = Client::log_in_as(addr, *user_id, role, task_id);
                assert_eq!(result, 0);
                while !content.is_empty() && !sender.answer_asked(content) {}
                sender.expect_state(ClientFileState::ClientFileDone);
                sender.peer.receive_rest();
            });
            scope.spawn(move || {
                let role = if online { RECVER } else { DOWNLOAD };
                let mut receiver = Client::enter(addr, role, task_id);
                let received = if online {
                    receiver.expect_state(ClientFileState::ClientFilePeerReady);
                    receiver.receive_online(content.len() as u32)
                } else {
                    receiver.download(content.len())
                };
                assert!(received == *content);
            });
        }
    });
    assert_eq!(site.files().len(), COUNT / 2);
}
