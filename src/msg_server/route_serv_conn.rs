//! The connections to route_servers, and what arrives from other msg_servers through them.

mod kick;
mod recent;

#[cfg(test)]
mod tests;

use log::{debug, info, warn};

use super::{
    Cx, MsgServer, db_serv_conn, fan_out, file_handler, group_chat, im_user, msg_conn,
    push_serv_conn, relay,
};
use crate::base::attach_data::PduAttachData;
use crate::base::attach_data::msg_server::{
    ATTACH_TYPE_HANDLE, ATTACH_TYPE_HANDLE_AND_PDU_FOR_FILE, ATTACH_TYPE_PDU_FOR_PUSH,
};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::IM_PC_LOGIN_STATUS_ON;
use crate::netlib::serv_info::RECONNECT_CHECK_MS;
use crate::netlib::{ConnHandler, NetHandle, PduFraming, PduHandler, ServConns, keepalive};
use crate::pb::base_define::{ServerUserStat, SessionType, UserStatType};
use crate::pb::buddy::{
    ImPcLoginStatusNotify, ImRemoveSessionNotify, ImUserStatNotify, ImUsersStatRsp,
};
use crate::pb::cmd::*;
use crate::pb::message::{ImMsgData, ImMsgDataReadNotify};
use crate::pb::server::{ImOnlineUserInfo, ImRoleSet, ImServerPcLoginStatusNotify};
use crate::pb::switch_service::ImP2pCmdMsg;
pub(super) use kick::KickUser;
use recent::{RecentPdus, SeenMsgs};

/// A connection of which nothing more is kept than of any.
///
/// C++: msg_server/RouteServConn.h CRouteServConn
#[derive(Debug, Default)]
pub struct RouteServConn;

/// All route_servers. Each knows who is on line here; one passes on what is sent from here.
#[derive(Debug)]
pub(super) struct RouteServers {
    pub(super) conns: ServConns<RouteServConn>,
    /// C++: msg_server/RouteServConn.cpp g_master_rs_conn
    master: Option<NetHandle>,
    /// What may be lost with the master.
    recent: RecentPdus,
    seen: SeenMsgs,
}

impl RouteServers {
    pub(super) fn new(addrs: Vec<(String, u16)>) -> Self {
        let several = addrs.len() > 1;
        Self {
            conns: ServConns::new(addrs),
            master: None,
            recent: RecentPdus::new(several),
            seen: SeenMsgs::new(several),
        }
    }

    /// See [`ServConns::set_servers`].
    pub(super) fn set_servers(cx: &mut Cx<'_>, servers: Vec<(String, u16)>) {
        let several = servers.len() > 1;
        let this = &mut cx.srv.route_servers;
        this.recent.set_enabled(several);
        this.seen.set_enabled(several);
        this.conns.set_servers(cx.net, servers);
        update_master_route_serv_conn(cx);
    }

    pub(super) fn is_available(&self) -> bool {
        self.conns.is_available()
    }
}

/// To the master. False if there is none.
///
/// C++: msg_server/RouteServConn.cpp get_route_serv_conn
pub(super) fn send_to_route(cx: &mut Cx<'_>, pdu: &ImPdu) -> bool {
    let Some(master) = cx.srv.route_servers.master else {
        return false;
    };
    cx.net.send_pdu(master, pdu);
    true
}

/// To the master, and to the next one if the master is lost right afterwards.
pub(super) fn send_msg_to_route(cx: &mut Cx<'_>, pdu: &ImPdu) -> bool {
    cx.srv.route_servers.recent.push(pdu, cx.net.tick());
    send_to_route(cx, pdu)
}

/// C++: msg_server/RouteServConn.cpp send_to_all_route_server
pub(super) fn send_to_all_route_server(cx: &mut Cx<'_>, pdu: &ImPdu) {
    cx.srv.route_servers.conns.send_to_all(cx.net, pdu);
}

/// Chooses the master, and tells it.
///
/// C++: msg_server/RouteServConn.cpp update_master_route_serv_conn
/// Differs: the order of the configuration decides, not the time of the connect (F61), and the
/// messages that may have been lost with the old master are sent again.
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
    if old.is_some_and(|old| !cx.net.is_open(old)) || old.is_none() {
        for pdu in cx.srv.route_servers.recent.take(cx.net.tick()) {
            cx.net.send_pdu(master, &pdu);
        }
    }
}

impl ConnHandler for RouteServConn {
    type Server = MsgServer;
    type Framing = PduFraming;

    /// Tells the route_server who is here.
    ///
    /// C++: msg_server/RouteServConn.cpp CRouteServConn::OnConfirm
    fn on_confirm(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} route_server connected");
        cx.srv.route_servers.conns.confirm(this, cx.net.tick());
        let header = PduHeader::new(SID_OTHER, CID_OTHER_ONLINE_USER_INFO, 0);
        cx.net.send_msg(this, header, &online_user_info(cx.srv));
        update_master_route_serv_conn(cx);
    }

    /// C++: msg_server/RouteServConn.cpp CRouteServConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

/// Every logged-in connection.
///
/// C++: msg_server/ImUser.cpp CImUserManager::GetOnlineUserInfo
fn online_user_info(srv: &MsgServer) -> ImOnlineUserInfo {
    let users = srv.msg_conns.iter().map(|(_, conn)| conn).filter(|conn| conn.user_id() != 0);
    let stat = |conn: &msg_conn::MsgConn| ServerUserStat {
        user_id: conn.user_id(),
        status: UserStatType::UserStatusOnline.into(),
        client_type: conn.client_type(),
    };
    ImOnlineUserInfo { user_stat_list: users.map(stat).collect() }
}

impl PduHandler for RouteServConn {
    /// C++: msg_server/RouteServConn.cpp CRouteServConn::HandlePdu
    /// Differs: a changed signature is no changed group (F75).
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_OTHER_SERVER_KICK_USER => kick::handle_kick_user(cx, pdu)?,
            // All route_servers tell it.
            CID_BUDDY_LIST_STATUS_NOTIFY | CID_OTHER_LOGIN_STATUS_NOTIFY
                if cx.srv.route_servers.master != Some(this) => {}
            CID_BUDDY_LIST_STATUS_NOTIFY => Self::handle_status_notify(cx, pdu)?,
            CID_BUDDY_LIST_USERS_STATUS_RESPONSE => Self::handle_users_status_response(cx, pdu)?,
            CID_MSG_READ_NOTIFY => Self::handle_msg_read_notify(cx, pdu)?,
            CID_MSG_DATA => Self::handle_msg_data(cx, pdu)?,
            CID_SWITCH_P2P_CMD => Self::handle_p2p_msg(cx, pdu)?,
            CID_OTHER_LOGIN_STATUS_NOTIFY => Self::handle_pc_login_status_notify(cx, pdu)?,
            CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY => Self::handle_remove_session_notify(cx, pdu)?,
            CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY => {
                fan_out::broadcast_to_everybody(cx, for_clients(pdu));
            }
            CID_GROUP_CHANGE_MEMBER_NOTIFY => {
                group_chat::handle_group_change_member_broadcast(cx, pdu)?;
            }
            CID_FILE_NOTIFY => file_handler::handle_file_notify(cx, pdu)?,
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

/// The same PDU, but started by the server.
pub(super) fn for_clients(pdu: PduRef<'_>) -> ImPdu {
    ImPdu::with_body(PduHeader { seq_num: 0, ..*pdu.header() }, pdu.body())
}

impl RouteServConn {
    /// C++: msg_server/RouteServConn.cpp CRouteServConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(conn) = cx.srv.route_servers.conns.remove(this, cx.net.tick()) {
            if conn.open {
                warn!("conn={this} route_server lost");
            }
            update_master_route_serv_conn(cx);
            cx.net.close(this);
        }
    }

    /// Somebody came or went: told to all PCs.
    ///
    /// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandleStatusNotify
    fn handle_status_notify(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let _: ImUserStatNotify = pdu.decode()?;
        fan_out::broadcast_to_pcs(cx, for_clients(pdu));
        Ok(())
    }

    /// A message that another msg_server had stored. Its pushes are the business of that server.
    ///
    /// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandleMsgData
    /// Differs: what two route_servers deliver reaches clients once.
    fn handle_msg_data(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let mut msg: ImMsgData = pdu.decode()?;
        if !cx.srv.route_servers.seen.is_new(&msg, cx.net.tick()) {
            debug!("user={} msg={} came twice", msg.from_user_id, msg.msg_id);
            return Ok(());
        }
        let clean = if msg.attach_data.take().is_some() {
            ImPdu::encode(SID_MSG, CID_MSG_DATA, 0, &msg)
        } else {
            for_clients(pdu)
        };
        match msg_conn::session_type(msg.msg_type) {
            Some(SessionType::Single) => db_serv_conn::deliver_single(cx, &clean, &msg, None),
            Some(SessionType::Group) => group_chat::handle_group_message(cx, clean, &msg, None),
            None => debug!("message dropped: msg_type={}", msg.msg_type),
        }
        Ok(())
    }

    /// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandleMsgReadNotify
    fn handle_msg_read_notify(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImMsgDataReadNotify = pdu.decode()?;
        im_user::broadcast_pdu(cx, msg.user_id, &for_clients(pdu), None);
        Ok(())
    }

    /// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandleP2PMsg
    fn handle_p2p_msg(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImP2pCmdMsg = pdu.decode()?;
        let pdu = for_clients(pdu);
        im_user::broadcast_pdu(cx, msg.from_user_id, &pdu, None);
        if msg.to_user_id != msg.from_user_id {
            im_user::broadcast_pdu(cx, msg.to_user_id, &pdu, None);
        }
        Ok(())
    }

    /// The answer to a client, or to a question of our own.
    ///
    /// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandleUsersStatusResponse
    fn handle_users_status_response(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImUsersStatRsp = pdu.decode()?;
        let attach = PduAttachData::parse(msg.attach_data.as_deref().unwrap_or_default())?;
        match attach.attach_type {
            ATTACH_TYPE_HANDLE => {
                let answer = relay::Answer::parse(pdu)?;
                let handle = NetHandle::from_u32(attach.handle);
                msg_conn::send_to_handle(cx, msg.user_id, handle, &answer.pdu());
            }
            ATTACH_TYPE_PDU_FOR_PUSH => push_serv_conn::push_by_status(cx, &msg, attach.pdu),
            ATTACH_TYPE_HANDLE_AND_PDU_FOR_FILE => {
                let status = msg.user_stat_list.first().map(|stat| stat.status);
                let online = status == Some(UserStatType::UserStatusOnline.into());
                file_handler::transfer_by_status(cx, online, &attach, pdu.seq_num());
            }
            other => debug!("status response dropped: attach_type={other}"),
        }
        Ok(())
    }

    /// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandleRemoveSessionNotify
    fn handle_remove_session_notify(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImRemoveSessionNotify = pdu.decode()?;
        im_user::broadcast_pdu(cx, msg.user_id, &for_clients(pdu), None);
        Ok(())
    }

    /// A PC of a user came or went: told to his phones.
    ///
    /// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandlePCLoginStatusNotify
    fn handle_pc_login_status_notify(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
        let msg: ImServerPcLoginStatusNotify = pdu.decode()?;
        let online = msg.login_status == IM_PC_LOGIN_STATUS_ON;
        let Some(user) = cx.srv.im_users.im_user_by_id_mut(msg.user_id) else {
            return Ok(());
        };
        user.set_pc_login_status(online);
        let login_stat =
            if online { UserStatType::UserStatusOnline } else { UserStatType::UserStatusOffline };
        let notify = ImPcLoginStatusNotify { user_id: msg.user_id, login_stat: login_stat.into() };
        let command_id = CID_BUDDY_LIST_PC_LOGIN_STATUS_NOTIFY;
        let notify = ImPdu::encode(SID_BUDDY_LIST, command_id, 0, &notify);
        im_user::broadcast_pdu_to_mobile(cx, msg.user_id, &notify);
        Ok(())
    }
}

/// Connects, and registers the timer.
///
/// C++: msg_server/RouteServConn.cpp init_route_serv_conn
pub(super) fn init_route_serv_conn(cx: &mut Cx<'_>) {
    route_server_conn_timer_callback(cx);
    cx.net.register_timer(route_server_conn_timer_callback, RECONNECT_CHECK_MS);
}

/// C++: msg_server/RouteServConn.cpp route_server_conn_timer_callback
pub(super) fn route_server_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.route_servers.conns.open_handles() {
        keepalive::on_server_timer::<RouteServConn>(cx, conn);
    }
    cx.srv.route_servers.conns.check_reconnect::<RouteServConn>(cx.net);
    update_master_route_serv_conn(cx);
}
