//! Who is logged in here, and with which connections.

use std::collections::HashMap;

use log::info;

use super::msg_conn::MsgAck;
use super::{Cx, MsgServer};
use crate::base::im_pdu::{ImPdu, PduHeader};
use crate::base::public_define::{client_type_is_mobile, client_type_is_pc};
use crate::netlib::NetHandle;
use crate::pb::base_define::KickReasonType;
use crate::pb::cmd::*;
use crate::pb::login::ImKickUser;

/// One logged-in connection of a user.
///
/// C++: base/public_define.h user_conn_t
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UserConn {
    /// The connection.
    pub handle: NetHandle,
    /// A `ClientType`.
    pub client_type: i32,
}

/// A user with at least one logged-in connection that was not kicked.
///
/// C++: msg_server/ImUser.h CImUser
/// Differs: connections that wait for their login know their name themselves, so that the failure
/// of one touches no other (F66).
#[derive(Debug, Default)]
pub struct ImUser {
    /// For the alerts of pushes.
    pub nick_name: Box<str>,
    conns: Vec<UserConn>,
    /// What route_server said last of the user's PCs anywhere.
    pc_login_status: bool,
}

impl ImUser {
    /// All connections.
    pub fn conns(&self) -> &[UserConn] {
        &self.conns
    }

    /// Whether a PC of the user is on line, here or on another msg_server.
    ///
    /// C++: msg_server/ImUser.h GetPCLoginStatus
    /// Differs: nobody has a PC until one is known (F67).
    pub fn pc_login_status(&self) -> bool {
        self.pc_login_status || self.conns.iter().any(|conn| client_type_is_pc(conn.client_type))
    }

    /// What route_server says.
    ///
    /// C++: msg_server/ImUser.h SetPCLoginStatus
    pub fn set_pc_login_status(&mut self, online: bool) {
        self.pc_login_status = online;
    }
}

/// All users who are logged in here.
///
/// C++: msg_server/ImUser.h CImUserManager
#[derive(Debug, Default)]
pub struct ImUserManager {
    /// C++: msg_server/ImUser.h ImUserMap_t
    users: HashMap<u32, ImUser>,
}

impl ImUserManager {
    /// C++: msg_server/ImUser.cpp CImUserManager::GetImUserById
    pub fn im_user_by_id(&self, user_id: u32) -> Option<&ImUser> {
        self.users.get(&user_id)
    }

    /// The same to change.
    pub fn im_user_by_id_mut(&mut self, user_id: u32) -> Option<&mut ImUser> {
        self.users.get_mut(&user_id)
    }

    /// The connections of a user, none if he is not here.
    ///
    /// C++: msg_server/ImUser.h GetMsgConnMap
    pub fn conns(&self, user_id: u32) -> &[UserConn] {
        self.im_user_by_id(user_id).map_or(&[], ImUser::conns)
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is logged in.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// A connection has logged in.
    ///
    /// C++: msg_server/ImUser.cpp CImUser::ValidateMsgConn
    pub fn validate_msg_conn(&mut self, user_id: u32, nick_name: String, conn: UserConn) {
        let user = self.users.entry(user_id).or_default();
        user.nick_name = nick_name.into();
        user.conns.push(conn);
    }

    /// A connection has gone, or was kicked; the user goes with the last one.
    ///
    /// C++: msg_server/ImUser.h DelMsgConn
    pub fn del_msg_conn(&mut self, user_id: u32, handle: NetHandle) {
        let Some(user) = self.users.get_mut(&user_id) else {
            return;
        };
        user.conns.retain(|conn| conn.handle != handle);
        if user.conns.is_empty() {
            self.users.remove(&user_id);
        }
    }
}

/// To all connections of a user but one.
///
/// C++: msg_server/ImUser.cpp CImUser::BroadcastPdu
pub(super) fn broadcast_pdu(
    cx: &mut Cx<'_>,
    user_id: u32,
    pdu: &ImPdu,
    from_conn: Option<NetHandle>,
) {
    broadcast_to(cx, user_id, pdu, |conn| Some(conn.handle) != from_conn);
}

/// To the PCs of a user.
///
/// C++: msg_server/ImUser.cpp CImUser::BroadcastPduWithOutMobile
pub(super) fn broadcast_pdu_without_mobile(cx: &mut Cx<'_>, user_id: u32, pdu: &ImPdu) {
    broadcast_to(cx, user_id, pdu, |conn| client_type_is_pc(conn.client_type));
}

/// To the phones of a user.
///
/// C++: msg_server/ImUser.cpp CImUser::BroadcastPduToMobile
pub(super) fn broadcast_pdu_to_mobile(cx: &mut Cx<'_>, user_id: u32, pdu: &ImPdu) {
    broadcast_to(cx, user_id, pdu, |conn| client_type_is_mobile(conn.client_type));
}

fn broadcast_to(cx: &mut Cx<'_>, user_id: u32, pdu: &ImPdu, wanted: impl Fn(&UserConn) -> bool) {
    for conn in cx.srv.im_users.conns(user_id).iter().filter(|conn| wanted(conn)) {
        cx.net.send_pdu(conn.handle, pdu);
    }
}

/// A message to all connections of a user but one. Each has to acknowledge it.
///
/// C++: msg_server/ImUser.cpp CImUser::BroadcastClientMsgData
pub(super) fn broadcast_client_msg_data(
    cx: &mut Cx<'_>,
    user_id: u32,
    pdu: &ImPdu,
    ack: MsgAck,
    from_conn: Option<NetHandle>,
) {
    let MsgServer { im_users, msg_conns, msg_stats, .. } = &mut *cx.srv;
    let conns = im_users.conns(user_id).iter().map(|conn| conn.handle);
    for handle in conns.filter(|handle| Some(*handle) != from_conn) {
        cx.net.send_pdu(handle, pdu);
        if let Some(conn) = msg_conns.get_mut(handle) {
            conn.add_to_send_list(ack, msg_stats);
        }
    }
}

/// Tells a client to leave. It is heard no more, and closed after a grace period.
///
/// C++: msg_server/ImUser.cpp CImUser::HandleKickUser
/// Differs: from here on the connection is none of the user's, and is refused everything (F64).
fn handle_kick_user(cx: &mut Cx<'_>, user_id: u32, handle: NetHandle, reason: KickReasonType) {
    info!("conn={handle} user={user_id} kicked: {reason:?}");
    let msg = ImKickUser { user_id, kick_reason: reason.into() };
    cx.net.send_msg(handle, PduHeader::new(SID_LOGIN, CID_LOGIN_KICK_USER, 0), &msg);
    cx.srv.im_users.del_msg_conn(user_id, handle);
    if let Some(conn) = cx.srv.msg_conns.get_mut(handle) {
        conn.kick_off(cx.net.tick());
    }
}

/// Kicks the connections of a user that are of the same class as `client_type`, and which
/// `is_victim` does not spare. Returns how many those were.
///
/// C++: msg_server/ImUser.cpp CImUser::KickOutSameClientType
/// Differs: all of them, not the first one found (F64).
pub(super) fn kick_out_same_client_type(
    cx: &mut Cx<'_>,
    user_id: u32,
    client_type: i32,
    reason: KickReasonType,
    is_victim: impl Fn(NetHandle) -> bool,
) -> usize {
    let victims: Vec<NetHandle> = cx
        .srv
        .im_users
        .conns(user_id)
        .iter()
        .filter(|conn| is_same_class(conn.client_type, client_type) && is_victim(conn.handle))
        .map(|conn| conn.handle)
        .collect();
    for &handle in &victims {
        handle_kick_user(cx, user_id, handle, reason);
    }
    victims.len()
}

/// Both PCs, or both phones.
pub(super) fn is_same_class(a: i32, b: i32) -> bool {
    (a ^ b) >> 4 == 0
}
