//! The connections to push_servers, and what phones are shown.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use log::{debug, info, warn};
use prost::Message;
use serde_json::json;

use super::db_serv_conn::{DbRange, send_to_db};
use super::route_serv_conn::send_to_route;
use super::{Cx, MsgServer};
use crate::base::attach_data::PduAttachData;
use crate::base::attach_data::msg_server::ATTACH_TYPE_PDU_FOR_PUSH;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::{
    IM_PUSH_TYPE_NORMAL, IM_PUSH_TYPE_SILENT, PUSH_RESULT_TOKEN_DEAD, msg_type_is_group,
};
use crate::netlib::serv_info::RECONNECT_CHECK_MS;
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler, ServConns, keepalive};
use crate::pb::base_define::{MsgType, PushResult, UserStatType, UserTokenInfo};
use crate::pb::buddy::{ImUsersStatReq, ImUsersStatRsp};
use crate::pb::cmd::*;
use crate::pb::login::ImDeviceTokenReq;
use crate::pb::message::ImMsgData;
use crate::pb::server::{ImGetDeviceTokenRsp, ImPushToUserReq, ImPushToUserRsp};

/// Longest text of an alert, in bytes. A payload may have 4096, of which JSON may need six for one
/// byte of text.
pub const FLASH_LEN_MAX: usize = 512;

/// What stands around the address of a picture in a text.
const PICTURE: (&str, &str) = ("&$#@~^@[{:", ":}]&$~@#@");
const SOME_MESSAGE: &str = "您收到了一条消息";

/// Nothing is kept of a push_server but that it is there.
///
/// C++: msg_server/PushServConn.h CPushServConn
#[derive(Debug, Default)]
pub struct PushServConn;

/// All push_servers, one of which is used.
#[derive(Debug)]
pub(super) struct PushServers {
    pub(super) conns: ServConns<PushServConn>,
    /// The one that connected last.
    ///
    /// C++: msg_server/PushServConn.cpp g_master_push_conn
    master: Option<NetHandle>,
}

impl PushServers {
    pub(super) fn new(addrs: Vec<(String, u16)>) -> Self {
        Self { conns: ServConns::new(addrs), master: None }
    }

    /// See [`ServConns::set_servers`].
    pub(super) fn set_servers(&mut self, net: &mut Netlib<MsgServer>, servers: Vec<(String, u16)>) {
        self.conns.set_servers(net, servers);
        let open = self.conns.open_handles();
        if !self.master.is_some_and(|master| open.contains(&master)) {
            self.master = open.first().copied();
        }
    }
}

impl ConnHandler for PushServConn {
    type Server = MsgServer;
    type Framing = PduFraming;

    /// C++: msg_server/PushServConn.cpp CPushServConn::OnConfirm
    fn on_confirm(cx: &mut Cx<'_>, this: NetHandle) {
        info!("conn={this} push_server connected");
        cx.srv.push_servers.conns.confirm(this, cx.net.tick());
        cx.srv.push_servers.master = Some(this);
    }

    /// C++: msg_server/PushServConn.cpp CPushServConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for PushServConn {
    /// C++: msg_server/PushServConn.cpp CPushServConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_OTHER_PUSH_TO_USER_RSP => handle_push_to_user_response(cx, pdu)?,
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl PushServConn {
    /// C++: msg_server/PushServConn.cpp CPushServConn::Close
    /// Differs: another open connection takes over (F76).
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        let servers = &mut cx.srv.push_servers;
        if let Some(conn) = servers.conns.remove(this, cx.net.tick()) {
            if conn.open {
                warn!("conn={this} push_server lost");
            }
            if servers.master == Some(this) {
                servers.master = servers.conns.open_handles().first().copied();
            }
            cx.net.close(this);
        }
    }
}

/// Connects, and registers the timer.
///
/// C++: msg_server/PushServConn.cpp init_push_serv_conn
pub(super) fn init_push_serv_conn(cx: &mut Cx<'_>) {
    push_server_conn_timer_callback(cx);
    cx.net.register_timer(push_server_conn_timer_callback, RECONNECT_CHECK_MS);
}

/// C++: msg_server/PushServConn.cpp push_server_conn_timer_callback
pub(super) fn push_server_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.push_servers.conns.open_handles() {
        keepalive::on_server_timer::<PushServConn>(cx, conn);
    }
    cx.srv.push_servers.conns.check_reconnect::<PushServConn>(cx.net);
}

/// C++: msg_server/PushServConn.cpp get_push_serv_conn
fn send_to_push(cx: &mut Cx<'_>, msg: &ImPushToUserReq) {
    let Some(master) = cx.srv.push_servers.master else {
        return debug!("pushes={} dropped: no push_server", msg.user_token_list.len());
    };
    let header = PduHeader::new(SID_OTHER, CID_OTHER_PUSH_TO_USER_REQ, 0);
    cx.net.send_msg(master, header, msg);
}

/// Pushes a message to the phones whose tokens db_proxy_server has found. Whoever is not here may
/// have a PC elsewhere: route_server knows.
///
/// C++: msg_server/DBServConn.cpp CDBServConn::_HandleGetDeviceTokenResponse
/// Differs: route_server is asked once for all users, and without one the push makes a sound.
pub(super) fn handle_get_device_token_response(
    cx: &mut Cx<'_>,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let rsp: ImGetDeviceTokenRsp = pdu.decode()?;
    let attach = rsp.attach_data.unwrap_or_default();
    let command_id = pdu.command_id();
    let msg =
        ImMsgData::decode(attach).map_err(|source| PduError::Decode { command_id, source })?;
    let Some(flash) = build_ios_push_flash(cx.srv, &msg) else {
        debug!("user={} push dropped: its text cannot be decrypted", msg.from_user_id);
        return Ok(());
    };
    let mut data = json!({ "msg_type": msg.msg_type, "from_id": msg.from_user_id });
    if msg_type_is_group(msg.msg_type) {
        data["group_id"] = msg.to_session_id.into();
    }
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    // Nobody is told what he wrote himself.
    let tokens = rsp.user_token_info.into_iter().filter(|t| t.user_id != msg.from_user_id);
    for mut token in tokens {
        match cx.srv.im_users.im_user_by_id(token.user_id) {
            Some(user) => {
                token.push_type = push_type(user.pc_login_status());
                here.push(token);
            }
            None => {
                token.push_type = IM_PUSH_TYPE_NORMAL;
                elsewhere.push(token);
            }
        }
    }
    let request = |user_token_list: Vec<UserTokenInfo>| ImPushToUserReq {
        flash: flash.clone().into_bytes().into(),
        data: data.to_string(),
        user_token_list,
    };
    if !elsewhere.is_empty() {
        let user_id_list = elsewhere.iter().map(|token| token.user_id).collect();
        let push = request(elsewhere);
        let body = push.encode_to_vec();
        let attach = PduAttachData::new(ATTACH_TYPE_PDU_FOR_PUSH, 0, &body).encode();
        let question =
            ImUsersStatReq { user_id: 0, user_id_list, attach_data: Some(attach.into()) };
        let command_id = CID_BUDDY_LIST_USERS_STATUS_REQUEST;
        if !send_to_route(cx, &ImPdu::encode(SID_BUDDY_LIST, command_id, 0, &question)) {
            send_to_push(cx, &push);
        }
    }
    if !here.is_empty() {
        send_to_push(cx, &request(here));
    }
    Ok(())
}

/// Tokens that no phone has any more are forgotten. For db_proxy_server they move to user 0, whom
/// an original one does not know either: nobody. The original does not look at results, and keeps
/// dead tokens for ever (F131).
fn handle_push_to_user_response(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
    let msg: ImPushToUserRsp = pdu.decode()?;
    let is_dead = |result: &PushResult| result.result_code == PUSH_RESULT_TOKEN_DEAD;
    for result in msg.push_result_list.into_iter().filter(is_dead) {
        let device_token = result.user_token;
        let req = ImDeviceTokenReq { user_id: 0, device_token, ..ImDeviceTokenReq::default() };
        let req = ImPdu::encode(SID_LOGIN, CID_LOGIN_REQ_DEVICETOKEN, 0, &req);
        if send_to_db(cx, DbRange::Other, &req).is_none() {
            debug!("a dead token stays until the next push: no db_proxy_server");
        }
    }
    Ok(())
}

/// Who sits at a PC is not disturbed by his phone.
fn push_type(pc_online: bool) -> u32 {
    if pc_online { IM_PUSH_TYPE_SILENT } else { IM_PUSH_TYPE_NORMAL }
}

/// route_server has said who sits at a PC: pushes what was held back until then.
pub(super) fn push_by_status(cx: &mut Cx<'_>, stats: &ImUsersStatRsp, push: &[u8]) {
    let Ok(mut push) = ImPushToUserReq::decode(push) else {
        return debug!("push dropped: its attach data does not parse");
    };
    let online = i32::from(UserStatType::UserStatusOnline);
    let stats: HashMap<u32, bool> =
        stats.user_stat_list.iter().map(|stat| (stat.user_id, stat.status == online)).collect();
    for token in &mut push.user_token_list {
        token.push_type = push_type(stats.get(&token.user_id).copied().unwrap_or(false));
    }
    send_to_push(cx, &push);
}

/// What the phone shows of a message; `None` if it cannot be read.
///
/// C++: msg_server/PushServConn.cpp build_ios_push_flash
/// Differs: cut between two characters, and by what a payload takes (F78).
fn build_ios_push_flash(srv: &MsgServer, msg: &ImMsgData) -> Option<String> {
    let is_voice =
        [MsgType::SingleAudio.into(), MsgType::GroupAudio.into()].contains(&msg.msg_type);
    let text = if is_voice {
        String::new()
    } else {
        String::from_utf8_lossy(&srv.aes.decrypt(&msg.msg_data).ok()?).into_owned()
    };
    let begin = text.find(PICTURE.0);
    if begin.is_some() && begin < text.find(PICTURE.1) {
        return Some(SOME_MESSAGE.to_owned());
    }
    let Some(user) = srv.im_users.im_user_by_id(msg.from_user_id) else {
        return Some(SOME_MESSAGE.to_owned());
    };
    let nick = &user.nick_name;
    let mut flash = match MsgType::try_from(msg.msg_type) {
        Ok(MsgType::GroupAudio) => format!("{nick}在群聊中发送了一条语音消息"),
        Ok(MsgType::SingleAudio) => format!("{nick}给您发送了一条语音消息"),
        _ => format!("{nick}:{text}"),
    };
    if flash.len() > FLASH_LEN_MAX {
        let end = (0..=FLASH_LEN_MAX - 3).rev().find(|at| flash.is_char_boundary(*at));
        flash.truncate(end.unwrap_or(0));
        flash.push_str("...");
    }
    Some(flash)
}
