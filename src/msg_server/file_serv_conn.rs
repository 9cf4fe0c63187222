//! The connections to file_servers, which make the tasks of file transfers.

use std::collections::{HashMap, VecDeque};

use log::{debug, info, warn};

use super::route_serv_conn::send_to_route;
use super::{Cx, MsgServer, im_user, msg_conn};
use crate::base::attach_data::DbAttachData;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::serv_info::RECONNECT_CHECK_MS;
use crate::netlib::{ConnHandler, NetHandle, PduFraming, PduHandler, ServConns, keepalive};
use crate::pb::base_define::IpAddr;
use crate::pb::cmd::*;
use crate::pb::file::{ImFileNotify, ImFileRsp};
use crate::pb::server::{ImFileServerIpReq, ImFileServerIpRsp, ImFileTransferRsp};

/// Tasks whose file_server is remembered; the oldest is forgotten for a new one.
pub const TASKS_MAX: usize = 10_000;

/// What is kept of a file_server.
///
/// C++: msg_server/FileServConn.h CFileServConn
#[derive(Debug, Default)]
pub struct FileServConn {
    /// Where clients reach it.
    ip_list: Vec<IpAddr>,
}

/// All file_servers.
#[derive(Debug)]
pub(super) struct FileServers {
    pub(super) conns: ServConns<FileServConn>,
    /// Whose turn it is.
    turn: usize,
    /// Where clients reach the file_server that has made a task, connected or not.
    tasks: HashMap<String, Vec<IpAddr>>,
    task_order: VecDeque<String>,
}

impl FileServers {
    pub(super) fn new(addrs: Vec<(String, u16)>) -> Self {
        Self {
            conns: ServConns::new(addrs),
            turn: 0,
            tasks: HashMap::new(),
            task_order: VecDeque::new(),
        }
    }

    /// An open connection.
    ///
    /// C++: msg_server/FileServConn.cpp get_random_file_serv_conn
    /// Differs: one after the other; no luck is involved.
    pub(super) fn next_conn(&mut self) -> Option<NetHandle> {
        self.turn = self.turn.wrapping_add(1);
        let open = self.conns.open_handles();
        let at = self.turn.checked_rem(open.len())?;
        Some(open[at])
    }

    /// Where clients reach the file_server of a task, even if it is away: nobody else has the file.
    pub(super) fn known_ip_list(&self, task_id: &str) -> Option<&[IpAddr]> {
        self.tasks.get(task_id).map(Vec::as_slice)
    }

    /// Where clients reach some file_server.
    pub(super) fn next_ip_list(&mut self) -> Vec<IpAddr> {
        let conn = self.next_conn().and_then(|handle| self.conns.get(handle));
        conn.map(|conn| conn.state.ip_list.clone()).unwrap_or_default()
    }

    /// Where clients reach the file_server today that had one of these addresses when a file came.
    pub(super) fn today(&self, then: Vec<IpAddr>) -> Vec<IpAddr> {
        let lists = self.conns.open().map(|(_, conn)| &conn.state.ip_list);
        let same = lists.into_iter().find(|list| list.iter().any(|addr| then.contains(addr)));
        same.cloned().unwrap_or(then)
    }

    pub(super) fn is_available(&self) -> bool {
        self.conns.is_available()
    }

    #[cfg(test)]
    pub(super) fn task_cnt(&self) -> usize {
        assert_eq!(self.tasks.len(), self.task_order.len());
        self.tasks.len()
    }

    fn remember(&mut self, task_id: &str, ip_list: Vec<IpAddr>) {
        if self.task_order.len() >= TASKS_MAX
            && let Some(oldest) = self.task_order.pop_front()
        {
            self.tasks.remove(&oldest);
        }
        if self.tasks.insert(task_id.to_owned(), ip_list).is_none() {
            self.task_order.push_back(task_id.to_owned());
        }
    }
}

impl ConnHandler for FileServConn {
    type Server = MsgServer;
    type Framing = PduFraming;

    /// Asks where clients reach the file_server.
    ///
    /// C++: msg_server/FileServConn.cpp CFileServConn::OnConfirm
    fn on_confirm(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} file_server connected");
        cx.srv.file_servers.conns.confirm(this, cx.net.tick());
        let header = PduHeader::new(SID_OTHER, CID_OTHER_FILE_SERVER_IP_REQ, 0);
        cx.net.send_msg(this, header, &ImFileServerIpReq::default());
    }

    /// C++: msg_server/FileServConn.cpp CFileServConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for FileServConn {
    /// C++: msg_server/FileServConn.cpp CFileServConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_OTHER_FILE_TRANSFER_RSP => Self::handle_file_msg_trans_rsp(cx, this, pdu)?,
            CID_OTHER_FILE_SERVER_IP_RSP => Self::handle_file_server_ip_rsp(cx, this, pdu)?,
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl FileServConn {
    /// C++: msg_server/FileServConn.cpp CFileServConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(conn) = cx.srv.file_servers.conns.remove(this, cx.net.tick()) {
            if conn.open {
                warn!("conn={this} file_server lost");
            }
            cx.net.close(this);
        }
    }

    /// A task is made: tells the sender, and the PCs of the receiver.
    ///
    /// C++: msg_server/FileServConn.cpp CFileServConn::_HandleFileMsgTransRsp
    fn handle_file_msg_trans_rsp(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImFileTransferRsp = pdu.decode()?;
        let attach = DbAttachData::parse(msg.attach_data.as_deref().unwrap_or_default())?;
        let trans_mode = i32::from(msg.trans_mode());
        let (task_id, file_name) =
            (msg.task_id.unwrap_or_default(), msg.file_name.unwrap_or_default());
        let servers = &mut cx.srv.file_servers;
        let Some(ip_addr_list) = servers.conns.get(this).map(|conn| conn.state.ip_list.clone())
        else {
            return Ok(());
        };
        let rsp = ImFileRsp {
            result_code: msg.result_code,
            from_user_id: msg.from_user_id,
            to_user_id: msg.to_user_id,
            file_name: file_name.clone(),
            task_id: task_id.clone(),
            ip_addr_list: ip_addr_list.clone(),
            trans_mode,
        };
        if msg.result_code == 0 {
            servers.remember(&task_id, ip_addr_list.clone());
        }
        let rsp = ImPdu::encode(SID_FILE, CID_FILE_RESPONSE, pdu.seq_num(), &rsp);
        let handle = NetHandle::from_u32(attach.handle);
        msg_conn::send_to_handle(cx, msg.from_user_id, handle, &rsp);
        if msg.result_code == 0 {
            let notify = ImFileNotify {
                from_user_id: msg.from_user_id,
                to_user_id: msg.to_user_id,
                file_name,
                file_size: msg.file_size.unwrap_or(0),
                task_id,
                ip_addr_list,
                trans_mode,
                offline_ready: 0,
            };
            notify_receiver(cx, &notify);
        }
        Ok(())
    }

    /// C++: msg_server/FileServConn.cpp CFileServConn::_HandleFileServerIPRsp
    /// Differs: the list replaces the one before (F83).
    fn handle_file_server_ip_rsp(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImFileServerIpRsp = pdu.decode()?;
        if let Some(conn) = cx.srv.file_servers.conns.get_mut(this) {
            conn.state.ip_list = msg.ip_addr_list;
        }
        Ok(())
    }
}

/// Offers a file to the PCs of its receiver, here and elsewhere.
pub(super) fn notify_receiver(cx: &mut Cx<'_>, notify: &ImFileNotify) {
    let pdu = ImPdu::encode(SID_FILE, CID_FILE_NOTIFY, 0, notify);
    im_user::broadcast_pdu_without_mobile(cx, notify.to_user_id, &pdu);
    send_to_route(cx, &pdu);
}

/// Connects, and registers the timer.
///
/// C++: msg_server/FileServConn.cpp init_file_serv_conn
pub(super) fn init_file_serv_conn(cx: &mut Cx<'_>) {
    file_server_conn_timer_callback(cx);
    cx.net.register_timer(file_server_conn_timer_callback, RECONNECT_CHECK_MS);
}

/// C++: msg_server/FileServConn.cpp file_server_conn_timer_callback
pub(super) fn file_server_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.file_servers.conns.open_handles() {
        keepalive::on_server_timer::<FileServConn>(cx, conn);
    }
    cx.srv.file_servers.conns.check_reconnect::<FileServConn>(cx.net);
}
