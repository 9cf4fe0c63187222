//! The connection of a client.

mod login;
mod message;
mod regist;
mod request;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use log::{debug, info};

use super::{Cx, MsgServer, file_handler, group_chat};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::{USER_CNT_DEC, USER_CNT_INC, client_type_is_mobile};
use crate::base::token_bucket::TokenBucket;
use crate::netlib::keepalive::{self, CLIENT_TIMEOUT_MS, MOBILE_CLIENT_TIMEOUT_MS};
use crate::netlib::{ConnHandler, NetHandle, PduFraming, PduHandler};
use crate::pb::base_define::{ClientType, UserStatType};
use crate::pb::cmd::*;
use crate::pb::server::{ImUserCntUpdate, ImUserStatusUpdate};
use login::LoginResult;
pub(super) use login::{handle_validate_response, refuse_waiting_logins};
pub(super) use message::session_type;
pub(super) use regist::handle_regist_response;
pub(super) use request::relay_to_db;

/// How often time-outs are looked at.
const TIMER_MS: u64 = 1_000;

/// A client has this long to log in.
///
/// C++: msg_server/MsgConn.cpp TIMEOUT_WATI_LOGIN_RESPONSE
pub const TIMEOUT_WAIT_LOGIN_RESPONSE_MS: u64 = 15_000;

/// A client has this long to acknowledge a message.
///
/// C++: msg_server/MsgConn.cpp TIMEOUT_WAITING_MSG_DATA_ACK
pub const TIMEOUT_WAITING_MSG_DATA_ACK_MS: u64 = 15_000;

/// A client that has not acknowledged a message, and then says nothing for this long, is closed.
/// All clients send a heartbeat every 30 seconds, and none answers ours, so anything shorter would
/// close healthy ones that are merely silent.
pub const SUSPICION_MS: u64 = 35_000;

/// A client that was kicked has this long to go by itself.
pub const KICK_GRACE_MS: u64 = 10_000;

/// How often the message counters are logged.
///
/// C++: msg_server/MsgConn.cpp LOG_MSG_STAT_INTERVAL
const LOG_MSG_STAT_INTERVAL_MS: u64 = 300_000;

/// Messages a client may send in a second unless the configuration says otherwise.
///
/// C++: msg_server/MsgConn.cpp MAX_MSG_CNT_PER_SECOND
pub const MAX_MSG_CNT_PER_SECOND: u32 = 20;

/// What a message costs of the budget of a connection; see [`cost`].
const MSG_COST: u32 = 5;

/// Messages of which a connection owes the acknowledgement; the oldest is given up for a new one.
pub const SEND_LIST_MAX: usize = 1_000;

/// A message a connection was sent and has not acknowledged.
///
/// C++: msg_server/MsgConn.h msg_ack_t
#[derive(Clone, Copy, Debug)]
pub struct MsgAck {
    /// Of the message.
    pub msg_id: u32,
    /// Its sender.
    pub from_id: u32,
    /// Its receiver.
    pub to_id: u32,
    /// When it was sent.
    pub tick: u64,
}

/// What became of messages since the start, or the last SIGUSR1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MsgStats {
    /// Messages clients sent.
    pub up_msg_total_cnt: u64,
    /// Of those, messages that were not stored.
    pub up_msg_miss_cnt: u64,
    /// Messages sent to connections that have to acknowledge them.
    pub down_msg_total_cnt: u64,
    /// Of those, messages that were not acknowledged in time.
    pub down_msg_miss_cnt: u64,
}

/// Clients that were closed because they did not do in time what they have to, since the start.
/// Silence is not here: netlib counts that.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct GivenUp {
    pub(super) no_login: u64,
    pub(super) stayed_after_kick: u64,
    pub(super) not_acknowledged: u64,
}

/// Where a connection stands.
#[derive(Clone, Debug)]
enum State {
    /// Says nothing but its login.
    New,
    /// db_proxy_server is asked.
    Validating { db_conn: NetHandle, seq_num: u16, login_name: Box<str> },
    /// db_proxy_server is asked to make an account.
    Registering { db_conn: NetHandle, seq_num: u16, user_name: Box<str> },
    /// Logged in.
    Open,
    /// Has to go, and is heard no more.
    Kicked,
}

/// What is kept of a client's connection.
///
/// C++: msg_server/MsgConn.h CMsgConn
/// Differs: a client is one of the PC class until it says otherwise (F82).
#[derive(Debug)]
pub struct MsgConn {
    state: State,
    /// When it connected, logged in, or was kicked.
    state_tick: u64,
    /// 0 before the login.
    user_id: u32,
    /// A `ClientType`.
    client_type: i32,
    online_status: UserStatType,
    /// Whether the client takes a 0x0302 with message id 0 for what it is.
    understands_refusals: bool,
    /// Unix milliseconds of the login.
    login_time: u64,
    /// In the order in which they were sent.
    send_msg_list: VecDeque<MsgAck>,
    /// Since when a missed acknowledgement makes it suspicious.
    suspicious_tick: Option<u64>,
    bucket: TokenBucket,
}

impl ConnHandler for MsgConn {
    type Server = MsgServer;
    type Framing = PduFraming;

    /// C++: msg_server/MsgConn.cpp CMsgConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        // The listener counts as well, but each of several counts for itself.
        if cx.srv.msg_conns.len() >= cx.srv.max_conn_cnt as usize {
            return cx.net.close(this);
        }
        let tick = cx.net.tick();
        let rate = cx.srv.max_msg_cnt_per_second.saturating_mul(MSG_COST);
        let conn = Self {
            state: State::New,
            state_tick: tick,
            user_id: 0,
            client_type: ClientType::Windows.into(),
            online_status: UserStatType::UserStatusOffline,
            understands_refusals: false,
            login_time: 0,
            send_msg_list: VecDeque::new(),
            suspicious_tick: None,
            bucket: TokenBucket::new(rate, rate.saturating_mul(2), tick),
        };
        cx.srv.msg_conns.insert(this, conn);
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

/// What a command costs of the budget of its connection, which gains enough for the allowed number
/// of messages each second. A client asks for much at once when it starts, and little later.
fn cost(command_id: u16) -> u32 {
    match command_id {
        // As many as others send.
        CID_MSG_DATA_ACK => 0,
        CID_OTHER_HEARTBEAT
        | CID_MSG_TIME_REQUEST
        | CID_MSG_READ_ACK
        | CID_SWITCH_P2P_CMD
        | CID_BUDDY_LIST_USERS_STATUS_REQUEST => 1,
        CID_MSG_DATA
        | CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST
        | CID_BUDDY_LIST_ALL_USER_REQUEST
        | CID_MSG_UNREAD_CNT_REQUEST
        | CID_GROUP_CREATE_REQUEST
        | CID_GROUP_CHANGE_MEMBER_REQUEST => MSG_COST,
        _ => 2,
    }
}

impl PduHandler for MsgConn {
    /// C++: msg_server/MsgConn.cpp CMsgConn::HandlePdu
    /// Differs: before the login nothing but the login is taken, and after a kick nothing at all
    /// (F1, F64); who asks too fast waits (F28).
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        let Some(conn) = cx.srv.msg_conns.get_mut(this) else {
            return Ok(());
        };
        let command_id = pdu.command_id();
        let wait_ms = conn.bucket.take(cost(command_id), cx.net.tick());
        cx.net.delay_read(this, wait_ms);
        match (&conn.state, command_id) {
            (_, CID_OTHER_HEARTBEAT) => Self::handle_heart_beat(cx, this, pdu),
            (State::Kicked, _) => debug!("conn={this} cmd={command_id:#06x} ignored: kicked"),
            (State::Open, _) => return Self::handle_open_pdu(cx, this, pdu),
            (State::New, CID_LOGIN_REQ_USERLOGIN) => Self::handle_login_request(cx, this, pdu)?,
            (State::New, CID_LOGIN_REQ_REGIST) if cx.srv.allow_register => {
                Self::handle_regist_request(cx, this, pdu)?;
            }
            (_, CID_LOGIN_REQ_REGIST) => debug!("conn={this} registration ignored"),
            (State::Validating { .. } | State::Registering { .. }, CID_LOGIN_REQ_USERLOGIN) => {
                debug!("conn={this} second login ignored");
            }
            (State::New | State::Validating { .. } | State::Registering { .. }, _) => {
                return Err(PduError::Refused { command_id, reason: "before the login" });
            }
        }
        Ok(())
    }
}

impl MsgConn {
    /// 0 before the login.
    pub(super) fn user_id(&self) -> u32 {
        self.user_id
    }

    /// Logged in and not kicked.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// A `ClientType`.
    pub(super) fn client_type(&self) -> i32 {
        self.client_type
    }

    /// Messages it has not acknowledged yet.
    pub(super) fn waiting_acks(&self) -> usize {
        self.send_msg_list.len()
    }

    /// Milliseconds of the loop's clock since the login, and Unix milliseconds of it.
    pub(super) fn login_age(&self, tick: u64) -> (u64, u64) {
        (tick.saturating_sub(self.state_tick), self.login_time)
    }

    /// C++: msg_server/MsgConn.h SetKickOff
    pub(super) fn kick_off(&mut self, tick: u64) {
        self.state = State::Kicked;
        self.state_tick = tick;
        self.send_msg_list = VecDeque::new();
    }

    /// The commands of a client that has logged in.
    fn handle_open_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            CID_LOGIN_REQ_USERLOGIN => debug!("conn={this} second login ignored"),
            CID_LOGIN_REQ_REGIST => debug!("conn={this} registration ignored"),
            CID_LOGIN_REQ_LOGINOUT => Self::handle_login_out_request(cx, this, pdu),
            CID_LOGIN_REQ_DEVICETOKEN => Self::handle_client_device_token(cx, this, pdu)?,
            CID_LOGIN_REQ_KICKPCCLIENT => Self::handle_kick_pc_client(cx, this, pdu)?,
            CID_LOGIN_REQ_PUSH_SHIELD => Self::handle_push_shield_request(cx, this, pdu)?,
            CID_LOGIN_REQ_QUERY_PUSH_SHIELD => {
                Self::handle_query_push_shield_request(cx, this, pdu)?;
            }
            CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST
            | CID_BUDDY_LIST_USER_INFO_REQUEST
            | CID_MSG_UNREAD_CNT_REQUEST
            | CID_MSG_LIST_REQUEST
            | CID_MSG_GET_BY_MSG_ID_REQ => Self::handle_client_login_request(cx, this, pdu)?,
            CID_BUDDY_LIST_ALL_USER_REQUEST
            | CID_BUDDY_LIST_DEPARTMENT_REQUEST
            | CID_MSG_GET_LATEST_MSG_ID_REQ => Self::handle_client_request(cx, this, pdu)?,
            CID_BUDDY_LIST_REMOVE_SESSION_REQ => {
                Self::handle_client_remove_session_request(cx, this, pdu)?;
            }
            CID_BUDDY_LIST_USERS_STATUS_REQUEST => {
                Self::handle_client_users_status_request(cx, this, pdu)?;
            }
            CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST => {
                Self::handle_change_avatar_request(cx, this, pdu)?;
            }
            CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST => {
                Self::handle_change_sign_info_request(cx, this, pdu)?;
            }
            CID_MSG_DATA => Self::handle_client_msg_data(cx, this, pdu)?,
            CID_MSG_DATA_ACK => Self::handle_client_msg_data_ack(cx, this, pdu)?,
            CID_MSG_READ_ACK => Self::handle_client_msg_read_ack(cx, this, pdu)?,
            CID_MSG_TIME_REQUEST => Self::handle_client_time_request(cx, this, pdu),
            CID_SWITCH_P2P_CMD => Self::handle_client_p2p_cmd_msg(cx, this, pdu)?,
            CID_GROUP_NORMAL_LIST_REQUEST => {
                group_chat::handle_client_group_normal_request(cx, this, pdu)?;
            }
            CID_GROUP_INFO_REQUEST => group_chat::handle_client_group_info_request(cx, this, pdu)?,
            CID_GROUP_CREATE_REQUEST => {
                group_chat::handle_client_group_create_request(cx, this, pdu)?;
            }
            CID_GROUP_CHANGE_MEMBER_REQUEST => {
                group_chat::handle_client_group_change_member_request(cx, this, pdu)?;
            }
            CID_GROUP_SHIELD_GROUP_REQUEST => {
                group_chat::handle_client_group_shield_group_request(cx, this, pdu)?;
            }
            CID_FILE_REQUEST => file_handler::handle_client_file_request(cx, this, pdu)?,
            CID_FILE_HAS_OFFLINE_REQ => {
                file_handler::handle_client_file_has_offline_req(cx, this, pdu)?;
            }
            CID_FILE_ADD_OFFLINE_REQ => {
                file_handler::handle_client_file_add_offline_req(cx, this, pdu)?;
            }
            CID_FILE_DEL_OFFLINE_REQ => {
                file_handler::handle_client_file_del_offline_req(cx, this, pdu)?;
            }
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleHeartBeat
    fn handle_heart_beat(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) {
        cx.net.send_received(this, pdu);
    }

    /// Forgets the connection, tells login_servers and route_servers, and closes it.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::Close
    pub(super) fn close(cx: &mut Cx<'_>, this: NetHandle) {
        let Some(conn) = cx.srv.msg_conns.remove(this) else {
            return;
        };
        if conn.user_id != 0 {
            info!("conn={this} user={} left", conn.user_id);
            cx.srv.im_users.del_msg_conn(conn.user_id, this);
            let status = UserStatType::UserStatusOffline;
            send_user_status_update(cx, conn.user_id, conn.client_type, status);
        }
        cx.net.close(this);
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::OnTimer
    fn on_timer(cx: &mut Cx<'_>, this: NetHandle) {
        let tick = cx.net.tick();
        let Some(conn) = cx.srv.msg_conns.get(this) else {
            return;
        };
        let mobile = client_type_is_mobile(conn.client_type);
        let timeout_ms = if mobile { MOBILE_CLIENT_TIMEOUT_MS } else { CLIENT_TIMEOUT_MS };
        let age = tick.saturating_sub(conn.state_tick);
        if keepalive::check_timeout(cx, this, timeout_ms) {
            return;
        }
        let Some(conn) = cx.srv.msg_conns.get(this) else {
            return;
        };
        match conn.state {
            State::New if age > TIMEOUT_WAIT_LOGIN_RESPONSE_MS => {
                debug!("conn={this} closed: no login");
                cx.srv.given_up.no_login += 1;
                Self::close(cx, this);
            }
            State::Validating { .. } if age > TIMEOUT_WAIT_LOGIN_RESPONSE_MS => {
                Self::refuse_login(cx, this, LoginResult::NO_DB_SERVER);
            }
            State::Registering { .. } if age > TIMEOUT_WAIT_LOGIN_RESPONSE_MS => {
                Self::refuse_regist(cx, this);
                Self::close(cx, this);
            }
            State::Kicked if age > KICK_GRACE_MS => {
                cx.srv.given_up.stayed_after_kick += 1;
                Self::close(cx, this);
            }
            State::Open => Self::check_send_list(cx, this),
            State::New | State::Validating { .. } | State::Registering { .. } | State::Kicked => {}
        }
    }

    /// A message that is not acknowledged in time makes the connection suspicious. It is asked for
    /// a sign of life and closed when none comes, so that the client connects anew and fetches what
    /// it has not read. Nothing is sent twice.
    fn check_send_list(cx: &mut Cx<'_>, this: NetHandle) {
        let (tick, last_recv) = (cx.net.tick(), cx.net.last_recv_tick(this));
        let Some(conn) = cx.srv.msg_conns.get_mut(this) else {
            return;
        };
        let overdue = |ack: &MsgAck| tick > ack.tick + TIMEOUT_WAITING_MSG_DATA_ACK_MS;
        let missed = conn.send_msg_list.iter().take_while(|ack| overdue(ack)).count();
        conn.send_msg_list.drain(..missed);
        if conn.send_msg_list.is_empty() {
            conn.send_msg_list = VecDeque::new();
        }
        cx.srv.msg_stats.down_msg_miss_cnt += missed as u64;
        match conn.suspicious_tick {
            Some(since) if last_recv > since => conn.suspicious_tick = None,
            Some(since) if tick > since + SUSPICION_MS => {
                info!("conn={this} user={} closed: messages not acknowledged", conn.user_id);
                cx.srv.given_up.not_acknowledged += 1;
                return Self::close(cx, this);
            }
            _ => {}
        }
        if missed > 0 && conn.suspicious_tick.is_none() {
            debug!("conn={this} user={} acknowledgements missed={missed}", conn.user_id);
            conn.suspicious_tick = Some(tick);
            cx.net.send_msg(this, PduHeader::new(SID_OTHER, CID_OTHER_HEARTBEAT, 0), &());
        }
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::AddToSendList
    pub(super) fn add_to_send_list(&mut self, ack: MsgAck, stats: &mut MsgStats) {
        stats.down_msg_total_cnt += 1;
        if self.send_msg_list.len() >= SEND_LIST_MAX {
            self.send_msg_list.pop_front();
            stats.down_msg_miss_cnt += 1;
        }
        self.send_msg_list.push_back(ack);
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::DelFromSendList
    /// Differs: clients name the sender or the receiver of the message, so either matches (F68).
    fn del_from_send_list(&mut self, msg_id: u32, peer_id: u32) {
        let same =
            |ack: &MsgAck| ack.msg_id == msg_id && [ack.from_id, ack.to_id].contains(&peer_id);
        if let Some(at) = self.send_msg_list.iter().position(same) {
            self.send_msg_list.remove(at);
        }
    }
}

/// Tells login_servers and route_servers that a connection came or went.
///
/// C++: msg_server/MsgConn.cpp CMsgConn::SendUserStatusUpdate
fn send_user_status_update(
    cx: &mut Cx<'_>,
    user_id: u32,
    client_type: i32,
    user_status: UserStatType,
) {
    let offline = user_status == UserStatType::UserStatusOffline;
    let user_action = if offline { USER_CNT_DEC } else { USER_CNT_INC };
    let msg = ImUserCntUpdate { user_action, user_id };
    let pdu = ImPdu::encode(SID_OTHER, CID_OTHER_USER_CNT_UPDATE, 0, &msg);
    super::login_serv_conn::send_to_all_login_server(cx, &pdu);
    let msg = ImUserStatusUpdate { user_status: user_status as u32, user_id, client_type };
    let pdu = ImPdu::encode(SID_OTHER, CID_OTHER_USER_STATUS_UPDATE, 0, &msg);
    super::route_serv_conn::send_to_all_route_server(cx, &pdu);
}

/// C++: msg_server/MsgConn.cpp init_msg_conn
pub(super) fn init_msg_conn(cx: &mut Cx<'_>) {
    cx.net.register_timer(msg_conn_timer_callback, TIMER_MS);
    cx.net.register_timer(log_msg_stat, LOG_MSG_STAT_INTERVAL_MS);
}

/// C++: msg_server/MsgConn.cpp msg_conn_timer_callback
fn msg_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.msg_conns.handles().collect::<Vec<_>>() {
        MsgConn::on_timer(cx, conn);
    }
}

fn log_msg_stat(cx: &mut Cx<'_>) {
    info!(
        "conns={} users={} {:?}",
        cx.srv.msg_conns.len(),
        cx.srv.im_users.len(),
        cx.srv.msg_stats
    );
}

/// Counts messages from 0 again.
///
/// C++: msg_server/MsgConn.cpp signal_handler_usr1
/// Differs: an event of the loop, not the context of a signal (F46).
pub(super) fn signal_handler_usr1(cx: &mut Cx<'_>) {
    log_msg_stat(cx);
    cx.srv.msg_stats = MsgStats::default();
}

/// Starts or ends that every message is logged.
///
/// C++: msg_server/MsgConn.cpp signal_handler_usr2
/// Differs: an event of the loop, not the context of a signal (F46).
pub(super) fn signal_handler_usr2(cx: &mut Cx<'_>) {
    cx.srv.log_msg_toggle = !cx.srv.log_msg_toggle;
    info!("every message is logged: {}", cx.srv.log_msg_toggle);
}

/// Says farewell for all clients: this server is about to stop (F47).
pub(super) fn close_all(cx: &mut Cx<'_>) {
    for conn in cx.srv.msg_conns.handles().collect::<Vec<_>>() {
        MsgConn::close(cx, conn);
    }
}

/// The user of an open connection, and his client type.
pub(super) fn user_of(cx: &Cx<'_>, this: NetHandle) -> Option<(u32, i32)> {
    let conn = cx.srv.msg_conns.get(this).filter(|conn| conn.is_open())?;
    Some((conn.user_id, conn.client_type))
}

/// Sends to a connection if it still is one of this user.
///
/// C++: msg_server/ImUser.cpp CImUserManager::GetMsgConnByHandle
pub(super) fn send_to_handle(cx: &mut Cx<'_>, user_id: u32, handle: NetHandle, pdu: &ImPdu) {
    let conn = cx.srv.msg_conns.get(handle).filter(|conn| conn.user_id == user_id);
    if conn.is_some_and(MsgConn::is_open) {
        cx.net.send_pdu(handle, pdu);
    } else {
        debug!("conn={handle} user={user_id} gone before its answer came");
    }
}
