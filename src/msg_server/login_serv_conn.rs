//! The connections to login_servers, which learn how many users are here.

use log::{info, warn};

use super::{Cx, MsgServer};
use crate::base::im_pdu::{ImPdu, PduError, PduRef};
use crate::netlib::serv_info::RECONNECT_CHECK_MS;
use crate::netlib::{ConnHandler, NetHandle, PduFraming, PduHandler, ServConns, keepalive};
use crate::pb::cmd::*;
use crate::pb::server::ImMsgServInfo;

/// How often the true number of users is told, whatever was counted in between.
const MSG_SERV_INFO_INTERVAL_MS: u64 = 60_000;

/// Nothing is kept of a login_server but that it is there.
///
/// C++: msg_server/LoginServConn.h CLoginServConn
#[derive(Debug, Default)]
pub struct LoginServConn;

/// All login_servers.
pub(super) type LoginServers = ServConns<LoginServConn>;

impl ConnHandler for LoginServConn {
    type Server = MsgServer;
    type Framing = PduFraming;

    /// C++: msg_server/LoginServConn.cpp CLoginServConn::OnConfirm
    fn on_confirm(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} login_server connected");
        cx.srv.login_servers.confirm(this, cx.net.tick());
        let pdu = msg_serv_info(cx.srv);
        cx.net.send_pdu(this, &pdu);
    }

    /// C++: msg_server/LoginServConn.cpp CLoginServConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for LoginServConn {
    /// A login_server says nothing but that it is there.
    ///
    /// C++: msg_server/LoginServConn.cpp CLoginServConn::HandlePdu
    fn handle_pdu(_cx: &mut Cx<'_>, _this: NetHandle, _pdu: PduRef<'_>) -> Result<(), PduError> {
        Ok(())
    }
}

impl LoginServConn {
    /// C++: msg_server/LoginServConn.cpp CLoginServConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(conn) = cx.srv.login_servers.remove(this, cx.net.tick()) {
            if conn.open {
                warn!("conn={this} login_server lost");
            }
            cx.net.close(this);
        }
    }
}

/// Connects, and registers the timers.
///
/// C++: msg_server/LoginServConn.cpp init_login_serv_conn
pub(super) fn init_login_serv_conn(cx: &mut Cx<'_>) {
    login_server_conn_timer_callback(cx);
    cx.net.register_timer(login_server_conn_timer_callback, RECONNECT_CHECK_MS);
    cx.net.register_timer(repeat_msg_serv_info, MSG_SERV_INFO_INTERVAL_MS);
}

/// C++: msg_server/LoginServConn.cpp login_server_conn_timer_callback
pub(super) fn login_server_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.login_servers.open_handles() {
        keepalive::on_server_timer::<LoginServConn>(cx, conn);
    }
    cx.srv.login_servers.check_reconnect::<LoginServConn>(cx.net);
}

/// Corrects what a lost or doubled count has left (F54).
fn repeat_msg_serv_info(cx: &mut Cx<'_>) {
    send_to_all_login_server(cx, &msg_serv_info(cx.srv));
}

/// Where clients reach this server, and how many there are.
fn msg_serv_info(srv: &MsgServer) -> ImPdu {
    let msg = ImMsgServInfo {
        ip1: srv.ip_addr1.clone(),
        ip2: srv.ip_addr2.clone(),
        port: srv.listen_port.into(),
        max_conn_cnt: srv.max_conn_cnt,
        cur_conn_cnt: srv.user_conn_cnt(),
        host_name: srv.host_name.clone(),
    };
    ImPdu::encode(SID_OTHER, CID_OTHER_MSG_SERV_INFO, 0, &msg)
}

/// C++: msg_server/LoginServConn.cpp send_to_all_login_server
pub(super) fn send_to_all_login_server(cx: &mut Cx<'_>, pdu: &ImPdu) {
    cx.srv.login_servers.send_to_all(cx.net, pdu);
}
