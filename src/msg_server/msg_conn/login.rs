//! Login, logout, and the kick of a user's own PCs.

use log::{debug, info};

use super::{MsgConn, State, send_user_status_update};
use crate::base::address_class::address_class;
use crate::base::attach_data::msg_server::ATTACH_TYPE_HANDLE;
use crate::base::attach_data::{DbAttachData, PduAttachData};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::{CLIENT_VERSION_PREFIX, client_type_is_mobile};
use crate::msg_server::Cx;
use crate::msg_server::db_serv_conn::{DbRange, send_to_db};
use crate::msg_server::im_user::{self, UserConn};
use crate::msg_server::route_serv_conn::{self, KickUser};
use crate::netlib::{ConnLimits, NetHandle};
use crate::pb::base_define::{ClientType, KickReasonType, ResultType, UserInfo, UserStatType};
use crate::pb::cmd::*;
use crate::pb::login::{
    ImDeviceTokenReq, ImKickPcClientReq, ImKickPcClientRsp, ImLoginReq, ImLoginRes, ImLogoutRsp,
};
use crate::pb::server::{ImValidateReq, ImValidateRsp};

/// Why a login is refused, and what the client shows.
pub(in crate::msg_server) struct LoginResult<'a> {
    result_code: ResultType,
    result_string: &'a str,
}

impl LoginResult<'_> {
    pub(in crate::msg_server) const NO_DB_SERVER: Self =
        Self::server_error(ResultType::RefuseReasonNoDbServer);

    const fn server_error(result_code: ResultType) -> Self {
        Self { result_code, result_string: "服务端异常" }
    }
}

impl MsgConn {
    /// Asks db_proxy_server to check the password.
    ///
    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleLoginRequest
    pub(super) fn handle_login_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImLoginReq = pdu.decode()?;
        let Ok(client_type) = ClientType::try_from(msg.client_type) else {
            debug!("conn={this} login dropped: client_type={}", msg.client_type);
            return Ok(());
        };
        let missing = if !cx.srv.db_servers.is_available() {
            Some(ResultType::RefuseReasonNoDbServer)
        } else if !cx.srv.login_servers.is_available() {
            Some(ResultType::RefuseReasonNoLoginServer)
        } else if !cx.srv.route_servers.is_available() {
            Some(ResultType::RefuseReasonNoRouteServer)
        } else {
            None
        };
        let req = ImValidateReq {
            user_name: msg.user_name.clone(),
            password: msg.password,
            attach_data: Some(login_attach(cx, this).into()),
        };
        let req = ImPdu::encode(SID_OTHER, CID_OTHER_VALIDATE_REQ, pdu.seq_num(), &req);
        let db_conn = match missing {
            None => send_to_db(cx, DbRange::Login, &req),
            Some(_) => None,
        };
        let Some(conn) = cx.srv.msg_conns.get_mut(this) else {
            return Ok(());
        };
        conn.client_type = client_type.into();
        let version = msg.client_version.unwrap_or_default();
        conn.understands_refusals =
            client_type == ClientType::Android || version.starts_with(CLIENT_VERSION_PREFIX);
        conn.online_status =
            UserStatType::try_from(msg.online_status).unwrap_or(UserStatType::UserStatusOnline);
        // Without a connection the refusal follows at once.
        let nobody = NetHandle::from_u32(0);
        conn.state = State::Validating {
            db_conn: db_conn.unwrap_or(nobody),
            seq_num: pdu.seq_num(),
            login_name: msg.user_name.into(),
        };
        if db_conn.is_none() {
            let result_code = missing.unwrap_or(ResultType::RefuseReasonNoDbServer);
            info!("conn={this} login refused: {result_code:?}");
            Self::refuse_login(cx, this, LoginResult::server_error(result_code));
        }
        Ok(())
    }

    /// Answers a login that is in progress with a refusal, and closes.
    pub(super) fn refuse_login(cx: &mut Cx<'_>, this: NetHandle, result: LoginResult<'_>) {
        let conn = cx.srv.msg_conns.get(this);
        let Some(State::Validating { seq_num, .. }) = conn.map(|conn| &conn.state) else {
            return;
        };
        let msg = ImLoginRes {
            server_time: cx.srv.now(),
            result_code: result.result_code.into(),
            result_string: Some(result.result_string.to_owned()),
            online_status: None,
            user_info: None,
        };
        cx.net.send_msg(this, PduHeader::new(SID_LOGIN, CID_LOGIN_RES_USERLOGIN, *seq_num), &msg);
        cx.srv.logins_refused += 1;
        Self::close(cx, this);
    }

    /// The password was right: the user's older client of the same class has to go.
    fn log_in(cx: &mut Cx<'_>, this: NetHandle, result_string: String, user_info: UserInfo) {
        let (login_time, tick, user_id) = ((cx.srv.clock)(), cx.net.tick(), user_info.user_id);
        let Some(conn) = cx.srv.msg_conns.get_mut(this) else {
            return;
        };
        let State::Validating { seq_num, .. } = std::mem::replace(&mut conn.state, State::Open)
        else {
            return;
        };
        conn.user_id = user_id;
        conn.login_time = login_time;
        conn.state_tick = tick;
        let (client_type, online_status) = (conn.client_type, conn.online_status);
        info!("conn={this} user={user_id} client_type={client_type:#x} logged in");
        cx.srv.logins += 1;
        let user_conn = UserConn { handle: this, client_type };
        let nick_name = user_info.user_nick_name.clone();
        cx.srv.im_users.validate_msg_conn(user_id, nick_name, user_conn);
        cx.net.set_limits(this, ConnLimits::CLIENT);

        let reason = KickReasonType::KickReasonDuplicateUser;
        im_user::kick_out_same_client_type(cx, user_id, client_type, reason, |conn| conn != this);
        let kick = KickUser::of_login(cx.srv, user_id, client_type, login_time);
        route_serv_conn::send_msg_to_route(cx, &kick.pdu());
        send_user_status_update(cx, user_id, client_type, UserStatType::UserStatusOnline);

        let msg = ImLoginRes {
            server_time: cx.srv.now(),
            result_code: ResultType::RefuseReasonNone.into(),
            result_string: Some(result_string),
            online_status: Some(online_status.into()),
            user_info: Some(user_info),
        };
        cx.net.send_msg(this, PduHeader::new(SID_LOGIN, CID_LOGIN_RES_USERLOGIN, seq_num), &msg);
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleLoginOutRequest
    /// Differs: only a phone takes its push token along (F13).
    pub(super) fn handle_login_out_request(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) {
        if let Some((user_id, client_type)) = super::user_of(cx, this)
            && client_type_is_mobile(client_type)
        {
            let msg = ImDeviceTokenReq { user_id, ..ImDeviceTokenReq::default() };
            let pdu = ImPdu::encode(SID_LOGIN, CID_LOGIN_REQ_DEVICETOKEN, pdu.seq_num(), &msg);
            send_to_db(cx, DbRange::Other, &pdu);
        }
        let header = PduHeader::new(SID_LOGIN, CID_LOGIN_RES_LOGINOUT, pdu.seq_num());
        cx.net.send_msg(this, header, &ImLogoutRsp { result_code: 0 });
        Self::close(cx, this);
    }

    /// C++: msg_server/MsgConn.cpp CMsgConn::_HandleKickPCClient
    pub(super) fn handle_kick_pc_client(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let _: ImKickPcClientReq = pdu.decode()?;
        let Some((user_id, client_type)) = super::user_of(cx, this) else {
            return Ok(());
        };
        if !client_type_is_mobile(client_type) {
            debug!("conn={this} user={user_id} kick ignored: only a phone may send PCs away");
            return Ok(());
        }
        let (pc, reason) = (ClientType::Mac.into(), KickReasonType::KickReasonMobileKick);
        let kicked = im_user::kick_out_same_client_type(cx, user_id, pc, reason, |_| true);
        let kick = KickUser::of_phone(user_id);
        let told = route_serv_conn::send_msg_to_route(cx, &kick.pdu());
        // Without a route_server a PC elsewhere stays.
        let result_code = u32::from(!told && kicked == 0);
        let header = PduHeader::new(SID_LOGIN, CID_LOGIN_RES_KICKPCCLIENT, pdu.seq_num());
        cx.net.send_msg(this, header, &ImKickPcClientRsp { user_id, result_code });
        Ok(())
    }
}

/// The attach data of a login: who asks, and from where, so that db_proxy_server can tell one who
/// guesses passwords from the owner of the name (F11).
pub(super) fn login_attach(cx: &Cx<'_>, this: NetHandle) -> Vec<u8> {
    let origin = cx.net.peer_addr(this).map(|addr| address_class(addr.ip())).unwrap_or_default();
    PduAttachData::new(ATTACH_TYPE_HANDLE, this.to_u32(), origin.as_bytes()).encode()
}

/// C++: msg_server/DBServConn.cpp CDBServConn::_HandleValidateResponse
pub(in crate::msg_server) fn handle_validate_response(
    cx: &mut Cx<'_>,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImValidateRsp = pdu.decode()?;
    let attach = DbAttachData::parse(msg.attach_data.as_deref().unwrap_or_default());
    let this = NetHandle::from_u32(attach.map_err(PduError::from)?.handle);
    let conn = cx.srv.msg_conns.get(this);
    let Some(State::Validating { login_name, .. }) = conn.map(|conn| &conn.state) else {
        debug!("conn={this} gone before its login was validated");
        return Ok(());
    };
    // A handle may come back one day; name and handle together do not.
    if **login_name != *msg.user_name {
        debug!("conn={this} waits for another login");
        return Ok(());
    }
    let result_string = msg.result_string.unwrap_or_default();
    match msg.user_info {
        Some(user_info) if msg.result_code == 0 && user_info.user_id != 0 => {
            MsgConn::log_in(cx, this, result_string, user_info);
        }
        _ => {
            info!("conn={this} login refused result={}", msg.result_code);
            let result_code = ResultType::RefuseReasonDbValidateFailed;
            let result_string = result_string.as_str();
            MsgConn::refuse_login(cx, this, LoginResult { result_code, result_string });
        }
    }
    Ok(())
}

/// Refuses the logins and registrations that a lost db_proxy_server does not answer any more (F80).
pub(in crate::msg_server) fn refuse_waiting_logins(cx: &mut Cx<'_>, lost: NetHandle) {
    let waits = |conn: &MsgConn| match &conn.state {
        State::Validating { db_conn, .. } | State::Registering { db_conn, .. } => *db_conn == lost,
        State::New | State::Open | State::Kicked => false,
    };
    let conns = cx.srv.msg_conns.iter().filter(|(_, conn)| waits(conn));
    for conn in conns.map(|(conn, _)| conn).collect::<Vec<_>>() {
        // Each does nothing where the other waits.
        MsgConn::refuse_login(cx, conn, LoginResult::NO_DB_SERVER);
        MsgConn::refuse_regist(cx, conn);
    }
}
