//! Files between users of two msg_servers, from the request to the last byte.

use std::collections::{BTreeMap, BTreeSet};

use teamtalk::pb::base_define::{ClientType, IpAddr};

use super::*;
use crate::msg_server::Client as Chat;
use crate::site::{Site as ChatSite, pause};

/// Two msg_servers, each with a user on a PC, and a file_server that both know.
struct World {
    files: Site,
    one: Chat,
    two: Chat,
    _servers: (Running, Running, ChatSite),
}

impl World {
    fn new() -> Self {
        let (chat, files) = (ChatSite::new(1), Site::new());
        let port = files.server.as_ref().unwrap().addrs[0].port();
        let keys = format!("FileServerIP1=127.0.0.1\nFileServerPort1={port}\n");
        let (a, b) = (chat.msg_server_with(&keys), chat.msg_server_with(&keys));
        let mut one = Chat::log_in(&a, 1, ClientType::Windows);
        let two = Chat::log_in(&b, 2, ClientType::Windows);
        one.wait_until_online(2);
        Self { files, one, two, _servers: (a, b, chat) }
    }

    /// User 1 wants to send a file, as soon as the msg_server has found the file_server.
    fn request(&mut self, mode: TransferFileType, file_size: u32) -> ImFileRsp {
        let req = ImFileReq {
            from_user_id: 1,
            to_user_id: 2,
            file_name: b"C:/a file.txt"[..].into(),
            file_size,
            trans_mode: mode.into(),
        };
        loop {
            let rsp: ImFileRsp = self.one.ask(CID_FILE_REQUEST, &req, CID_FILE_RESPONSE);
            if rsp.result_code == 0 && !rsp.ip_addr_list.is_empty() {
                self.assert_address(&rsp.ip_addr_list);
                return rsp;
            }
            if rsp.result_code == 0 {
                // Made before the msg_server knew where clients find it.
                self.two.expect::<ImFileNotify>(CID_FILE_NOTIFY);
            }
            pause();
        }
    }

    fn assert_address(&self, addrs: &[IpAddr]) {
        let addr = &addrs[0];
        let port = u32::from(self.files.clients_at.port());
        assert_eq!((addr.ip.as_str(), addr.port), ("127.0.0.1", port));
    }

    /// User 2 is told of the file.
    fn notified(&mut self, task_id: &str, offline_ready: u32) {
        let notify: ImFileNotify = self.two.expect(CID_FILE_NOTIFY);
        assert_eq!((notify.from_user_id, notify.task_id.as_str()), (1, task_id));
        assert_eq!(notify.offline_ready, offline_ready);
        self.assert_address(&notify.ip_addr_list);
    }

    /// What waits for user 2.
    fn waiting(&mut self) -> Vec<String> {
        let req = ImFileHasOfflineReq { user_id: 2, attach_data: None };
        let rsp: ImFileHasOfflineRsp =
            self.two.ask(CID_FILE_HAS_OFFLINE_REQ, &req, CID_FILE_HAS_OFFLINE_RES);
        self.assert_address(&rsp.ip_addr_list);
        rsp.offline_file_list.into_iter().map(|file| file.task_id).collect()
    }
}

#[test]
fn a_file_goes_from_user_to_user() {
    let mut world = World::new();
    let content = content(200_000);
    let rsp = world.request(ONLINE, content.len() as u32);
    assert_eq!(rsp.trans_mode(), ONLINE);
    world.notified(&rsp.task_id, 0);
    let mut sender = world.files.enter(SENDER, &rsp.task_id);
    let mut receiver = world.files.enter(RECVER, &rsp.task_id);
    receiver.expect_state(ClientFileState::ClientFilePeerReady);
    thread::scope(|scope| {
        let received = scope.spawn(|| receiver.receive_online(content.len() as u32));
        while !sender.answer_asked(&content) {}
        sender.expect_state(ClientFileState::ClientFileDone);
        assert!(received.join().unwrap() == content);
    });
}

#[test]
fn a_file_waits_for_its_receiver_over_a_restart_of_the_file_server() {
    let mut world = World::new();
    let content = content(200_000);
    let rsp = world.request(OFFLINE, content.len() as u32);
    world.notified(&rsp.task_id, 0);
    world.files.enter(UPLOAD, &rsp.task_id).upload(&content);
    let (task_id, file_name) = (rsp.task_id, rsp.file_name);
    let stored = ImFileAddOfflineReq {
        from_user_id: 1,
        to_user_id: 2,
        task_id: task_id.clone(),
        file_name,
        file_size: content.len() as u32,
    };
    world.one.send(CID_FILE_ADD_OFFLINE_REQ, &stored);
    world.notified(&task_id, 1);
    // The database may learn of it later than the receiver.
    while world.waiting() != [task_id.clone()] {
        pause();
    }
    world.files.restart();
    world.files.assert_fetched(&task_id, &content);
    let fetched = ImFileDelOfflineReq { from_user_id: 1, to_user_id: 2, task_id };
    world.two.send(CID_FILE_DEL_OFFLINE_REQ, &fetched);
}

#[test]
fn a_user_without_room_is_refused_and_may_still_send_from_client_to_client() {
    let mut world = World::new();
    // Until the msg_server has found the file_server.
    world.request(ONLINE, 1);
    let req = |mode: TransferFileType| ImFileReq {
        from_user_id: 1,
        to_user_id: 2,
        file_name: b"a"[..].into(),
        file_size: u32::MAX,
        trans_mode: mode.into(),
    };
    for result in [0, 0, 1] {
        let rsp: ImFileRsp = world.one.ask(CID_FILE_REQUEST, &req(OFFLINE), CID_FILE_RESPONSE);
        assert_eq!((rsp.result_code, rsp.task_id.is_empty()), (result, result == 1));
    }
    let rsp: ImFileRsp = world.one.ask(CID_FILE_REQUEST, &req(ONLINE), CID_FILE_RESPONSE);
    assert_eq!(rsp.result_code, 0);
}

/// What waits for user 2, and at which port each file is, as one login of a client learns it.
fn places(two: &mut Chat) -> BTreeMap<String, u32> {
    two.told::<ImFileNotify>(CID_FILE_NOTIFY);
    let req = ImFileHasOfflineReq { user_id: 2, attach_data: None };
    let rsp: ImFileHasOfflineRsp =
        two.ask(CID_FILE_HAS_OFFLINE_REQ, &req, CID_FILE_HAS_OFFLINE_RES);
    let port = |addrs: &[IpAddr]| addrs.first().map_or(0, |addr| addr.port);
    let here = port(&rsp.ip_addr_list);
    let mut places: BTreeMap<_, _> =
        rsp.offline_file_list.into_iter().map(|file| (file.task_id, here)).collect();
    let elsewhere = two.told::<ImFileNotify>(CID_FILE_NOTIFY).into_iter();
    places.extend(elsewhere.map(|notify| (notify.task_id, port(&notify.ip_addr_list))));
    places
}

#[test]
fn f114_a_restarted_msg_server_sends_the_receiver_where_each_file_is() {
    let (chat, files) = (ChatSite::new(1), [Site::new(), Site::new()]);
    let mut keys = String::new();
    for (number, site) in (1..).zip(&files) {
        let port = site.server.as_ref().unwrap().addrs[0].port();
        keys += &format!("FileServerIP{number}=127.0.0.1\nFileServerPort{number}={port}\n");
    }
    let server = chat.msg_server_with(&keys);
    let mut one = Chat::log_in(&server, 1, ClientType::Windows);
    let mut two = Chat::log_in(&server, 2, ClientType::Windows);
    let content = content(70_000);
    let mut stored = BTreeMap::new();
    // They take turns, from the moment on at which both are there.
    while stored.values().collect::<BTreeSet<_>>().len() < 2 || stored.len() < 3 {
        let req = ImFileReq {
            from_user_id: 1,
            to_user_id: 2,
            file_name: b"a file"[..].into(),
            file_size: content.len() as u32,
            trans_mode: OFFLINE.into(),
        };
        let rsp: ImFileRsp = one.ask(CID_FILE_REQUEST, &req, CID_FILE_RESPONSE);
        let at = files.iter().find(|site| {
            rsp.ip_addr_list.iter().any(|addr| addr.port == u32::from(site.clients_at.port()))
        });
        let Some(site) = at else {
            pause();
            continue;
        };
        site.enter(UPLOAD, &rsp.task_id).upload(&content);
        stored.insert(rsp.task_id.clone(), u32::from(site.clients_at.port()));
        let msg = ImFileAddOfflineReq {
            from_user_id: 1,
            to_user_id: 2,
            task_id: rsp.task_id,
            file_name: rsp.file_name,
            file_size: content.len() as u32,
        };
        one.send(CID_FILE_ADD_OFFLINE_REQ, &msg);
    }
    while places(&mut two) != stored {
        pause();
    }
    drop((one, two, server));
    let server = chat.msg_server_with(&keys);
    let mut two = Chat::log_in(&server, 2, ClientType::Windows);
    // At once, and whenever it has found its file_servers.
    for _ in 0..20 {
        assert_eq!(places(&mut two), stored);
    }
    for (task_id, port) in &stored {
        let site = files.iter().find(|site| u32::from(site.clients_at.port()) == *port).unwrap();
        site.assert_fetched(task_id, &content);
    }
}
