//! The connections to db_proxy_servers, and their answers.

use std::iter;
use std::num::NonZeroUsize;

use log::{debug, info, warn};

use super::msg_conn::{self, MsgAck, MsgConn};
use super::{Cx, MsgServer, file_handler, group_chat, im_user, push_serv_conn, relay};
use crate::base::attach_data::DbAttachData;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::serv_conns::ServConn;
use crate::netlib::serv_info::RECONNECT_CHECK_MS;
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler, ServConns, keepalive};
use crate::pb::base_define::SessionType;
use crate::pb::buddy::{ImChangeSignInfoRsp, ImSignInfoChangedNotify};
use crate::pb::cmd::*;
use crate::pb::message::{ImMsgData, ImMsgDataAck};
use crate::pb::server::ImGetDeviceTokenReq;

/// A db_proxy_server that is about to stop has this long to answer what it was asked.
pub const STOP_RECV_MS: u64 = 10_000;

/// How often the counts of unanswered requests fade.
const FADE_MS: u64 = 1_000;

/// What is kept of a connection.
///
/// C++: msg_server/DBServConn.h CDBServConn
#[derive(Debug, Default)]
pub struct DbServConn {
    /// Requests on their way. Some are never answered, so the number fades.
    in_flight: u32,
    /// When the server said that it is about to stop.
    stop_tick: Option<u64>,
}

/// All connections to db_proxy_servers, some to each.
#[derive(Debug)]
pub(super) struct DbServers {
    pub(super) conns: ServConns<DbServConn>,
    /// So many connections are for what clients ask when they start.
    ///
    /// C++: msg_server/DBServConn.cpp g_db_server_login_count
    login_count: usize,
    /// Connections to each server.
    conn_cnt: NonZeroUsize,
}

/// Which connections a request prefers. What clients ask when they start does not hold up those
/// who are at work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DbRange {
    /// The first half of the servers.
    Login,
    /// The other half.
    Other,
}

/// Each server as often as there are connections to it.
fn repeated(
    servers: &[(String, u16)],
    conn_cnt: NonZeroUsize,
) -> impl Iterator<Item = (String, u16)> {
    servers.iter().flat_map(move |addr| iter::repeat_n(addr, conn_cnt.get())).cloned()
}

fn login_count(servers: &[(String, u16)], conn_cnt: NonZeroUsize) -> usize {
    servers.len() / 2 * conn_cnt.get()
}

impl DbServers {
    pub(super) fn new(servers: &[(String, u16)], conn_cnt: NonZeroUsize) -> Self {
        let conns = ServConns::new(repeated(servers, conn_cnt));
        Self { conns, login_count: login_count(servers, conn_cnt), conn_cnt }
    }

    /// See [`ServConns::set_servers`].
    pub(super) fn set_servers(&mut self, net: &mut Netlib<MsgServer>, servers: &[(String, u16)]) {
        self.conns.set_servers(net, repeated(servers, self.conn_cnt));
        self.login_count = login_count(servers, self.conn_cnt);
    }

    pub(super) fn is_available(&self) -> bool {
        self.conns.is_available()
    }

    /// Whether a connection counts for this range: one of the other does if this one has none open.
    ///
    /// C++: msg_server/DBServConn.cpp get_db_server_conn_in_range
    fn in_range(&self, range: DbRange) -> impl Fn(&ServConn<DbServConn>) -> bool + use<> {
        let login_count = self.login_count;
        let is_own = move |at: usize| (at < login_count) == (range == DbRange::Login);
        let has_own = self.conns.open().any(|(_, conn)| is_own(conn.at));
        move |conn| !has_own || is_own(conn.at)
    }

    /// The open connection of this range with the fewest requests in flight.
    fn least_busy(&self, range: DbRange) -> Option<NetHandle> {
        let in_range = self.in_range(range);
        let conns = self.conns.open().filter(|(_, conn)| in_range(conn));
        conns.min_by_key(|(_, conn)| conn.state.in_flight).map(|(handle, _)| handle)
    }

    /// The open connection of this range that a key leads to.
    fn by_key(&self, range: DbRange, key: u32) -> Option<NetHandle> {
        let in_range = self.in_range(range);
        let conns = || self.conns.open().filter(|(_, conn)| in_range(conn));
        let at = (key as usize).checked_rem(conns().count())?;
        conns().nth(at).map(|(handle, _)| handle)
    }
}

/// Sends a request to the least busy db_proxy_server and returns the connection it went to.
///
/// C++: msg_server/DBServConn.cpp get_db_serv_conn
/// Differs: one server is enough, and no luck is involved (F79).
pub(super) fn send_to_db(cx: &mut Cx<'_>, range: DbRange, pdu: &ImPdu) -> Option<NetHandle> {
    let conn = cx.srv.db_servers.least_busy(range)?;
    send(cx, conn, pdu);
    Some(conn)
}

/// Sends a message, or what is said about messages, on the connection of its conversation: on
/// several connections it could be overtaken. False if there is no db_proxy_server.
pub(super) fn send_in_order(cx: &mut Cx<'_>, conversation: u32, pdu: &ImPdu) -> bool {
    let Some(conn) = cx.srv.db_servers.by_key(DbRange::Other, conversation) else {
        return false;
    };
    send(cx, conn, pdu);
    true
}

fn send(cx: &mut Cx<'_>, conn: NetHandle, pdu: &ImPdu) {
    if let Some(conn) = cx.srv.db_servers.conns.get_mut(conn) {
        conn.state.in_flight = conn.state.in_flight.saturating_add(1);
    }
    cx.net.send_pdu(conn, pdu);
}

impl ConnHandler for DbServConn {
    type Server = MsgServer;
    type Framing = PduFraming;

    /// C++: msg_server/DBServConn.cpp CDBServConn::OnConfirm
    fn on_confirm(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} db_proxy_server connected");
        cx.srv.db_servers.conns.confirm(this, cx.net.tick());
    }

    /// C++: msg_server/DBServConn.cpp CDBServConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for DbServConn {
    /// C++: msg_server/DBServConn.cpp CDBServConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        let command_id = pdu.command_id();
        if command_id != CID_OTHER_HEARTBEAT
            && let Some(conn) = cx.srv.db_servers.conns.get_mut(this)
        {
            conn.state.in_flight = conn.state.in_flight.saturating_sub(1);
        }
        match command_id {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_OTHER_VALIDATE_RSP => msg_conn::handle_validate_response(cx, pdu)?,
            CID_LOGIN_RES_REGIST => msg_conn::handle_regist_response(cx, pdu)?,
            // The client was answered at once.
            CID_LOGIN_RES_DEVICETOKEN => {}
            CID_LOGIN_RES_PUSH_SHIELD
            | CID_LOGIN_RES_QUERY_PUSH_SHIELD
            | CID_BUDDY_LIST_RECENT_CONTACT_SESSION_RESPONSE
            | CID_BUDDY_LIST_USER_INFO_RESPONSE
            | CID_BUDDY_LIST_REMOVE_SESSION_RES
            | CID_BUDDY_LIST_ALL_USER_RESPONSE
            | CID_BUDDY_LIST_DEPARTMENT_RESPONSE
            | CID_MSG_UNREAD_CNT_RESPONSE
            | CID_MSG_LIST_RESPONSE
            | CID_MSG_GET_LATEST_MSG_ID_RSP
            | CID_MSG_GET_BY_MSG_ID_RES
            | CID_GROUP_NORMAL_LIST_RESPONSE
            | CID_GROUP_CREATE_RESPONSE
            | CID_GROUP_SHIELD_GROUP_RESPONSE => relay_answer(cx, pdu)?,
            CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE => {
                let answer = relay::Answer::parse(pdu)?;
                im_user::broadcast_pdu(cx, answer.user_id, &answer.pdu(), None);
            }
            CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE => {
                Self::handle_change_sign_info_response(cx, pdu)?;
            }
            CID_MSG_DATA => Self::handle_msg_data(cx, this, pdu)?,
            CID_GROUP_INFO_RESPONSE => group_chat::handle_group_info_response(cx, pdu)?,
            CID_GROUP_CHANGE_MEMBER_RESPONSE => {
                group_chat::handle_group_change_member_response(cx, pdu)?;
            }
            CID_OTHER_GET_SHIELD_RSP => {
                group_chat::handle_group_get_shield_by_group_response(cx, pdu)?;
            }
            CID_OTHER_GET_DEVICE_TOKEN_RSP => {
                push_serv_conn::handle_get_device_token_response(cx, pdu)?;
            }
            CID_FILE_HAS_OFFLINE_RES => file_handler::handle_file_has_offline_res(cx, pdu)?,
            CID_OTHER_STOP_RECV_PACKET => Self::handle_stop_receive_packet(cx, this),
            _ => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

/// Passes an answer on to the connection that has asked.
///
/// C++: msg_server/DBServConn.cpp CDBServConn::_HandleRecentSessionResponse
fn relay_answer(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
    let answer = relay::Answer::parse(pdu)?;
    let handle = answer.handle()?;
    msg_conn::send_to_handle(cx, answer.user_id, handle, &answer.pdu());
    Ok(())
}

impl DbServConn {
    /// C++: msg_server/DBServConn.cpp CDBServConn::Close
    /// Differs: logins that waited for an answer get one (F80).
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(conn) = cx.srv.db_servers.conns.remove(this, cx.net.tick()) {
            if conn.open {
                warn!("conn={this} db_proxy_server lost requests={}", conn.state.in_flight);
            }
            msg_conn::refuse_waiting_logins(cx, this);
            cx.net.close(this);
        }
    }

    /// A message is stored, and has its number: tells its sender and delivers it.
    ///
    /// C++: msg_server/DBServConn.cpp CDBServConn::_HandleMsgData
    /// Differs: what is passed on carries neither attach data nor the sender's number (F73), and
    /// who understands it is told that a message is not stored (F69).
    fn handle_msg_data(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        let mut msg: ImMsgData = pdu.decode()?;
        let attach = msg.attach_data.take().unwrap_or_default();
        let sender = NetHandle::from_u32(DbAttachData::parse(&attach)?.handle);
        let Some(session_type) = msg_conn::session_type(msg.msg_type) else {
            debug!("conn={this} message dropped: msg_type={}", msg.msg_type);
            return Ok(());
        };
        if msg.msg_id == 0 {
            debug!("user={} to={} message not stored", msg.from_user_id, msg.to_session_id);
            MsgConn::refuse_msg_data(cx, sender, &msg, pdu.seq_num());
            return Ok(());
        }
        let (from_id, to_id, msg_id) = (msg.from_user_id, msg.to_session_id, msg.msg_id);
        let ack = ImMsgDataAck {
            user_id: from_id,
            session_id: to_id,
            msg_id,
            session_type: session_type.into(),
        };
        let ack = ImPdu::encode(SID_MSG, CID_MSG_DATA_ACK, pdu.seq_num(), &ack);
        msg_conn::send_to_handle(cx, from_id, sender, &ack);
        // Encoded once, for whoever gets it.
        let pdu = ImPdu::encode(SID_MSG, CID_MSG_DATA, 0, &msg);
        super::route_serv_conn::send_msg_to_route(cx, &pdu);
        match session_type {
            SessionType::Single => {
                deliver_single(cx, &pdu, &msg, Some(sender));
                let attach_data = Some(group_chat::push_msg(&msg).into());
                let req = ImGetDeviceTokenReq { user_id: vec![to_id], attach_data };
                let header = PduHeader::new(SID_OTHER, CID_OTHER_GET_DEVICE_TOKEN_REQ, 0);
                send(cx, this, &ImPdu::encode_with(header, &req));
            }
            SessionType::Group => group_chat::handle_group_message(cx, pdu, &msg, Some(sender)),
        }
        Ok(())
    }

    /// C++: msg_server/DBServConn.cpp CDBServConn::_HandleChangeSignInfoResponse
    fn handle_change_sign_info_response(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImChangeSignInfoRsp = pdu.decode()?;
        relay_answer(cx, pdu)?;
        if msg.result_code == 0 {
            let notify = ImSignInfoChangedNotify {
                changed_user_id: msg.user_id,
                sign_info: msg.sign_info.unwrap_or_default(),
            };
            let command_id = CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY;
            let notify = ImPdu::encode(SID_BUDDY_LIST, command_id, 0, &notify);
            super::route_serv_conn::send_to_route(cx, &notify);
        }
        Ok(())
    }

    /// C++: msg_server/DBServConn.cpp CDBServConn::_HandleStopReceivePacket
    /// Differs: heartbeats go on, and the connection ends by itself (F84).
    fn handle_stop_receive_packet(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} db_proxy_server is about to stop");
        if let Some(conn) = cx.srv.db_servers.conns.get_mut(this) {
            conn.open = false;
            let tick = cx.net.tick();
            conn.state.stop_tick = conn.state.stop_tick.or(Some(tick));
        }
    }
}

/// A single message to all connections of sender and receiver but the one it came from.
pub(super) fn deliver_single(
    cx: &mut Cx<'_>,
    pdu: &ImPdu,
    msg: &ImMsgData,
    sender: Option<NetHandle>,
) {
    let (from_id, to_id) = (msg.from_user_id, msg.to_session_id);
    let ack = MsgAck { msg_id: msg.msg_id, from_id, to_id, tick: cx.net.tick() };
    im_user::broadcast_client_msg_data(cx, from_id, pdu, ack, sender);
    if to_id != from_id {
        im_user::broadcast_client_msg_data(cx, to_id, pdu, ack, sender);
    }
}

/// Connects, and registers the timers.
///
/// C++: msg_server/DBServConn.cpp init_db_serv_conn
pub(super) fn init_db_serv_conn(cx: &mut Cx<'_>) {
    db_server_conn_timer_callback(cx);
    cx.net.register_timer(db_server_conn_timer_callback, RECONNECT_CHECK_MS);
    cx.net.register_timer(fade, FADE_MS);
}

/// C++: msg_server/DBServConn.cpp db_server_conn_timer_callback
pub(super) fn db_server_conn_timer_callback(cx: &mut Cx<'_>) {
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

fn fade(cx: &mut Cx<'_>) {
    for this in cx.srv.db_servers.conns.handles() {
        if let Some(conn) = cx.srv.db_servers.conns.get_mut(this) {
            conn.state.in_flight /= 2;
        }
    }
}
