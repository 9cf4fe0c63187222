//! Who has to go when a user logs in on several msg_servers.
//!
//! The msg_server of a new login tells all others to kick. Two logins at the same time cross on the
//! way, so the kick carries what decides between them: of two the later one stays, by the clocks of
//! their servers, and at the same instant that of the greater server id. Who finds that the kicked
//! one was the later one kicks back. Only logins of the last seconds are compared; an older one has
//! to go whatever the clocks say.

use log::debug;
use prost::Message;

use super::send_msg_to_route;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::msg_server::{Cx, MsgServer, im_user};
use crate::netlib::NetHandle;
use crate::pb::base_define::{ClientType, KickReasonType};
use crate::pb::cmd::*;

/// Logins that are younger when a kick arrives may have crossed it. Longer than a kick takes, short
/// enough that a wrong clock cannot turn away who logs in again.
pub const SIMULTANEOUS_MS: u64 = 10_000;

/// `IMServerKickUser` with the fields of this server behind those of the original, which skips
/// them.
#[derive(Clone, Copy, Eq, Message, PartialEq)]
pub(in crate::msg_server) struct KickUser {
    #[prost(uint32, required, tag = "1")]
    user_id: u32,
    #[prost(int32, required, tag = "2")]
    client_type: i32,
    #[prost(uint32, required, tag = "3")]
    reason: u32,
    /// Unix milliseconds of the login that kicks.
    #[prost(uint64, optional, tag = "100")]
    login_time: Option<u64>,
    /// Its msg_server.
    #[prost(uint32, optional, tag = "101")]
    server_id: Option<u32>,
}

impl KickUser {
    /// For the older clients of the same class of a user who has logged in.
    pub(in crate::msg_server) fn of_login(
        srv: &MsgServer,
        user_id: u32,
        client_type: i32,
        login_time: u64,
    ) -> Self {
        Self {
            user_id,
            client_type,
            reason: KickReasonType::KickReasonDuplicateUser as u32,
            login_time: Some(login_time),
            server_id: Some(srv.server_id),
        }
    }

    /// For the PCs of a user who wants them gone.
    pub(in crate::msg_server) fn of_phone(user_id: u32) -> Self {
        Self {
            user_id,
            client_type: ClientType::Mac.into(),
            reason: KickReasonType::KickReasonMobileKick as u32,
            login_time: None,
            server_id: None,
        }
    }

    pub(in crate::msg_server) fn pdu(&self) -> ImPdu {
        ImPdu::encode_with(PduHeader::new(SID_OTHER, CID_OTHER_SERVER_KICK_USER, 0), self)
    }
}

/// C++: msg_server/RouteServConn.cpp CRouteServConn::_HandleKickUser
/// Differs: of two simultaneous logins one stays (F65), and whoever waits for its login is spared.
pub(super) fn handle_kick_user(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
    let msg: KickUser = pdu.decode()?;
    let Ok(reason) = KickReasonType::try_from(msg.reason as i32) else {
        debug!("user={} kick dropped: reason={}", msg.user_id, msg.reason);
        return Ok(());
    };
    let tick = cx.net.tick();
    let login_of = |srv: &MsgServer, conn: NetHandle| {
        srv.msg_conns.get(conn).map_or((u64::MAX, 0), |conn| conn.login_age(tick))
    };
    let theirs = msg.login_time.zip(msg.server_id);
    let stays = |srv: &MsgServer, conn: NetHandle| {
        let (age_ms, login_time) = login_of(srv, conn);
        let ours = (login_time, srv.server_id);
        age_ms <= SIMULTANEOUS_MS && theirs.is_some_and(|theirs| ours > theirs)
    };
    let conns = cx.srv.im_users.conns(msg.user_id).iter();
    let same_class = conns.filter(|c| im_user::is_same_class(c.client_type, msg.client_type));
    let staying: Vec<NetHandle> =
        same_class.map(|conn| conn.handle).filter(|conn| stays(cx.srv, *conn)).collect();
    im_user::kick_out_same_client_type(cx, msg.user_id, msg.client_type, reason, |conn| {
        !staying.contains(&conn)
    });
    for conn in staying {
        let (_, login_time) = login_of(cx.srv, conn);
        let kick = KickUser::of_login(cx.srv, msg.user_id, msg.client_type, login_time);
        send_msg_to_route(cx, &kick.pdu());
    }
    Ok(())
}
