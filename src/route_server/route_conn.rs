//! The connection of one msg_server, or http_msg_server.

#[cfg(test)]
mod tests;

use log::{debug, info, warn};
use prost::Message;

use super::{Cx, RouteServer};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::{
    IM_PC_LOGIN_STATUS_OFF, IM_PC_LOGIN_STATUS_ON, client_type_is_pc, msg_type_is_single,
};
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler, keepalive};
use crate::pb::base_define::{ClientType, UserStat, UserStatType};
use crate::pb::buddy::{ImUserStatNotify, ImUsersStatReq, ImUsersStatRsp};
use crate::pb::cmd::*;
use crate::pb::server::{
    ImOnlineUserInfo, ImRoleSet, ImServerPcLoginStatusNotify, ImUserStatusUpdate,
};

/// How often heartbeats and time-outs are looked at.
const TIMER_MS: u64 = 1_000;

/// How often users are told who went with a msg_server, until all are …
const TELL_MS: u64 = 1;
/// … and how many at a time, so that messages do not wait behind them.
const TELL_BUDGET: usize = 256;

/// What is known of a peer besides its users.
///
/// C++: route_server/RouteConn.h CRouteConn
#[derive(Debug, Default)]
pub struct RouteConn {
    /// The peer sends its messages here, not to another route_server.
    master: bool,
    /// The peer has told who its users are. Until then it may have any.
    listed: bool,
}

impl ConnHandler for RouteConn {
    type Server = RouteServer;
    type Framing = PduFraming;

    /// C++: route_server/RouteConn.cpp CRouteConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(peer) = cx.net.peer_addr(this) {
            info!("conn={this} peer={peer} connected");
        }
        cx.srv.route_conns.insert(this, Self::default());
    }

    /// C++: route_server/RouteConn.cpp CRouteConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for RouteConn {
    /// C++: route_server/RouteConn.cpp CRouteConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_OTHER_ONLINE_USER_INFO => Self::handle_online_user_info(cx, this, pdu)?,
            CID_OTHER_USER_STATUS_UPDATE => Self::handle_user_status_update(cx, this, pdu)?,
            CID_OTHER_ROLE_SET => Self::handle_role_set(cx, this, pdu)?,
            CID_BUDDY_LIST_USERS_STATUS_REQUEST => {
                Self::handle_users_status_request(cx, this, pdu)?;
            }
            CID_MSG_DATA => {
                let msg: MsgRoute = pdu.decode()?;
                if msg_type_is_single(msg.msg_type) {
                    let users = [msg.from_user_id, msg.to_session_id];
                    Self::send_pdu_to_users(cx, this, users, pdu);
                } else {
                    Self::broadcast_msg(cx, &pdu.to_owned(), Some(this));
                }
            }
            CID_SWITCH_P2P_CMD => {
                let msg: UserRoute = pdu.decode()?;
                Self::send_pdu_to_users(cx, this, [msg.user_id, msg.to_user_id], pdu);
            }
            // To the other clients of the user who did it.
            CID_MSG_READ_NOTIFY | CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY => {
                let msg: UserRoute = pdu.decode()?;
                Self::send_pdu_to_users(cx, this, [msg.user_id], pdu);
            }
            // Only the receiver is offered the file.
            CID_FILE_NOTIFY => {
                let msg: UserRoute = pdu.decode()?;
                Self::send_pdu_to_users(cx, this, [msg.to_user_id], pdu);
            }
            // A kick has to reach a client whose login is still on its way here, or of two who log
            // in at the same time neither is kicked.
            CID_OTHER_SERVER_KICK_USER | CID_GROUP_CHANGE_MEMBER_NOTIFY => {
                Self::broadcast_msg(cx, &pdu.to_owned(), Some(this));
            }
            CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY => {
                Self::broadcast_msg(cx, &pdu.to_owned(), None);
            }
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl RouteConn {
    /// C++: route_server/RouteConn.cpp CRouteConn::Close
    /// Differs: everybody learns that the users of a lost msg_server are off line (F59).
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if cx.srv.route_conns.remove(this).is_none() {
            return;
        }
        let users = cx.srv.users.remove_route_conn(this);
        info!("conn={this} lost users={users} online={}", cx.srv.users.len());
        cx.net.register_timer(tell_untold, TELL_MS);
        cx.net.close(this);
    }

    /// All users of a msg_server, which sends them whenever it connects.
    ///
    /// C++: route_server/RouteConn.cpp CRouteConn::_HandleOnlineUserInfo
    /// Differs: the list replaces an earlier one, and who had been told off line because the
    /// msg_server was lost is told on line again (F59).
    fn handle_online_user_info(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImOnlineUserInfo = pdu.decode()?;
        let Some(conn) = cx.srv.route_conns.get_mut(this) else {
            return Ok(());
        };
        conn.listed = true;
        let clients = msg.user_stat_list.iter().filter_map(|stat| {
            let status = UserStatType::try_from(stat.status).ok()?;
            let client_type = ClientType::try_from(stat.client_type).ok()?;
            let online = status != UserStatType::UserStatusOffline && stat.user_id != 0;
            online.then_some((stat.user_id, client_type))
        });
        cx.srv.users.set_online_users(this, clients);
        cx.net.register_timer(tell_untold, TELL_MS);
        let (clients, online) = (msg.user_stat_list.len(), cx.srv.users.len());
        info!("conn={this} clients={clients} online={online}");
        Ok(())
    }

    /// C++: route_server/RouteConn.cpp CRouteConn::_HandleUserStatusUpdate
    fn handle_user_status_update(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImUserStatusUpdate = pdu.decode()?;
        let (user_id, status, client_type) = (msg.user_id, msg.user_status, msg.client_type);
        debug!("conn={this} user={user_id} status={status} client_type={client_type}");
        let known_status = UserStatType::try_from(status as i32);
        let (Ok(status), Ok(client_type), true) =
            (known_status, ClientType::try_from(client_type), user_id != 0)
        else {
            warn!("conn={this} user={user_id} dropped: status={status} client_type={client_type}");
            return Ok(());
        };
        cx.srv.users.update_user_status(this, user_id, status, client_type);
        tell_status(cx, user_id, status, client_type);
        Ok(())
    }

    /// C++: route_server/RouteConn.cpp CRouteConn::_HandleRoleSet
    fn handle_role_set(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImRoleSet = pdu.decode()?;
        if let Some(conn) = cx.srv.route_conns.get_mut(this) {
            conn.master = msg.master == 1;
            info!("conn={this} master={}", conn.master);
        }
        Ok(())
    }

    /// C++: route_server/RouteConn.cpp CRouteConn::_HandleUsersStatusRequest
    fn handle_users_status_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImUsersStatReq = pdu.decode()?;
        let stat = |&user_id: &u32| {
            let offline = UserStatType::UserStatusOffline;
            let status = cx.srv.users.user_info(user_id).map_or(offline, |user| user.status());
            UserStat { user_id, status: status.into() }
        };
        let answer = ImUsersStatRsp {
            user_id: msg.user_id,
            user_stat_list: msg.user_id_list.iter().map(stat).collect(),
            attach_data: msg.attach_data,
        };
        let command_id = CID_BUDDY_LIST_USERS_STATUS_RESPONSE;
        cx.net.send_msg(this, PduHeader::new(SID_BUDDY_LIST, command_id, pdu.seq_num()), &answer);
        Ok(())
    }

    /// Sends to every connection but `from_conn`.
    ///
    /// C++: route_server/RouteConn.cpp CRouteConn::_BroadcastMsg
    fn broadcast_msg(cx: &mut Cx<'_>, pdu: &ImPdu, from_conn: Option<NetHandle>) {
        for conn in cx.srv.route_conns.handles().filter(|conn| Some(*conn) != from_conn) {
            cx.net.send_pdu(conn, pdu);
        }
    }

    /// Passes a PDU on, byte for byte, to the other msg_servers that have one of these users; to
    /// all others when nobody has heard of any of them.
    ///
    /// C++: route_server/RouteConn.cpp CRouteConn::_SendPduToUser
    /// Differs: it is used; the original sends everything to every msg_server (F62).
    fn send_pdu_to_users<const N: usize>(
        cx: &mut Cx<'_>,
        this: NetHandle,
        user_ids: [u32; N],
        pdu: PduRef<'_>,
    ) {
        let users = user_ids.map(|user_id| cx.srv.users.user_info(user_id));
        if users.iter().all(Option::is_none) {
            return Self::broadcast_msg(cx, &pdu.to_owned(), Some(this));
        }
        // Most messages go to one other msg_server or to none.
        let mut shared = None;
        for (conn, state) in cx.srv.route_conns.iter().filter(|(conn, _)| *conn != this) {
            if !state.listed || users.iter().flatten().any(|user| user.find_route_conn(conn)) {
                cx.net.send_pdu(conn, shared.get_or_insert_with(|| pdu.to_owned()));
            }
        }
    }
}

/// Registers the timer of all connections.
///
/// C++: route_server/RouteConn.cpp init_routeconn_timer_callback
pub(super) fn init_route_conn_timer_callback(net: &mut Netlib<RouteServer>) {
    net.register_timer(route_serv_timer_callback, TIMER_MS);
}

/// C++: route_server/RouteConn.cpp route_serv_timer_callback
fn route_serv_timer_callback(cx: &mut Cx<'_>) {
    let conns: Vec<NetHandle> = cx.srv.route_conns.handles().collect();
    for conn in conns {
        keepalive::on_server_timer::<RouteConn>(cx, conn);
    }
}

/// Tells everybody, a few users at a time, who went with a lost msg_server and who came back with
/// it.
fn tell_untold(cx: &mut Cx<'_>) {
    for _ in 0..TELL_BUDGET {
        let Some((user_id, status)) = cx.srv.users.next_untold() else {
            return cx.net.delete_timer(tell_untold);
        };
        // Any PC will do: only they are seen on line.
        tell_status(cx, user_id, status, ClientType::Windows);
    }
}

/// Tells all msg_servers, the one who reported it included, that a client came or went. The user's
/// record is as it is afterwards.
fn tell_status(cx: &mut Cx<'_>, user_id: u32, status: UserStatType, client_type: ClientType) {
    let user = cx.srv.users.user_info(user_id);
    let is_known = user.is_some();
    let has_pc = user.is_some_and(|user| user.is_pc_client_login());
    let is_pc = client_type_is_pc(client_type.into());
    let offline = status == UserStatType::UserStatusOffline;

    // For the user's own phones. A PC that is on line is told of again when a phone comes (F60).
    let login_status = if offline {
        (is_known && is_pc && !has_pc).then_some(IM_PC_LOGIN_STATUS_OFF)
    } else {
        has_pc.then_some(IM_PC_LOGIN_STATUS_ON)
    };
    if let Some(login_status) = login_status {
        let msg = ImServerPcLoginStatusNotify { user_id, login_status };
        let pdu = ImPdu::encode(SID_OTHER, CID_OTHER_LOGIN_STATUS_NOTIFY, 0, &msg);
        RouteConn::broadcast_msg(cx, &pdu, None);
    }

    // For everybody else. Who was logged in on two PCs is still on line when one of them goes.
    if is_pc && !(offline && has_pc) {
        let user_stat = UserStat { user_id, status: status.into() };
        let pdu = ImPdu::encode(
            SID_BUDDY_LIST,
            CID_BUDDY_LIST_STATUS_NOTIFY,
            0,
            &ImUserStatNotify { user_stat },
        );
        RouteConn::broadcast_msg(cx, &pdu, None);
    }
}

/// What of a 0x0301 decides where it goes. All else is skipped, not copied, and not judged: what
/// this server does not understand, the receivers may.
#[derive(Clone, Copy, Message)]
struct MsgRoute {
    #[prost(uint32, tag = "1")]
    from_user_id: u32,
    #[prost(uint32, tag = "2")]
    to_session_id: u32,
    #[prost(int32, tag = "5")]
    msg_type: i32,
}

/// The same for the messages that begin with the user they are about, or with sender and receiver.
#[derive(Clone, Copy, Message)]
struct UserRoute {
    #[prost(uint32, tag = "1")]
    user_id: u32,
    #[prost(uint32, tag = "2")]
    to_user_id: u32,
}
