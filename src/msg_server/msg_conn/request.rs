//! Requests of a client that another server answers.

use log::debug;

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

/// Asks db_proxy_server on behalf of a client. The answer finds its way back to the connection by
/// the handle attached.
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
        debug!("conn={this} user={user_id} cmd={:#06x} refused: no database", pdu.command_id());
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
            debug!("conn={this} user={user_id} cmd={:#06x} dropped: no database", pdu.command_id());
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
            debug!("conn={this} user={user_id} status request dropped: no route_server");
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
            debug!("conn={this} user={user_id} device token lost: no database");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::base::attach_data::DbAttachData;
    use crate::msg_server::db_serv_conn::DbServConn;
    use crate::msg_server::tests::*;
    use crate::pb::buddy::ImSignInfoChangedNotify;

    /// What most requests and answers begin with, and end with.
    #[derive(Clone, PartialEq, Message)]
    struct Relayed {
        #[prost(uint32, tag = "1")]
        user_id: u32,
        #[prost(uint32, tag = "2")]
        second: u32,
        #[prost(uint32, tag = "3")]
        third: u32,
        #[prost(bytes, optional, tag = "20")]
        attach_data: Option<Vec<u8>>,
    }

    type Refusal = Option<(u32, u32)>;

    /// Requests that db_proxy_server answers, and their answers; whether they go to the connections
    /// for what clients ask when they start; and the result in field 2 or 3 that refuses.
    const REQUESTS: [(u16, u16, bool, Refusal); 17] = [
        (CID_LOGIN_REQ_PUSH_SHIELD, CID_LOGIN_RES_PUSH_SHIELD, false, Some((1, 0))),
        (CID_LOGIN_REQ_QUERY_PUSH_SHIELD, CID_LOGIN_RES_QUERY_PUSH_SHIELD, false, Some((1, 0))),
        (
            CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST,
            CID_BUDDY_LIST_RECENT_CONTACT_SESSION_RESPONSE,
            true,
            None,
        ),
        (CID_BUDDY_LIST_USER_INFO_REQUEST, CID_BUDDY_LIST_USER_INFO_RESPONSE, true, None),
        (CID_BUDDY_LIST_REMOVE_SESSION_REQ, CID_BUDDY_LIST_REMOVE_SESSION_RES, false, Some((1, 2))),
        (CID_BUDDY_LIST_ALL_USER_REQUEST, CID_BUDDY_LIST_ALL_USER_RESPONSE, false, None),
        (
            CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST,
            CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE,
            false,
            Some((1, 0)),
        ),
        (CID_BUDDY_LIST_DEPARTMENT_REQUEST, CID_BUDDY_LIST_DEPARTMENT_RESPONSE, false, None),
        (CID_MSG_UNREAD_CNT_REQUEST, CID_MSG_UNREAD_CNT_RESPONSE, true, None),
        (CID_MSG_LIST_REQUEST, CID_MSG_LIST_RESPONSE, true, None),
        (CID_MSG_GET_LATEST_MSG_ID_REQ, CID_MSG_GET_LATEST_MSG_ID_RSP, false, None),
        (CID_MSG_GET_BY_MSG_ID_REQ, CID_MSG_GET_BY_MSG_ID_RES, true, None),
        (CID_GROUP_NORMAL_LIST_REQUEST, CID_GROUP_NORMAL_LIST_RESPONSE, false, Some((0, 0))),
        (CID_GROUP_INFO_REQUEST, CID_GROUP_INFO_RESPONSE, false, Some((0, 0))),
        (CID_GROUP_CREATE_REQUEST, CID_GROUP_CREATE_RESPONSE, false, None),
        (CID_GROUP_SHIELD_GROUP_REQUEST, CID_GROUP_SHIELD_GROUP_RESPONSE, false, Some((2, 1))),
        (CID_FILE_HAS_OFFLINE_REQ, CID_FILE_HAS_OFFLINE_RES, false, Some((0, 0))),
    ];

    /// Valid as each of the requests above.
    fn relayed() -> Relayed {
        Relayed { user_id: 666, second: 2, third: 0, attach_data: Some(b"forged".to_vec()) }
    }

    #[test]
    fn every_request_reaches_the_database_and_its_answer_the_connection() {
        for (command_id, answer_id, at_start, _) in REQUESTS {
            let mut bed = bed_with("DBServerIP2=127.0.0.1\nDBServerPort2=10601\n");
            let (login_db, db) = (bed.db[0], bed.db[1]);
            let (asked, idle) = if at_start { (login_db, db) } else { (db, login_db) };
            // Logins begin at the first one, where the bed answers them.
            let (conn, _other) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS));
            let third = if command_id == CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST { 9 } else { 0 };
            bed.ask(conn, command_id, &Relayed { third, ..relayed() }).unwrap();
            bed.assert_silent(idle);
            let pdu = bed.one_pdu(asked, command_id);
            assert_eq!(pdu.as_pdu().seq_num(), 42);
            let got: Relayed = pdu.as_pdu().decode().unwrap();
            assert_eq!((got.user_id, got.second, got.third), (5, 2, third), "{command_id:#06x}");
            let attach = got.attach_data.clone().unwrap();
            assert_eq!(DbAttachData::parse(&attach).unwrap().handle, conn.to_u32());
            let answer = Relayed { second: 0, ..got };
            let pdu = request(answer_id, &answer);
            bed.receive::<DbServConn>(asked, &pdu).unwrap();
            let pdu = bed.one_pdu(conn, answer_id);
            assert_eq!(pdu.as_pdu().seq_num(), 42);
            let got: Relayed = pdu.as_pdu().decode().unwrap();
            assert_eq!(got, Relayed { attach_data: None, ..answer.clone() }, "{command_id:#06x}");
            // Not to another user's connection, and not to one that has gone.
            let foreign = request(answer_id, &Relayed { user_id: 6, ..answer.clone() });
            bed.receive::<DbServConn>(asked, &foreign).unwrap();
            bed.assert_silent(conn);
            bed.lose(conn);
            bed.receive::<DbServConn>(asked, &request(answer_id, &answer)).unwrap();
        }
    }

    #[test]
    fn without_a_database_a_request_is_refused_if_the_protocol_can() {
        let mut bed = bed();
        let (conn, db) = (bed.log_in(5, WINDOWS), bed.db[0]);
        bed.lose(db);
        for (command_id, answer_id, _, refusal) in REQUESTS {
            if command_id == CID_GROUP_CREATE_REQUEST {
                continue;
            }
            let tick = bed.net.tick() + 1_000;
            bed.net.set_tick(tick);
            let second = u32::from(command_id == CID_BUDDY_LIST_REMOVE_SESSION_REQ) + 1;
            bed.ask(conn, command_id, &Relayed { second, ..relayed() }).unwrap();
            let Some((second, third)) = refusal else {
                bed.assert_silent(conn);
                continue;
            };
            let pdu = bed.one_pdu(conn, answer_id);
            assert_eq!(pdu.as_pdu().seq_num(), 42, "{command_id:#06x}");
            let got: Relayed = pdu.as_pdu().decode().unwrap();
            let expected = if command_id == CID_GROUP_SHIELD_GROUP_REQUEST { 1 } else { second };
            assert_eq!((got.user_id, got.second, got.third), (5, expected, third));
        }
    }

    #[test]
    fn f79_one_database_is_enough_and_the_least_busy_connection_is_asked() {
        let mut bed = bed_with("ConcurrentDBConnCnt=3\n");
        let conn = bed.log_in(5, WINDOWS);
        let dbs = bed.db.clone();
        for _ in 0..6 {
            bed.ask(conn, CID_BUDDY_LIST_ALL_USER_REQUEST, &relayed()).unwrap();
        }
        assert_eq!(dbs.iter().map(|db| bed.sent(*db).len()).collect::<Vec<_>>(), [2, 2, 2]);
        let answer = request(CID_BUDDY_LIST_ALL_USER_RESPONSE, &relayed());
        assert!(bed.receive::<DbServConn>(dbs[1], &answer).is_err(), "f27");
        bed.ask(conn, CID_BUDDY_LIST_ALL_USER_REQUEST, &relayed()).unwrap();
        assert_eq!(dbs.iter().map(|db| bed.sent(*db).len()).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn f77_a_changed_avatar_is_told_to_all_clients_of_the_user() {
        let mut bed = bed();
        let conns = [bed.log_in(5, WINDOWS), bed.log_in(5, IOS)];
        bed.ask(conns[0], CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST, &relayed()).unwrap();
        let db = bed.db[0];
        let got: Relayed = bed.one(db, CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST);
        bed.db_says(CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE, &got);
        for conn in conns {
            bed.one_pdu(conn, CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE);
        }
    }

    #[test]
    fn a_changed_signature_is_told_to_everybody_through_route_server() {
        let mut bed = bed();
        let (conn, db, route) = (bed.log_in(5, WINDOWS), bed.db[0], bed.route[0]);
        let req = crate::pb::buddy::ImChangeSignInfoReq {
            user_id: 666,
            sign_info: "new".to_owned(),
            attach_data: None,
        };
        bed.ask(conn, CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST, &req).unwrap();
        let got: crate::pb::buddy::ImChangeSignInfoReq =
            bed.one(db, CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST);
        assert_eq!((got.user_id, got.sign_info.as_str()), (5, "new"));
        let mut rsp = ImChangeSignInfoRsp {
            user_id: 5,
            result_code: 1,
            sign_info: Some("new".to_owned()),
            attach_data: got.attach_data,
        };
        bed.db_says(CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE, &rsp);
        bed.one_pdu(conn, CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE);
        bed.assert_silent(route);
        rsp.result_code = 0;
        bed.db_says(CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE, &rsp);
        bed.one_pdu(conn, CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE);
        let told: ImSignInfoChangedNotify = bed.one(route, CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY);
        assert_eq!((told.changed_user_id, told.sign_info.as_str()), (5, "new"));
        bed.lose(db);
        bed.ask(conn, CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST, &req).unwrap();
        let refused: ImChangeSignInfoRsp = bed.one(conn, CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE);
        assert_eq!((refused.user_id, refused.result_code), (5, 1));
    }

    #[test]
    fn a_removed_session_is_told_to_the_other_clients_if_it_is_single() {
        let mut bed = bed();
        let (pc, phone, route) = (bed.log_in(5, WINDOWS), bed.log_in(5, IOS), bed.route[0]);
        let single = Relayed { second: 1, third: 7, ..relayed() };
        bed.ask(pc, CID_BUDDY_LIST_REMOVE_SESSION_REQ, &single).unwrap();
        for conn in [phone, route] {
            let told: ImRemoveSessionNotify = bed.one(conn, CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY);
            assert_eq!((told.user_id, told.session_type, told.session_id), (5, 1, 7));
        }
        let group = Relayed { second: 2, third: 7, ..relayed() };
        bed.ask(pc, CID_BUDDY_LIST_REMOVE_SESSION_REQ, &group).unwrap();
        for conn in [pc, phone, route] {
            bed.assert_silent(conn);
        }
    }

    #[test]
    fn f74_a_phone_tells_its_token_and_is_answered_with_its_user() {
        let mut bed = bed();
        let (pc, phone, db) = (bed.log_in(5, WINDOWS), bed.log_in(5, ANDROID), bed.db[0]);
        let msg = ImDeviceTokenReq {
            user_id: 666,
            device_token: "android:token".to_owned(),
            client_type: Some(IOS.into()),
            attach_data: None,
        };
        bed.ask(pc, CID_LOGIN_REQ_DEVICETOKEN, &msg).unwrap();
        bed.assert_silent(pc);
        bed.assert_silent(db);
        bed.ask(phone, CID_LOGIN_REQ_DEVICETOKEN, &msg).unwrap();
        let rsp: ImDeviceTokenRsp = bed.one(phone, CID_LOGIN_RES_DEVICETOKEN);
        assert_eq!(rsp.user_id, 5);
        let got: ImDeviceTokenReq = bed.one(db, CID_LOGIN_REQ_DEVICETOKEN);
        let client_type = Some(ANDROID.into());
        assert_eq!(got, ImDeviceTokenReq { user_id: 5, client_type, ..msg });
        bed.db_says(CID_LOGIN_RES_DEVICETOKEN, &rsp);
        bed.assert_silent(phone);
    }
}
