//! Connections of msg_servers, which have transfers made.

use log::{debug, info};

use super::{Cx, FileServer};
use crate::base::im_pdu::{PduError, PduHeader, PduRef};
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler, keepalive};
use crate::pb::base_define::TransferFileType;
use crate::pb::cmd::*;
use crate::pb::server::{ImFileServerIpRsp, ImFileTransferReq, ImFileTransferRsp};

const TIMER_MS: u64 = 1000;

/// Nothing is known of a msg_server.
///
/// C++: file_server/file_msg_server_conn.h FileMsgServerConn
#[derive(Debug)]
pub struct FileMsgServerConn;

impl ConnHandler for FileMsgServerConn {
    type Server = FileServer;
    type Framing = PduFraming;

    /// C++: file_server/file_msg_server_conn.cpp FileMsgServerConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(peer) = cx.net.peer_addr(this) {
            info!("conn={this} peer={peer} msg_server connected");
        }
        cx.srv.file_msg_server_conns.insert(this, Self);
    }

    /// C++: file_server/file_msg_server_conn.cpp FileMsgServerConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for FileMsgServerConn {
    /// C++: file_server/file_msg_server_conn.cpp FileMsgServerConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            CID_OTHER_HEARTBEAT => Self::handle_heart_beat(cx, this, pdu),
            CID_OTHER_FILE_TRANSFER_REQ => Self::handle_msg_file_transfer_req(cx, this, pdu)?,
            CID_OTHER_FILE_SERVER_IP_REQ => Self::handle_get_server_address_req(cx, this, pdu),
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl FileMsgServerConn {
    /// C++: file_server/file_msg_server_conn.cpp FileMsgServerConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if cx.srv.file_msg_server_conns.remove(this).is_some() {
            info!("conn={this} msg_server lost");
            cx.net.close(this);
        }
    }

    /// Echoed: it is what the msg_server knows us by to be alive.
    ///
    /// C++: file_server/file_msg_server_conn.cpp FileMsgServerConn::_HandleHeartBeat
    fn handle_heart_beat(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) {
        cx.net.send_received(this, pdu);
    }

    /// Makes a transfer.
    ///
    /// C++: file_server/file_msg_server_conn.cpp FileMsgServerConn::_HandleMsgFileTransferReq
    /// Differs: a refusal is an answer and does not end the connection (F113).
    fn handle_msg_file_transfer_req(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImFileTransferReq = pdu.decode()?;
        let (from, to, size) = (msg.from_user_id, msg.to_user_id, msg.file_size);
        let trans_mode = TransferFileType::try_from(msg.trans_mode).ok();
        let trans_mode = trans_mode.filter(|_| from != 0 && to != 0);
        let tick = cx.net.tick();
        let task_id =
            trans_mode.and_then(|mode| cx.srv.tasks.new_transfer_task(mode, from, to, size, tick));
        match task_id {
            Some(_) => debug!("from={from} to={to} size={size} mode={} task made", msg.trans_mode),
            None => info!("from={from} to={to} size={size} mode={} refused", msg.trans_mode),
        }
        let rsp = ImFileTransferRsp {
            result_code: u32::from(task_id.is_none()),
            from_user_id: from,
            to_user_id: to,
            file_name: Some(msg.file_name),
            file_size: Some(size),
            task_id: Some(task_id.map(|task_id| task_id.text()).unwrap_or_default()),
            trans_mode: Some(msg.trans_mode),
            attach_data: msg.attach_data,
        };
        let header = PduHeader::new(SID_OTHER, CID_OTHER_FILE_TRANSFER_RSP, pdu.seq_num());
        cx.net.send_msg(this, header, &rsp);
        Ok(())
    }

    /// Tells where clients reach this server.
    ///
    /// C++: file_server/file_msg_server_conn.cpp FileMsgServerConn::_HandleGetServerAddressReq
    fn handle_get_server_address_req(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) {
        let rsp = ImFileServerIpRsp { ip_addr_list: cx.srv.addresses.clone() };
        let header = PduHeader::new(SID_OTHER, CID_OTHER_FILE_SERVER_IP_RSP, pdu.seq_num());
        cx.net.send_msg(this, header, &rsp);
    }
}

/// C++: file_server/file_msg_server_conn.cpp InitializeFileMsgServerConn
pub(super) fn initialize_file_msg_server_conn(net: &mut Netlib<FileServer>) {
    net.register_timer(file_msg_server_conn_timer_callback, TIMER_MS);
}

/// C++: file_server/file_msg_server_conn.cpp FileMsgServerConnTimerCallback
fn file_msg_server_conn_timer_callback(cx: &mut Cx<'_>) {
    let conns: Vec<_> = cx.srv.file_msg_server_conns.handles().collect();
    for conn in conns {
        keepalive::check_timeout(cx, conn, keepalive::SERVER_TIMEOUT_MS);
    }
}
