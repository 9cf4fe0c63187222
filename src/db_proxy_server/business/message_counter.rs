//! The commands about unread messages and push tokens.

use super::message_content::change_conversations;
use super::unread::{self, Unread};
use super::{Answer, Business, device_tokens, message_model, reply, same_or_ask};
use crate::base::im_pdu::PduRef;
use crate::pb::base_define::UnreadInfo;
use crate::pb::cmd::*;
use crate::pb::login::{ImDeviceTokenReq, ImDeviceTokenRsp};
use crate::pb::message::{ImUnreadMsgCntReq, ImUnreadMsgCntRsp};
use crate::pb::server::{ImGetDeviceTokenReq, ImGetDeviceTokenRsp};

/// Everything unread of a user, with the newest message of each session.
///
/// C++: db_proxy_server/business/MessageCounter.cpp getUnreadMsgCounter
/// Differs: a handful of queries whatever the number of sessions (F97), and the unread messages of
/// one group never count for the next (F96, S8).
pub fn get_unread_msg_counter(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImUnreadMsgCntReq = pdu.decode()?;
    // The master: who has just read something must not be told that it is unread.
    let mut conn = business.master()?;
    let mut unread = unread::unread(business, &mut *conn, &[msg.user_id])?;
    let unread = unread.remove(&msg.user_id).unwrap_or_default();
    let conversations: Vec<_> = unread.iter().map(|unread| unread.conversation).collect();
    let latest = message_model::latest_messages(business, &mut *conn, &conversations)?;
    drop(conn);
    let info = |unread: &Unread| {
        let latest = latest.get(&unread.conversation)?;
        Some(UnreadInfo {
            session_id: unread.session_id,
            session_type: unread.session_type.into(),
            unread_cnt: unread.count,
            latest_msg_id: latest.msg_id,
            latest_msg_data: latest.data.clone(),
            latest_msg_type: latest.msg_type,
            latest_msg_from_user_id: latest.from_id,
        })
    };
    let unreadinfo_list: Vec<UnreadInfo> = unread.iter().filter_map(info).collect();
    let answer = ImUnreadMsgCntRsp {
        user_id: msg.user_id,
        total_cnt: unreadinfo_list.iter().map(|info| info.unread_cnt).sum(),
        unreadinfo_list,
        attach_data: msg.attach_data,
    };
    reply(SID_MSG, CID_MSG_UNREAD_CNT_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/MessageCounter.cpp clearUnreadMsgCounter
pub fn clear_unread_msg_counter(business: &Business, pdu: PduRef<'_>) -> Answer {
    Ok(change_conversations(business, &[pdu]).pop().flatten())
}

/// C++: db_proxy_server/business/MessageCounter.cpp setDevicesToken
/// Differs: tokens and users have keys of their own, a token that moves is taken from its previous
/// owner, and what cannot be a token is ignored (F12, S19).
pub fn set_devices_token(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImDeviceTokenReq = pdu.decode()?;
    device_tokens::set(business, msg.user_id, &msg.device_token, msg.client_type)?;
    let answer = ImDeviceTokenRsp { user_id: msg.user_id, attach_data: msg.attach_data };
    reply(SID_LOGIN, CID_LOGIN_RES_DEVICETOKEN, pdu, &answer)
}

/// C++: db_proxy_server/business/MessageCounter.cpp getDevicesToken
/// Differs: one round trip for all tokens, and a handful of queries for all counts (F97).
pub fn get_devices_token(business: &Business, pdu: PduRef<'_>) -> Answer {
    get_devices_tokens(business, &[pdu]).pop().unwrap_or(Ok(None))
}

/// What [`get_devices_token`] does, for several requests. Those for messages of one busy group ask
/// all the same.
pub fn get_devices_tokens(business: &Business, pdus: &[PduRef<'_>]) -> Vec<Answer> {
    let mut last = None;
    let answers = pdus.iter().map(|pdu| {
        let mut msg: ImGetDeviceTokenReq = pdu.decode()?;
        let attach_data = msg.attach_data.take();
        let tokens =
            same_or_ask(&mut last, msg, |msg| device_tokens::tokens(business, &msg.user_id))?;
        let answer = ImGetDeviceTokenRsp { user_token_info: tokens.clone(), attach_data };
        reply(SID_OTHER, CID_OTHER_GET_DEVICE_TOKEN_RSP, *pdu, &answer)
    });
    answers.collect()
}
