//! The commands about users.

use super::{Answer, Business, done_code, reply, user_model};
use crate::base::im_pdu::PduRef;
use crate::pb::buddy::{
    ImAllUserReq, ImAllUserRsp, ImChangeAvatarReq, ImChangeAvatarRsp, ImChangeSignInfoReq,
    ImChangeSignInfoRsp, ImUsersInfoReq, ImUsersInfoRsp,
};
use crate::pb::cmd::*;
use crate::pb::login::{
    ImPushShieldReq, ImPushShieldRsp, ImQueryPushShieldReq, ImQueryPushShieldRsp,
};

/// C++: db_proxy_server/business/UserAction.cpp getUserInfo
pub fn get_user_info(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImUsersInfoReq = pdu.decode()?;
    let answer = ImUsersInfoRsp {
        user_id: msg.user_id,
        user_info_list: user_model::users(business, &msg.user_id_list)?,
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_USER_INFO_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/UserAction.cpp getChangedUser
pub fn get_changed_user(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImAllUserReq = pdu.decode()?;
    let (user_list, latest_update_time) =
        user_model::changed_users(business, msg.latest_update_time)?;
    let answer = ImAllUserRsp {
        user_id: msg.user_id,
        latest_update_time,
        user_list,
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_ALL_USER_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/UserAction.cpp changeUserSignInfo
pub fn change_user_sign_info(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImChangeSignInfoReq = pdu.decode()?;
    let changed = msg.sign_info.len() <= user_model::SIGN_INFO_LEN_MAX
        && user_model::update_user_sign_info(business, msg.user_id, &msg.sign_info)?;
    let answer = ImChangeSignInfoRsp {
        user_id: msg.user_id,
        result_code: done_code(changed),
        sign_info: changed.then_some(msg.sign_info),
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE, pdu, &answer)
}

/// The original has no handler for this command: avatars never changed (F77).
pub fn change_user_avatar(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImChangeAvatarReq = pdu.decode()?;
    let changed = match std::str::from_utf8(&msg.avatar_url) {
        Ok(avatar) => user_model::update_user_avatar(business, msg.user_id, avatar)?,
        Err(_) => false,
    };
    let answer = ImChangeAvatarRsp {
        user_id: msg.user_id,
        result_code: done_code(changed),
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/UserAction.cpp doPushShield
pub fn do_push_shield(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImPushShieldReq = pdu.decode()?;
    let changed = user_model::update_push_shield(business, msg.user_id, msg.shield_status)?;
    let answer = ImPushShieldRsp {
        user_id: msg.user_id,
        result_code: done_code(changed),
        shield_status: changed.then_some(msg.shield_status),
        attach_data: msg.attach_data,
    };
    reply(SID_LOGIN, CID_LOGIN_RES_PUSH_SHIELD, pdu, &answer)
}

/// C++: db_proxy_server/business/UserAction.cpp doQueryPushShield
pub fn do_query_push_shield(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImQueryPushShieldReq = pdu.decode()?;
    let shield_status = user_model::push_shield(business, msg.user_id)?;
    let answer = ImQueryPushShieldRsp {
        user_id: msg.user_id,
        result_code: done_code(shield_status.is_some()),
        shield_status,
        attach_data: msg.attach_data,
    };
    reply(SID_LOGIN, CID_LOGIN_RES_QUERY_PUSH_SHIELD, pdu, &answer)
}
