//! Requests of clients to send a file. The file itself goes through a file_server.

#[cfg(test)]
mod tests;

use log::debug;
use prost::Message;

use super::db_serv_conn::{DbRange, send_to_db};
use super::file_serv_conn::notify_receiver;
use super::msg_conn::{relay_to_db, send_to_handle, user_of};
use super::route_serv_conn::{for_clients, send_to_route};
use super::{Cx, im_user, relay};
use crate::base::attach_data::PduAttachData;
use crate::base::attach_data::msg_server::ATTACH_TYPE_HANDLE_AND_PDU_FOR_FILE;
use crate::base::file_places;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::NetHandle;
use crate::pb::base_define::{IpAddr, OfflineFileInfo, TransferFileType};
use crate::pb::buddy::ImUsersStatReq;
use crate::pb::cmd::*;
use crate::pb::file::{
    ImFileAddOfflineReq, ImFileDelOfflineReq, ImFileHasOfflineRsp, ImFileNotify, ImFileReq,
    ImFileRsp,
};
use crate::pb::server::ImFileTransferReq;

/// Has a task made, off line or on line: on line if a PC of the receiver is there.
///
/// C++: msg_server/FileHandler.cpp CFileHandler::HandleClientFileRequest
/// Differs: without a route_server to ask, the request is refused instead of forgotten.
pub(super) fn handle_client_file_request(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImFileReq = pdu.decode()?;
    let Some((from_user_id, _)) = user_of(cx, this) else {
        return Ok(());
    };
    let to_user_id = msg.to_user_id;
    let Ok(trans_mode) = TransferFileType::try_from(msg.trans_mode) else {
        debug!("user={from_user_id} file dropped: trans_mode={}", msg.trans_mode);
        return Ok(());
    };
    let req = ImFileTransferReq {
        from_user_id,
        to_user_id,
        file_name: msg.file_name,
        file_size: msg.file_size,
        trans_mode: msg.trans_mode,
        attach_data: Some(relay::handle_attach(this).into()),
    };
    if !cx.srv.file_servers.is_available() {
        refuse(cx, this, &req, pdu.seq_num());
        return Ok(());
    }
    let receiver = cx.srv.im_users.im_user_by_id(to_user_id);
    let has_pc = receiver.is_some_and(|user| user.pc_login_status());
    if trans_mode == TransferFileType::FileTypeOffline || has_pc {
        transfer(cx, this, &req, pdu.seq_num());
        return Ok(());
    }
    let body = req.encode_to_vec();
    let attach = PduAttachData::new(ATTACH_TYPE_HANDLE_AND_PDU_FOR_FILE, this.to_u32(), &body);
    let question = ImUsersStatReq {
        user_id: from_user_id,
        user_id_list: vec![to_user_id],
        attach_data: Some(attach.encode().into()),
    };
    let command_id = CID_BUDDY_LIST_USERS_STATUS_REQUEST;
    let question = ImPdu::encode(SID_BUDDY_LIST, command_id, pdu.seq_num(), &question);
    if !send_to_route(cx, &question) {
        refuse(cx, this, &req, pdu.seq_num());
    }
    Ok(())
}

/// route_server has said whether a PC of the receiver is there.
pub(super) fn transfer_by_status(
    cx: &mut Cx<'_>,
    online: bool,
    attach: &PduAttachData<'_>,
    seq_num: u16,
) {
    let Ok(mut req) = ImFileTransferReq::decode(attach.pdu) else {
        return debug!("file dropped: its attach data does not parse");
    };
    let trans_mode =
        if online { TransferFileType::FileTypeOnline } else { TransferFileType::FileTypeOffline };
    req.trans_mode = trans_mode.into();
    transfer(cx, NetHandle::from_u32(attach.handle), &req, seq_num);
}

fn transfer(cx: &mut Cx<'_>, sender: NetHandle, req: &ImFileTransferReq, seq_num: u16) {
    match cx.srv.file_servers.next_conn() {
        Some(conn) => {
            let header = PduHeader::new(SID_OTHER, CID_OTHER_FILE_TRANSFER_REQ, seq_num);
            cx.net.send_msg(conn, header, req);
        }
        None => refuse(cx, sender, req, seq_num),
    }
}

fn refuse(cx: &mut Cx<'_>, sender: NetHandle, req: &ImFileTransferReq, seq_num: u16) {
    debug!("user={} file refused: no file_server, or nobody to ask", req.from_user_id);
    let rsp = ImFileRsp {
        result_code: 1,
        from_user_id: req.from_user_id,
        to_user_id: req.to_user_id,
        file_name: req.file_name.clone(),
        task_id: String::new(),
        ip_addr_list: Vec::new(),
        trans_mode: req.trans_mode,
    };
    let rsp = ImPdu::encode(SID_FILE, CID_FILE_RESPONSE, seq_num, &rsp);
    send_to_handle(cx, req.from_user_id, sender, &rsp);
}

/// C++: msg_server/FileHandler.cpp CFileHandler::HandleClientFileHasOfflineReq
pub(super) fn handle_client_file_has_offline_req(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    relay_to_db(cx, this, pdu, |user_id| {
        let header = PduHeader::new(SID_FILE, CID_FILE_HAS_OFFLINE_RES, 0);
        Some((header, ImFileHasOfflineRsp { user_id, ..ImFileHasOfflineRsp::default() }))
    })
}

/// The sender has stored the file: the receiver may fetch it.
///
/// C++: msg_server/FileHandler.cpp CFileHandler::HandleClientFileAddOfflineReq
/// Differs: the receiver is sent to the file_server that made the task, if it is known, and
/// db_proxy_server is told which one that is (F114).
pub(super) fn handle_client_file_add_offline_req(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImFileAddOfflineReq = pdu.decode()?;
    let Some((from_user_id, _)) = user_of(cx, this) else {
        return Ok(());
    };
    let known = cx.srv.file_servers.known_ip_list(&msg.task_id).map(<[_]>::to_vec);
    let attach = file_places::attach_of_server(known.as_deref().unwrap_or_default());
    let request = relay::request(pdu, from_user_id, &attach)?;
    if send_to_db(cx, DbRange::Other, &request).is_none() {
        debug!("user={from_user_id} stored file not noted: no database");
    }
    if cx.srv.file_servers.is_available() {
        let ip_addr_list = known.unwrap_or_else(|| cx.srv.file_servers.next_ip_list());
        let notify = ImFileNotify {
            from_user_id,
            to_user_id: msg.to_user_id,
            file_name: msg.file_name,
            file_size: msg.file_size,
            task_id: msg.task_id,
            ip_addr_list,
            trans_mode: TransferFileType::FileTypeOffline.into(),
            offline_ready: 1,
        };
        notify_receiver(cx, &notify);
    }
    Ok(())
}

/// C++: msg_server/FileHandler.cpp CFileHandler::HandleClientFileDelOfflineReq
/// Differs: only sender and receiver of the file may have it forgotten (F7).
pub(super) fn handle_client_file_del_offline_req(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImFileDelOfflineReq = pdu.decode()?;
    let Some((user_id, _)) = user_of(cx, this) else {
        return Ok(());
    };
    if ![msg.from_user_id, msg.to_user_id].contains(&user_id) {
        debug!("user={user_id} may not delete the files of others");
        return Ok(());
    }
    if send_to_db(cx, DbRange::Other, &ImPdu::encode_with(*pdu.header(), &msg)).is_none() {
        debug!("user={user_id} fetched file not noted: no database");
    }
    Ok(())
}

/// Tells what waits. The answer has the addresses of one file_server for all files, so those that
/// are elsewhere are offered one by one, as they were when they came.
///
/// C++: msg_server/FileHandler.cpp CFileHandler::HandleFileHasOfflineRes
/// Differs: each file with the file_server that has it, and clients see no attach data (F73, F114).
pub(super) fn handle_file_has_offline_res(
    cx: &mut Cx<'_>,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let mut msg: ImFileHasOfflineRsp = pdu.decode()?;
    let mut answer = relay::Answer::parse(pdu)?;
    let (user_id, handle) = (answer.user_id, answer.handle()?);
    let servers = &mut cx.srv.file_servers;
    let told = PduAttachData::parse(&answer.attach).map(|attach| attach.pdu).unwrap_or_default();
    let mut told = file_places::decode(told);
    let mut place = |file: &OfflineFileInfo| {
        let known = servers.known_ip_list(&file.task_id).map(<[_]>::to_vec);
        known.or_else(|| told.remove(&file.task_id)).map(|then| servers.today(then))
    };
    let places: Vec<_> = msg.offline_file_list.iter().map(&mut place).collect();
    let here = match places.first() {
        Some(Some(first)) => first.clone(),
        _ => servers.next_ip_list(),
    };
    let is_here = |place: &Option<Vec<IpAddr>>| place.as_ref().is_none_or(|list| *list == here);
    if places.iter().all(is_here) {
        for addr in &here {
            answer.append(3, addr);
        }
        send_to_handle(cx, user_id, handle, &answer.pdu());
        return Ok(());
    }
    let files = std::mem::take(&mut msg.offline_file_list);
    let (mut kept, mut elsewhere) = (Vec::new(), Vec::new());
    for (file, place) in files.into_iter().zip(places) {
        match place.filter(|list| *list != here) {
            None => kept.push(file),
            Some(ip_addr_list) => elsewhere.push(ImFileNotify {
                from_user_id: file.from_user_id,
                to_user_id: user_id,
                file_name: file.file_name,
                file_size: file.file_size,
                task_id: file.task_id,
                ip_addr_list,
                trans_mode: TransferFileType::FileTypeOffline.into(),
                offline_ready: 1,
            }),
        }
    }
    let rsp = ImFileHasOfflineRsp {
        user_id,
        offline_file_list: kept,
        ip_addr_list: here,
        attach_data: None,
    };
    send_to_handle(cx, user_id, handle, &ImPdu::encode_with(*pdu.header(), &rsp));
    for notify in elsewhere {
        let notify = ImPdu::encode(SID_FILE, CID_FILE_NOTIFY, 0, &notify);
        send_to_handle(cx, user_id, handle, &notify);
    }
    Ok(())
}

/// Another msg_server offers a file.
///
/// C++: msg_server/FileHandler.cpp CFileHandler::HandleFileNotify
pub(super) fn handle_file_notify(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
    let msg: ImFileNotify = pdu.decode()?;
    im_user::broadcast_pdu(cx, msg.to_user_id, &for_clients(pdu), None);
    Ok(())
}
