//! The connections to route_servers, through which members learn of changes.

use log::{info, warn};

use super::{Cx, HttpMsgServer};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::serv_info::RECONNECT_CHECK_MS;
use crate::netlib::{ConnHandler, NetHandle, PduFraming, PduHandler, ServConns, keepalive};
use crate::pb::cmd::*;
use crate::pb::server::{ImOnlineUserInfo, ImRoleSet};

/// A connection of which nothing more is kept than of any.
///
/// C++: http_msg_server/RouteServConn.h CRouteServConn
#[derive(Debug, Default)]
pub struct RouteServConn;

/// All route_servers. One passes on what is sent from here.
#[derive(Debug)]
pub(super) struct RouteServers {
    pub(super) conns: ServConns<RouteServConn>,
    /// C++: http_msg_server/RouteServConn.cpp g_master_rs_conn
    master: Option<NetHandle>,
}

impl RouteServers {
    pub(super) fn new(addrs: Vec<(String, u16)>) -> Self {
        Self { conns: ServConns::new(addrs), master: None }
    }
}

/// To the master.
///
/// C++: http_msg_server/RouteServConn.cpp get_route_serv_conn
pub(super) fn send_to_route(cx: &mut Cx<'_>, pdu: &ImPdu) {
    match cx.srv.route_servers.master {
        Some(master) => cx.net.send_pdu(master, pdu),
        None => warn!("no route_server: members learn of the change when they ask"),
    }
}

/// Chooses the master, and tells it.
///
/// C++: http_msg_server/RouteServConn.cpp update_master_route_serv_conn
/// Differs: the order of the configuration decides, not the time of the connect (F61).
fn update_master_route_serv_conn(cx: &mut Cx<'_>) {
    let old = cx.srv.route_servers.master;
    let best = cx.srv.route_servers.conns.best_master(old, cx.net.tick());
    if old == best {
        return;
    }
    cx.srv.route_servers.master = best;
    let header = PduHeader::new(SID_OTHER, CID_OTHER_ROLE_SET, 0);
    if let Some(old) = old {
        cx.net.send_msg(old, header, &ImRoleSet { master: 0 });
    }
    let Some(master) = best else {
        return warn!("no route_server left");
    };
    info!("conn={master} is the master route_server");
    cx.net.send_msg(master, header, &ImRoleSet { master: 1 });
}

impl ConnHandler for RouteServConn {
    type Server = HttpMsgServer;
    type Framing = PduFraming;

    /// C++: http_msg_server/RouteServConn.cpp CRouteServConn::OnConfirm
    /// Differs: tells that nobody is logged in here; route_server then sends the messages of users
    /// elsewhere only.
    fn on_confirm(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} route_server connected");
        let header = PduHeader::new(SID_OTHER, CID_OTHER_ONLINE_USER_INFO, 0);
        cx.net.send_msg(this, header, &ImOnlineUserInfo::default());
        cx.srv.route_servers.conns.confirm(this, cx.net.tick());
        update_master_route_serv_conn(cx);
    }

    /// C++: http_msg_server/RouteServConn.cpp CRouteServConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for RouteServConn {
    /// What route_server broadcasts is for msg_servers: nobody is logged in here.
    ///
    /// C++: http_msg_server/RouteServConn.cpp CRouteServConn::HandlePdu
    fn handle_pdu(_: &mut Cx<'_>, _: NetHandle, _: PduRef<'_>) -> Result<(), PduError> {
        Ok(())
    }
}

impl RouteServConn {
    /// C++: http_msg_server/RouteServConn.cpp CRouteServConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(conn) = cx.srv.route_servers.conns.remove(this, cx.net.tick()) {
            if conn.open {
                warn!("conn={this} route_server lost");
            }
            update_master_route_serv_conn(cx);
            cx.net.close(this);
        }
    }
}

/// Connects, and registers the timer.
///
/// C++: http_msg_server/RouteServConn.cpp init_route_serv_conn
pub(super) fn init_route_serv_conn(cx: &mut Cx<'_>) {
    route_server_conn_timer_callback(cx);
    cx.net.register_timer(route_server_conn_timer_callback, RECONNECT_CHECK_MS);
}

/// C++: http_msg_server/RouteServConn.cpp route_server_conn_timer_callback
fn route_server_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.route_servers.conns.open_handles() {
        keepalive::on_server_timer::<RouteServConn>(cx, conn);
    }
    cx.srv.route_servers.conns.check_reconnect::<RouteServConn>(cx.net);
    update_master_route_serv_conn(cx);
}
