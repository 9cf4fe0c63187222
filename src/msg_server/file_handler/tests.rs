//! Requests to send files, without sockets.

use super::*;
use crate::base::attach_data::DbAttachData;
use crate::msg_server::file_serv_conn::{FileServConn, TASKS_MAX};
use crate::msg_server::tests::*;
use crate::pb::base_define::{IpAddr, OfflineFileInfo, UserStat, UserStatType};
use crate::pb::buddy::ImUsersStatRsp;
use crate::pb::file::ImFileHasOfflineReq;
use crate::pb::server::{ImFileServerIpRsp, ImFileTransferRsp};

const ONLINE: i32 = TransferFileType::FileTypeOnline as i32;
const OFFLINE: i32 = TransferFileType::FileTypeOffline as i32;

fn file_req(trans_mode: i32) -> ImFileReq {
    ImFileReq {
        from_user_id: 666,
        to_user_id: 2,
        file_name: b"\xff.txt".to_vec().into(),
        file_size: 10,
        trans_mode,
    }
}

fn addr(ip: &str) -> IpAddr {
    IpAddr { ip: ip.to_owned(), port: 8600 }
}

fn file_says(bed: &mut Bed, file: NetHandle, command_id: u16, msg: &impl Message) {
    bed.receive::<FileServConn>(file, &request(command_id, msg)).unwrap();
}

/// What a file_server answers.
fn task(req: &ImFileTransferReq, task_id: &str) -> ImFileTransferRsp {
    ImFileTransferRsp {
        result_code: 0,
        from_user_id: req.from_user_id,
        to_user_id: req.to_user_id,
        file_name: Some(req.file_name.clone()),
        file_size: Some(req.file_size),
        task_id: Some(task_id.to_owned()),
        trans_mode: Some(req.trans_mode),
        attach_data: req.attach_data.clone(),
    }
}

#[test]
fn f83_a_file_is_offered_with_the_addresses_of_its_server() {
    let mut bed = bed();
    let (sender, file, route) = (bed.log_in(1, WINDOWS), bed.file[0], bed.route[0]);
    let (pc, phone) = (bed.log_in(2, MAC), bed.log_in(2, IOS));
    for ip in ["192.0.2.8", "192.0.2.9"] {
        let rsp = ImFileServerIpRsp { ip_addr_list: vec![addr(ip)] };
        file_says(&mut bed, file, CID_OTHER_FILE_SERVER_IP_RSP, &rsp);
    }
    bed.ask(sender, CID_FILE_REQUEST, &file_req(ONLINE)).unwrap();
    let pdu = bed.one_pdu(file, CID_OTHER_FILE_TRANSFER_REQ);
    assert_eq!(pdu.as_pdu().seq_num(), 42);
    let req: ImFileTransferReq = pdu.as_pdu().decode().unwrap();
    assert_eq!((req.from_user_id, req.to_user_id, req.trans_mode), (1, 2, ONLINE));
    assert_eq!(DbAttachData::parse(req.attach_data()).unwrap().handle, sender.to_u32());
    file_says(&mut bed, file, CID_OTHER_FILE_TRANSFER_RSP, &task(&req, "t"));
    let pdu = bed.one_pdu(sender, CID_FILE_RESPONSE);
    assert_eq!(pdu.as_pdu().seq_num(), 42);
    let rsp: ImFileRsp = pdu.as_pdu().decode().unwrap();
    assert_eq!((rsp.result_code, rsp.task_id.as_str()), (0, "t"));
    assert_eq!(rsp.ip_addr_list, [addr("192.0.2.9")]);
    for conn in [pc, route] {
        let notify: ImFileNotify = bed.one(conn, CID_FILE_NOTIFY);
        assert_eq!((notify.from_user_id, notify.to_user_id, notify.file_size), (1, 2, 10));
        assert_eq!((notify.task_id.as_str(), notify.offline_ready), ("t", 0));
        assert_eq!(notify.ip_addr_list, [addr("192.0.2.9")]);
    }
    bed.assert_silent(phone);
    // A task that could not be made is told to the sender alone.
    let failed = ImFileTransferRsp { result_code: 1, ..task(&req, "") };
    file_says(&mut bed, file, CID_OTHER_FILE_TRANSFER_RSP, &failed);
    assert_eq!(bed.one::<ImFileRsp>(sender, CID_FILE_RESPONSE).result_code, 1);
    bed.assert_silent(pc);
    bed.assert_silent(route);
}

#[test]
fn f67_a_receiver_with_only_a_phone_here_is_asked_for_elsewhere() {
    let mut bed = bed();
    let (sender, file, route) = (bed.log_in(1, WINDOWS), bed.file[0], bed.route[0]);
    bed.log_in(2, IOS);
    for (status, mode) in
        [(UserStatType::UserStatusOnline, ONLINE), (UserStatType::UserStatusOffline, OFFLINE)]
    {
        bed.ask(sender, CID_FILE_REQUEST, &file_req(ONLINE)).unwrap();
        bed.assert_silent(file);
        let pdu = bed.one_pdu(route, CID_BUDDY_LIST_USERS_STATUS_REQUEST);
        let question: ImUsersStatReq = pdu.as_pdu().decode().unwrap();
        assert_eq!((question.user_id, &question.user_id_list[..]), (1, &[2][..]));
        let rsp = ImUsersStatRsp {
            user_id: 1,
            user_stat_list: vec![UserStat { user_id: 2, status: status.into() }],
            attach_data: question.attach_data,
        };
        bed.route_says(CID_BUDDY_LIST_USERS_STATUS_RESPONSE, &rsp);
        let pdu = bed.one_pdu(file, CID_OTHER_FILE_TRANSFER_REQ);
        assert_eq!(pdu.as_pdu().seq_num(), 42);
        let req: ImFileTransferReq = pdu.as_pdu().decode().unwrap();
        assert_eq!((req.trans_mode, &req.file_name[..]), (mode, &b"\xff.txt"[..]));
    }
}

#[test]
fn without_a_file_server_or_a_route_server_the_request_is_refused() {
    let mut bed = bed();
    let (sender, file, route) = (bed.log_in(1, WINDOWS), bed.file[0], bed.route[0]);
    let refused = |bed: &mut Bed, mode| {
        let rsp: ImFileRsp = bed.one(sender, CID_FILE_RESPONSE);
        assert_eq!((rsp.result_code, rsp.from_user_id, rsp.to_user_id), (1, 1, 2));
        assert_eq!((rsp.task_id.as_str(), rsp.trans_mode), ("", mode));
    };
    // The file_server is lost while route_server is asked.
    bed.ask(sender, CID_FILE_REQUEST, &file_req(ONLINE)).unwrap();
    let question: ImUsersStatReq = bed.one(route, CID_BUDDY_LIST_USERS_STATUS_REQUEST);
    bed.lose(route);
    bed.ask(sender, CID_FILE_REQUEST, &file_req(ONLINE)).unwrap();
    refused(&mut bed, ONLINE);
    bed.lose(file);
    bed.ask(sender, CID_FILE_REQUEST, &file_req(OFFLINE)).unwrap();
    refused(&mut bed, OFFLINE);
    let attach = question.attach_data.unwrap();
    let attach = PduAttachData::parse(&attach).unwrap();
    transfer_by_status(&mut bed.cx(), true, &attach, 42);
    refused(&mut bed, ONLINE);
    transfer_by_status(&mut bed.cx(), true, &PduAttachData { pdu: b"\xff", ..attach }, 42);
    bed.ask(sender, CID_FILE_REQUEST, &file_req(7)).unwrap();
    bed.assert_silent(sender);
}

#[test]
fn f114_the_receiver_is_sent_to_the_server_that_has_the_file() {
    let mut bed = bed_with("FileServerIP2=127.0.0.1\nFileServerPort2=8602\n");
    let (sender, pc) = (bed.log_in(1, WINDOWS), bed.log_in(2, MAC));
    let (db, route) = (bed.db[0], bed.route[0]);
    for (file, ip) in bed.file.clone().into_iter().zip(["192.0.2.8", "192.0.2.9"]) {
        let rsp = ImFileServerIpRsp { ip_addr_list: vec![addr(ip)] };
        file_says(&mut bed, file, CID_OTHER_FILE_SERVER_IP_RSP, &rsp);
    }
    let mut made = Vec::new();
    for number in 0..4 {
        bed.ask(sender, CID_FILE_REQUEST, &file_req(OFFLINE)).unwrap();
        for at in 0..2 {
            let file = bed.file[at];
            for pdu in bed.sent(file) {
                let task_id = format!("t{number}");
                let req = pdu.as_pdu().decode().unwrap();
                file_says(&mut bed, file, CID_OTHER_FILE_TRANSFER_RSP, &task(&req, &task_id));
                made.push((task_id, ["192.0.2.8", "192.0.2.9"][at]));
            }
        }
    }
    assert!(made[0].1 != made[1].1, "one after the other");
    bed.forget_sent();
    for (task_id, ip) in made {
        let msg = ImFileAddOfflineReq {
            from_user_id: 666,
            to_user_id: 2,
            task_id: task_id.clone(),
            ..ImFileAddOfflineReq::default()
        };
        bed.ask(sender, CID_FILE_ADD_OFFLINE_REQ, &msg).unwrap();
        let told = bed.one_pdu(db, CID_FILE_ADD_OFFLINE_REQ);
        assert_eq!(file_places::server_of_request(told.as_pdu()).unwrap(), [addr(ip)]);
        let req: ImFileAddOfflineReq = told.as_pdu().decode().unwrap();
        assert_eq!((req.from_user_id, req.to_user_id), (1, 2));
        for conn in [pc, route] {
            let notify: ImFileNotify = bed.one(conn, CID_FILE_NOTIFY);
            assert_eq!((notify.ip_addr_list, notify.offline_ready), (vec![addr(ip)], 1));
        }
        bed.ask(pc, CID_FILE_HAS_OFFLINE_REQ, &ImFileHasOfflineReq::default()).unwrap();
        let req: ImFileHasOfflineReq = bed.one(db, CID_FILE_HAS_OFFLINE_REQ);
        let file = OfflineFileInfo { task_id, ..OfflineFileInfo::default() };
        let rsp = ImFileHasOfflineRsp {
            user_id: 2,
            offline_file_list: vec![file],
            ip_addr_list: Vec::new(),
            attach_data: req.attach_data,
        };
        bed.db_says(CID_FILE_HAS_OFFLINE_RES, &rsp);
        let got: ImFileHasOfflineRsp = bed.one(pc, CID_FILE_HAS_OFFLINE_RES);
        let ip_addr_list = vec![addr(ip)];
        assert_eq!(got, ImFileHasOfflineRsp { attach_data: None, ip_addr_list, ..rsp }, "f73");
    }
}

#[test]
fn f114_a_msg_server_that_has_seen_no_files_is_told_where_they_are() {
    let mut bed = bed_with("FileServerIP2=127.0.0.1\nFileServerPort2=8602\n");
    let (pc, db) = (bed.log_in(2, MAC), bed.db[0]);
    for (file, ip) in bed.file.clone().into_iter().zip(["192.0.2.8", "192.0.2.9"]) {
        let rsp = ImFileServerIpRsp { ip_addr_list: vec![addr(ip), addr("10.0.0.1")] };
        file_says(&mut bed, file, CID_OTHER_FILE_SERVER_IP_RSP, &rsp);
    }
    // The last one is of a server that is gone, and of the one before nobody has told.
    let then = [vec![addr("192.0.2.9")], vec![addr("192.0.2.8")], vec![], vec![addr("192.0.2.7")]];
    let task = |number: usize| format!("t{number}");
    let tasks: Vec<_> = (0..then.len()).map(task).collect();
    let places = tasks.iter().map(String::as_str).zip(then.iter().map(Vec::as_slice));
    bed.ask(pc, CID_FILE_HAS_OFFLINE_REQ, &ImFileHasOfflineReq::default()).unwrap();
    let req: ImFileHasOfflineReq = bed.one(db, CID_FILE_HAS_OFFLINE_REQ);
    let attach = DbAttachData::parse(&req.attach_data.unwrap()).unwrap();
    let places = file_places::encode(places);
    let attach = PduAttachData::new(attach.attach_type, attach.handle, &places).encode();
    let file = |task_id: &String| OfflineFileInfo {
        from_user_id: 1,
        task_id: task_id.clone(),
        file_name: b"name"[..].into(),
        file_size: 5,
    };
    let rsp = ImFileHasOfflineRsp {
        user_id: 2,
        offline_file_list: tasks.iter().map(file).collect(),
        ip_addr_list: Vec::new(),
        attach_data: Some(attach.into()),
    };
    bed.db_says(CID_FILE_HAS_OFFLINE_RES, &rsp);
    let mut sent = bed.sent(pc).into_iter();
    let answer = sent.next().unwrap();
    assert_eq!(answer.as_pdu().seq_num(), 42);
    let answer: ImFileHasOfflineRsp = answer.as_pdu().decode().unwrap();
    let tasks_of = |files: &[OfflineFileInfo]| -> Vec<_> {
        files.iter().map(|file| file.task_id.clone()).collect()
    };
    assert_eq!(tasks_of(&answer.offline_file_list), [task(0), task(2)]);
    assert_eq!(answer.ip_addr_list, [addr("192.0.2.9"), addr("10.0.0.1")], "as it is today");
    assert_eq!(answer.attach_data, None);
    let offered: Vec<ImFileNotify> = sent.map(|pdu| pdu.as_pdu().decode().unwrap()).collect();
    let offered: Vec<_> = offered
        .into_iter()
        .map(|notify| {
            assert_eq!((notify.from_user_id, notify.to_user_id, notify.offline_ready), (1, 2, 1));
            (notify.task_id, notify.ip_addr_list)
        })
        .collect();
    let first = vec![addr("192.0.2.8"), addr("10.0.0.1")];
    assert_eq!(offered, [(task(1), first), (task(3), then[3].clone())]);
}

#[test]
fn remembered_tasks_have_a_limit() {
    let mut bed = bed();
    let file = bed.file[0];
    let req = ImFileTransferReq {
        attach_data: Some(relay::handle_attach(file).into()),
        ..ImFileTransferReq::default()
    };
    for number in 0..=TASKS_MAX {
        let rsp = task(&req, &number.to_string());
        file_says(&mut bed, file, CID_OTHER_FILE_TRANSFER_RSP, &rsp);
    }
    assert_eq!(bed.srv.file_servers.task_cnt(), TASKS_MAX);
}

#[test]
fn f7_only_sender_and_receiver_have_a_file_forgotten() {
    let mut bed = bed();
    let (conn, db) = (bed.log_in(2, WINDOWS), bed.db[0]);
    let req = |from_user_id, to_user_id| ImFileDelOfflineReq {
        from_user_id,
        to_user_id,
        task_id: "t".to_owned(),
    };
    for (from, to, allowed) in [(1, 2, true), (2, 1, true), (1, 3, false)] {
        bed.ask(conn, CID_FILE_DEL_OFFLINE_REQ, &req(from, to)).unwrap();
        if allowed {
            let got: ImFileDelOfflineReq = bed.one(db, CID_FILE_DEL_OFFLINE_REQ);
            assert_eq!(got, req(from, to));
        } else {
            bed.assert_silent(db);
        }
    }
}

#[test]
fn without_a_database_nobody_has_files() {
    let mut bed = bed();
    let (conn, db) = (bed.log_in(2, WINDOWS), bed.db[0]);
    bed.lose(db);
    bed.ask(conn, CID_FILE_HAS_OFFLINE_REQ, &ImFileHasOfflineReq::default()).unwrap();
    let rsp: ImFileHasOfflineRsp = bed.one(conn, CID_FILE_HAS_OFFLINE_RES);
    assert_eq!(rsp, ImFileHasOfflineRsp { user_id: 2, ..ImFileHasOfflineRsp::default() });
}

#[test]
fn a_file_of_another_msg_server_is_offered_to_all_clients_of_the_receiver() {
    let mut bed = bed();
    let conns = [bed.log_in(2, MAC), bed.log_in(2, IOS)];
    bed.route_says(CID_FILE_NOTIFY, &ImFileNotify { to_user_id: 2, ..ImFileNotify::default() });
    for conn in conns {
        let pdu = bed.one_pdu(conn, CID_FILE_NOTIFY);
        assert_eq!(pdu.as_pdu().seq_num(), 0);
    }
}
