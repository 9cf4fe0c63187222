//! Requests of a client that another server answers.

use log::{debug, warn};

use super::{MsgConn, user_of};
use crate::base::attach_data::PduAttachData;
use crate::base::attach_data::msg_server::ATTACH_TYPE_HANDLE;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::client_type_is_mobile;
use crate::msg_server::db_serv_conn::{DbRange, send_to_db};
use crate::msg_server::route_serv_conn::send_to_route;
use crate::msg_server::{Cx, im_user, relay};
use crate::netlib::NetHandle;
use crate::pb::base_define::SessionType;
use crate::pb::buddy::{
    ImChangeAvatarRsp, ImChangeSignInfoRsp, ImRemoveSessionNotify, ImRemoveSessionReq,
    ImRemoveSessionRsp,
};
use crate::pb::cmd::*;
use crate::pb::login::{ImDeviceTokenReq, ImDeviceTokenRsp, ImPushShieldRsp, ImQueryPushShieldRsp};

/// Asks db_proxy_server on behalf of a client, and returns his user id; the answer leads back to
/// the connection by the handle attached.
///
/// `refusal` is what the client gets when there is no db_proxy_server, if the protocol has it.
pub(in crate::msg_server) fn relay_to_db<M: prost::Message>(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
    refusal: impl FnOnce(u32) -> Option<(PduHeader, M)>,
) -> Result<(), PduError> {
    let Some((user_id, _)) = user_of(cx, this) else {
        return Ok(());
    };
    let request = relay::request(pdu, user_id, &relay::handle_attach(this))?;
    if send_to_db(cx, DbRange::Other, &request).is_none() {
        warn!("conn={this} user={user_id} cmd={:#06x} refused: no database", pdu.command_id());
        if let Some((header, msg)) = refusal(user_id) {
            cx.net.send_msg(this, PduHeader { seq_num: pdu.seq_num(), ..header }, &msg);
        }
    }
    Ok(())
}

impl MsgConn {
    /// What a client asks for when it starts.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientRecentContactSessionRequest
    pub(super) fn handle_client_login_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let Some((user_id, _)) = user_of(cx, this) else {
            return Ok(());
        };
        let request = relay::request(pdu, user_id, &relay::handle_attach(this))?;
        if send_to_db(cx, DbRange::Login, &request).is_none() {
            warn!("conn={this} user={user_id} cmd={:#06x} dropped: no database", pdu.command_id());
        }
        Ok(())
    }

    /// A request whose answer knows no refusal.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientAllUserRequest
    pub(super) fn handle_client_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        relay_to_db(cx, this, pdu, |_| None::<(PduHeader, ())>)
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientRemoveSessionRequest
    /// Differs: who gets no answer for want of a database is told so.
    pub(super) fn handle_client_remove_session_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImRemoveSessionReq = pdu.decode()?;
        let (session_type, session_id) = (msg.session_type, msg.session_id);
        relay_to_db(cx, this, pdu, |user_id| {
            let header = PduHeader::new(SID_BUDDY_LIST, CID_BUDDY_LIST_REMOVE_SESSION_RES, 0);
            let refusal = ImRemoveSessionRsp {
                user_id,
                result_code: 1,
                session_type,
                session_id,
                attach_data: None,
            };
            SessionType::try_from(session_type).is_ok().then_some((header, refusal))
        })?;
        if let Some((user_id, _)) = user_of(cx, this)
            && session_type == i32::from(SessionType::Single)
        {
            let notify = ImRemoveSessionNotify { user_id, session_type, session_id };
            let command_id = CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY;
            let notify = ImPdu::encode(SID_BUDDY_LIST, command_id, 0, &notify);
            im_user::broadcast_pdu(cx, user_id, &notify, Some(this));
            send_to_route(cx, &notify);
        }
        Ok(())
    }

    /// Asks route_server who is on line.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientUsersStatusRequest
    pub(super) fn handle_client_users_status_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let Some((user_id, _)) = user_of(cx, this) else {
            return Ok(());
        };
        let attach = PduAttachData::new(ATTACH_TYPE_HANDLE, this.to_u32(), b"").encode();
        if !send_to_route(cx, &relay::request(pdu, user_id, &attach)?) {
            warn!("conn={this} user={user_id} status request dropped: no route_server");
        }
        Ok(())
    }

    /// The answer goes to all connections of the user.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleChangeAvatarRequest
    /// Differs: who gets no answer for want of a database is told so.
    pub(super) fn handle_change_avatar_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        relay_to_db(cx, this, pdu, |user_id| {
            let header = PduHeader::new(SID_BUDDY_LIST, CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE, 0);
            Some((header, ImChangeAvatarRsp { user_id, result_code: 1, attach_data: None }))
        })
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleChangeSignInfoRequest
    /// Differs: who gets no answer for want of a database is told so.
    pub(super) fn handle_change_sign_info_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        relay_to_db(cx, this, pdu, |user_id| {
            let command_id = CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE;
            let refusal =
                ImChangeSignInfoRsp { user_id, result_code: 1, ..ImChangeSignInfoRsp::default() };
            Some((PduHeader::new(SID_BUDDY_LIST, command_id, 0), refusal))
        })
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandlePushShieldRequest
    /// Differs: who gets no answer for want of a database is told so.
    pub(super) fn handle_push_shield_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        relay_to_db(cx, this, pdu, |user_id| {
            let refusal = ImPushShieldRsp { user_id, result_code: 1, ..ImPushShieldRsp::default() };
            Some((PduHeader::new(SID_LOGIN, CID_LOGIN_RES_PUSH_SHIELD, 0), refusal))
        })
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleQueryPushShieldRequest
    /// Differs: who gets no answer for want of a database is told so.
    pub(super) fn handle_query_push_shield_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        relay_to_db(cx, this, pdu, |user_id| {
            let refusal =
                ImQueryPushShieldRsp { user_id, result_code: 1, ..ImQueryPushShieldRsp::default() };
            Some((PduHeader::new(SID_LOGIN, CID_LOGIN_RES_QUERY_PUSH_SHIELD, 0), refusal))
        })
    }

    /// Where a phone wants its pushes. Answered at once.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleClientDeviceToken
    /// Differs: the answer has the field it is required to have (F74).
    pub(super) fn handle_client_device_token(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImDeviceTokenReq = pdu.decode()?;
        let Some((user_id, client_type)) = user_of(cx, this) else {
            return Ok(());
        };
        if !client_type_is_mobile(client_type) {
            debug!("conn={this} user={user_id} device token of a PC ignored");
            return Ok(());
        }
        let header = PduHeader::new(SID_LOGIN, CID_LOGIN_RES_DEVICETOKEN, pdu.seq_num());
        cx.net.send_msg(this, header, &ImDeviceTokenRsp { user_id, attach_data: None });
        let client_type = Some(client_type);
        let req = ImDeviceTokenReq { user_id, client_type, attach_data: None, ..msg };
        let req = ImPdu::encode_with(*pdu.header(), &req);
        if send_to_db(cx, DbRange::Other, &req).is_none() {
            warn!("conn={this} user={user_id} device token lost: no database");
        }
        Ok(())
    }
}
