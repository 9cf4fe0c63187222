//! Messages of a client, and what it says about messages.

use log::{debug, info};

use super::{MsgConn, user_of};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::{msg_type_is_group, msg_type_is_single};
use crate::msg_server::db_serv_conn::send_in_order;
use crate::msg_server::route_serv_conn::send_to_route;
use crate::msg_server::{Cx, im_user, relay};
use crate::netlib::NetHandle;
use crate::pb::base_define::SessionType;
use crate::pb::cmd::*;
use crate::pb::message::{
    ImClientTimeRsp, ImMsgData, ImMsgDataAck, ImMsgDataReadAck, ImMsgDataReadNotify,
};
use crate::pb::switch_service::ImP2pCmdMsg;

/// Whether a `MsgType` is one a client may send.
pub(in crate::msg_server) fn session_type(msg_type: i32) -> Option<SessionType> {
    match msg_type {
        _ if msg_type_is_single(msg_type) => Some(SessionType::Single),
        _ if msg_type_is_group(msg_type) => Some(SessionType::Group),
        _ => None,
    }
}

/// What messages of one conversation have in common, whoever sends them.
fn conversation(session_type: SessionType, user_id: u32, session_id: u32) -> u32 {
    match session_type {
        SessionType::Single => user_id ^ session_id,
        SessionType::Group => session_id,
    }
}

impl MsgConn {
    /// Has a message stored. It is delivered when its number comes back.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientMsgData
    /// Differs: who understands it is told that the message is not stored (F69), and what comes
    /// too fast is delayed, not dropped (F28).
    pub(super) fn handle_client_msg_data(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let mut msg: ImMsgData = pdu.decode()?;
        let Some((user_id, _)) = user_of(cx, this) else {
            return Ok(());
        };
        let (session_id, msg_type) = (msg.to_session_id, msg.msg_type);
        let Some(session_type) = session_type(msg_type) else {
            debug!("conn={this} user={user_id} message dropped: msg_type={msg_type}");
            return Ok(());
        };
        let to_self = session_type == SessionType::Single && session_id == user_id;
        if msg.msg_data.is_empty() || session_id == 0 || to_self {
            debug!("conn={this} user={user_id} message dropped: empty, or to nobody else");
            return Ok(());
        }
        cx.srv.msg_stats.up_msg_total_cnt += 1;
        if cx.srv.log_msg_toggle {
            let len = msg.msg_data.len();
            info!("user={user_id} to={session_id} msg_type={msg_type} len={len}");
        }
        msg.from_user_id = user_id;
        msg.create_time = cx.srv.now();
        msg.msg_id = 0;
        msg.attach_data = Some(relay::handle_attach(this).into());
        let key = conversation(session_type, user_id, session_id);
        if !send_in_order(cx, key, &ImPdu::encode_with(*pdu.header(), &msg)) {
            debug!("conn={this} user={user_id} message not stored: no database");
            Self::refuse_msg_data(cx, this, &msg, pdu.seq_num());
        }
        Ok(())
    }

    /// Tells the sender that a message is not stored. Only Android and this project's own client
    /// understand it; for all other clients any 0x0302 means success, and none lets their own
    /// time-out report the failure.
    pub(in crate::msg_server) fn refuse_msg_data(
        cx: &mut Cx<'_>,
        this: NetHandle,
        msg: &ImMsgData,
        seq_num: u16,
    ) {
        cx.srv.msg_stats.up_msg_miss_cnt += 1;
        let conn = cx.srv.msg_conns.get(this).filter(|conn| conn.is_open());
        let told =
            conn.is_some_and(|conn| conn.user_id == msg.from_user_id && conn.understands_refusals);
        if let Some(session_type) = session_type(msg.msg_type).filter(|_| told) {
            let ack = ImMsgDataAck {
                user_id: msg.from_user_id,
                session_id: msg.to_session_id,
                msg_id: 0,
                session_type: session_type.into(),
            };
            cx.net.send_msg(this, PduHeader::new(SID_MSG, CID_MSG_DATA_ACK, seq_num), &ack);
        }
    }

    /// A message has arrived at the client.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientMsgDataAck
    pub(super) fn handle_client_msg_data_ack(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImMsgDataAck = pdu.decode()?;
        if msg.session_type == i32::from(SessionType::Single)
            && let Some(conn) = cx.srv.msg_conns.get_mut(this)
        {
            conn.del_from_send_list(msg.msg_id, msg.session_id);
        }
        Ok(())
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientTimeRequest
    pub(super) fn handle_client_time_request(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) {
        let msg = ImClientTimeRsp { server_time: cx.srv.now() };
        let header = PduHeader::new(SID_MSG, CID_MSG_TIME_RESPONSE, pdu.seq_num());
        cx.net.send_msg(this, header, &msg);
    }

    /// The user has read a session.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientMsgReadAck
    pub(super) fn handle_client_msg_read_ack(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImMsgDataReadAck = pdu.decode()?;
        let Some((user_id, _)) = user_of(cx, this) else {
            return Ok(());
        };
        let Ok(session_type) = SessionType::try_from(msg.session_type) else {
            debug!("conn={this} user={user_id} read ack dropped: type={}", msg.session_type);
            return Ok(());
        };
        let key = conversation(session_type, user_id, msg.session_id);
        if !send_in_order(cx, key, &relay::request(pdu, user_id, b"")?) {
            debug!("conn={this} user={user_id} read ack lost: no database");
        }
        let notify = ImMsgDataReadNotify {
            user_id,
            session_id: msg.session_id,
            msg_id: msg.msg_id,
            session_type: msg.session_type,
        };
        let notify = ImPdu::encode(SID_MSG, CID_MSG_READ_NOTIFY, 0, &notify);
        im_user::broadcast_pdu(cx, user_id, &notify, Some(this));
        send_to_route(cx, &notify);
        if session_type == SessionType::Single
            && let Some(conn) = cx.srv.msg_conns.get_mut(this)
        {
            conn.del_from_send_list(msg.msg_id, msg.session_id);
        }
        Ok(())
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientP2PCmdMsg
    /// Differs: nobody writes in the name of another (F6).
    pub(super) fn handle_client_p2p_cmd_msg(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImP2pCmdMsg = pdu.decode()?;
        let Some((from_user_id, _)) = user_of(cx, this) else {
            return Ok(());
        };
        let to_user_id = msg.to_user_id;
        let msg = ImP2pCmdMsg { from_user_id, ..msg };
        let pdu = ImPdu::encode(SID_SWITCH_SERVICE, CID_SWITCH_P2P_CMD, 0, &msg);
        im_user::broadcast_pdu(cx, from_user_id, &pdu, Some(this));
        if to_user_id != from_user_id {
            im_user::broadcast_pdu(cx, to_user_id, &pdu, None);
        }
        send_to_route(cx, &pdu);
        Ok(())
    }
}
