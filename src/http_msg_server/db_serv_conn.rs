//! The connections to db_proxy_servers, and their answers.

use std::num::NonZeroUsize;

use log::{debug, info, warn};

use super::http_conn::HttpConn;
use super::http_pdu::{pack_send_create_group_result, pack_send_result};
use super::http_query::{HttpErrorCode, Interface};
use super::{Cx, HttpMsgServer, route_serv_conn};
use crate::base::attach_data::DbAttachData;
use crate::base::im_pdu::{ImPdu, PduError, PduRef};
use crate::netlib::serv_info::RECONNECT_CHECK_MS;
use crate::netlib::{ConnHandler, NetHandle, PduFraming, PduHandler, ServConns, keepalive};
use crate::pb::cmd::*;
use crate::pb::group::{ImGroupChangeMemberNotify, ImGroupChangeMemberRsp, ImGroupCreateRsp};

/// A db_proxy_server that is about to stop has this long to answer what it was asked.
pub const STOP_RECV_MS: u64 = 10_000;

/// What is kept of a connection.
///
/// C++: http_msg_server/DBServConn.h CDBServConn
#[derive(Debug, Default)]
pub struct DbServConn {
    /// Queries whose answer somebody waits for.
    pub(super) in_flight: u32,
    /// When the server said that it is about to stop.
    stop_tick: Option<u64>,
}

/// All connections to db_proxy_servers, some to each.
#[derive(Debug)]
pub(super) struct DbServers {
    pub(super) conns: ServConns<DbServConn>,
    /// So many connections lead to servers that msg_servers prefer for logins.
    login_count: usize,
}

impl DbServers {
    pub(super) fn new(servers: &[(String, u16)], conn_cnt: NonZeroUsize) -> Self {
        let addrs = servers.iter().flat_map(|addr| std::iter::repeat_n(addr, conn_cnt.get()));
        let login_count = servers.len() / 2 * conn_cnt.get();
        Self { conns: ServConns::new(addrs.cloned()), login_count }
    }

    /// The open connection with the fewest queries in flight, rather not one for logins.
    ///
    /// C++: http_msg_server/DBServConn.cpp get_db_serv_conn
    /// Differs: one server is enough, and no luck is involved (F79).
    fn least_busy(&self) -> Option<NetHandle> {
        let conns = self.conns.open();
        let best = conns.min_by_key(|(_, c)| (c.at < self.login_count, c.state.in_flight));
        best.map(|(handle, _)| handle)
    }
}

/// Sends a query to a db_proxy_server and returns the connection it went to.
pub(super) fn send_to_db(cx: &mut Cx<'_>, pdu: &ImPdu) -> Option<NetHandle> {
    let db = cx.srv.db_servers.least_busy()?;
    if let Some(conn) = cx.srv.db_servers.conns.get_mut(db) {
        conn.state.in_flight += 1;
    }
    cx.net.send_pdu(db, pdu);
    Some(db)
}

/// Nobody waits for an answer to that query any more.
pub(super) fn end_of_query(cx: &mut Cx<'_>, db: NetHandle) {
    if let Some(conn) = cx.srv.db_servers.conns.get_mut(db) {
        conn.state.in_flight -= 1;
    }
}

impl ConnHandler for DbServConn {
    type Server = HttpMsgServer;
    type Framing = PduFraming;

    /// C++: http_msg_server/DBServConn.cpp CDBServConn::OnConfirm
    fn on_confirm(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} db_proxy_server connected");
        cx.srv.db_servers.conns.confirm(this, cx.net.tick());
    }

    /// C++: http_msg_server/DBServConn.cpp CDBServConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for DbServConn {
    /// C++: http_msg_server/DBServConn.cpp CDBServConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_OTHER_STOP_RECV_PACKET => Self::handle_stop_receive_packet(cx, this),
            CID_GROUP_CREATE_RESPONSE => Self::handle_create_group_rsp(cx, pdu)?,
            CID_GROUP_CHANGE_MEMBER_RESPONSE => Self::handle_change_member_rsp(cx, pdu)?,
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl DbServConn {
    /// C++: http_msg_server/DBServConn.cpp CDBServConn::Close
    /// Differs: those who wait for it are told.
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(conn) = cx.srv.db_servers.conns.remove(this, cx.net.tick()) {
            if conn.open {
                warn!("conn={this} db_proxy_server lost queries={}", conn.state.in_flight);
            }
            HttpConn::fail_waiting(cx, this);
            cx.net.close(this);
        }
    }

    /// C++: http_msg_server/DBServConn.cpp CDBServConn::_HandleStopReceivePacket
    /// Differs: heartbeats go on, and the connection ends by itself (F84).
    fn handle_stop_receive_packet(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} db_proxy_server is about to stop");
        if let Some(conn) = cx.srv.db_servers.conns.get_mut(this) {
            conn.open = false;
            let tick = cx.net.tick();
            conn.state.stop_tick = conn.state.stop_tick.or(Some(tick));
        }
    }

    /// C++: http_msg_server/DBServConn.cpp CDBServConn::_HandleCreateGroupRsp
    fn handle_create_group_rsp(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImGroupCreateRsp = pdu.decode()?;
        let attach = DbAttachData::parse(msg.attach_data.as_deref().unwrap_or_default())?;
        let asker = NetHandle::from_u32(attach.handle);
        let group_id = msg.group_id.unwrap_or_default();
        info!("conn={asker} CreateGroup result={} group={group_id}", msg.result_code);
        let code = match msg.result_code {
            0 => HttpErrorCode::Success,
            _ => HttpErrorCode::CreateGroup,
        };
        HttpConn::answer(cx, asker, Interface::CreateGroup, pdu.seq_num(), |keep_alive| {
            pack_send_create_group_result(code, group_id, keep_alive)
        });
        Ok(())
    }

    /// C++: http_msg_server/DBServConn.cpp CDBServConn::_HandleChangeMemberRsp
    /// Differs: members are told even if who asked has gone.
    fn handle_change_member_rsp(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImGroupChangeMemberRsp = pdu.decode()?;
        let attach = DbAttachData::parse(msg.attach_data.as_deref().unwrap_or_default())?;
        let asker = NetHandle::from_u32(attach.handle);
        let (group_id, count) = (msg.group_id, msg.chg_user_id_list.len());
        let result_code = msg.result_code;
        info!("conn={asker} ChangeMembers result={result_code} group={group_id} changed={count}");
        let code = match result_code {
            0 => {
                let notify = ImGroupChangeMemberNotify {
                    user_id: msg.user_id,
                    change_type: msg.change_type,
                    group_id,
                    cur_user_id_list: msg.cur_user_id_list,
                    chg_user_id_list: msg.chg_user_id_list,
                };
                let command_id = CID_GROUP_CHANGE_MEMBER_NOTIFY;
                let notify = ImPdu::encode(SID_GROUP, command_id, 0, &notify);
                route_serv_conn::send_to_route(cx, &notify);
                HttpErrorCode::Success
            }
            _ => HttpErrorCode::ChangeMember,
        };
        HttpConn::answer(cx, asker, Interface::ChangeMembers, pdu.seq_num(), |keep_alive| {
            pack_send_result(code, keep_alive)
        });
        Ok(())
    }
}

/// Connects, and registers the timer.
///
/// C++: http_msg_server/DBServConn.cpp init_db_serv_conn
pub(super) fn init_db_serv_conn(cx: &mut Cx<'_>) {
    db_server_conn_timer_callback(cx);
    cx.net.register_timer(db_server_conn_timer_callback, RECONNECT_CHECK_MS);
}

/// C++: http_msg_server/DBServConn.cpp db_server_conn_timer_callback
fn db_server_conn_timer_callback(cx: &mut Cx<'_>) {
    for this in cx.srv.db_servers.conns.handles() {
        let Some(conn) = cx.srv.db_servers.conns.get(this) else {
            continue;
        };
        let stop_tick = conn.state.stop_tick;
        if stop_tick.is_some_and(|stop| cx.net.tick() > stop + STOP_RECV_MS) {
            DbServConn::close(cx, this);
        } else if conn.open || stop_tick.is_some() {
            keepalive::on_server_timer::<DbServConn>(cx, this);
        }
    }
    cx.srv.db_servers.conns.check_reconnect::<DbServConn>(cx.net);
}
