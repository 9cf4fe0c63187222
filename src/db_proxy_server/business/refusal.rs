//! What is answered to a request that failed, where the protocol has a way to say so.
//!
//! Requests for lists have none: an empty answer would say that there is nothing, so whoever asked
//! hears nothing, and the log says why.

use super::{Answer, reply};
use crate::base::im_pdu::PduRef;
use crate::pb::base_define::ResultType;
use crate::pb::buddy::*;
use crate::pb::cmd::*;
use crate::pb::group::*;
use crate::pb::login::*;
use crate::pb::message::ImMsgData;
use crate::pb::server::{ImValidateReq, ImValidateRsp};

/// The `result_code` of most answers that refuse.
const FAILED: u32 = 1;

/// `result_code` and text for a login that could not be checked.
pub const INTERNAL_ERROR: (u32, &str) = (2, "服务端内部错误");

/// The refusal of a request whose handler failed or panicked; nothing where there is no way to
/// refuse.
///
/// # Errors
/// The request does not parse.
pub fn refusal(pdu: PduRef<'_>) -> Answer {
    match pdu.command_id() {
        CID_OTHER_VALIDATE_REQ => of_login(pdu),
        CID_LOGIN_REQ_REGIST => of_regist(pdu),
        CID_LOGIN_REQ_PUSH_SHIELD => of_push_shield(pdu),
        CID_LOGIN_REQ_QUERY_PUSH_SHIELD => of_query_push_shield(pdu),
        CID_BUDDY_LIST_REMOVE_SESSION_REQ => of_remove_session(pdu),
        CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST => of_change_avatar(pdu),
        CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST => of_change_sign_info(pdu),
        CID_MSG_DATA => of_message(pdu),
        CID_GROUP_CREATE_REQUEST => of_create_group(pdu),
        CID_GROUP_CHANGE_MEMBER_REQUEST => of_modify_member(pdu),
        CID_GROUP_SHIELD_GROUP_REQUEST => of_group_shield(pdu),
        _ => Ok(None),
    }
}

fn of_login(pdu: PduRef<'_>) -> Answer {
    let msg: ImValidateReq = pdu.decode()?;
    let (result_code, text) = INTERNAL_ERROR;
    let answer = ImValidateRsp {
        user_name: msg.user_name,
        result_code,
        result_string: Some(text.to_owned()),
        user_info: None,
        attach_data: msg.attach_data,
    };
    reply(SID_OTHER, CID_OTHER_VALIDATE_RSP, pdu, &answer)
}

fn of_regist(pdu: PduRef<'_>) -> Answer {
    let msg: ImRegistReq = pdu.decode()?;
    let answer = ImRegistRes {
        user_name: msg.user_name,
        result_code: ResultType::RefuseReasonNoDbServer.into(),
        result_string: Some(INTERNAL_ERROR.1.to_owned()),
        user_id: None,
        attach_data: msg.attach_data,
    };
    reply(SID_LOGIN, CID_LOGIN_RES_REGIST, pdu, &answer)
}

fn of_push_shield(pdu: PduRef<'_>) -> Answer {
    let msg: ImPushShieldReq = pdu.decode()?;
    let answer = ImPushShieldRsp {
        user_id: msg.user_id,
        result_code: FAILED,
        shield_status: None,
        attach_data: msg.attach_data,
    };
    reply(SID_LOGIN, CID_LOGIN_RES_PUSH_SHIELD, pdu, &answer)
}

fn of_query_push_shield(pdu: PduRef<'_>) -> Answer {
    let msg: ImQueryPushShieldReq = pdu.decode()?;
    let answer = ImQueryPushShieldRsp {
        user_id: msg.user_id,
        result_code: FAILED,
        shield_status: None,
        attach_data: msg.attach_data,
    };
    reply(SID_LOGIN, CID_LOGIN_RES_QUERY_PUSH_SHIELD, pdu, &answer)
}

fn of_remove_session(pdu: PduRef<'_>) -> Answer {
    let msg: ImRemoveSessionReq = pdu.decode()?;
    let answer = ImRemoveSessionRsp {
        user_id: msg.user_id,
        result_code: FAILED,
        session_type: msg.session_type,
        session_id: msg.session_id,
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_REMOVE_SESSION_RES, pdu, &answer)
}

fn of_change_avatar(pdu: PduRef<'_>) -> Answer {
    let msg: ImChangeAvatarReq = pdu.decode()?;
    let answer = ImChangeAvatarRsp {
        user_id: msg.user_id,
        result_code: FAILED,
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE, pdu, &answer)
}

fn of_change_sign_info(pdu: PduRef<'_>) -> Answer {
    let msg: ImChangeSignInfoReq = pdu.decode()?;
    let answer = ImChangeSignInfoRsp {
        user_id: msg.user_id,
        result_code: FAILED,
        sign_info: None,
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE, pdu, &answer)
}

fn of_message(pdu: PduRef<'_>) -> Answer {
    let msg: ImMsgData = pdu.decode()?;
    reply(SID_MSG, CID_MSG_DATA, pdu, &ImMsgData { msg_id: 0, ..msg })
}

fn of_create_group(pdu: PduRef<'_>) -> Answer {
    let msg: ImGroupCreateReq = pdu.decode()?;
    let answer = ImGroupCreateRsp {
        user_id: msg.user_id,
        result_code: FAILED,
        group_id: None,
        group_name: msg.group_name,
        user_id_list: msg.member_id_list,
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_CREATE_RESPONSE, pdu, &answer)
}

fn of_modify_member(pdu: PduRef<'_>) -> Answer {
    let msg: ImGroupChangeMemberReq = pdu.decode()?;
    let answer = ImGroupChangeMemberRsp {
        user_id: msg.user_id,
        change_type: msg.change_type,
        result_code: FAILED,
        group_id: msg.group_id,
        cur_user_id_list: Vec::new(),
        chg_user_id_list: Vec::new(),
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_CHANGE_MEMBER_RESPONSE, pdu, &answer)
}

fn of_group_shield(pdu: PduRef<'_>) -> Answer {
    let msg: ImGroupShieldReq = pdu.decode()?;
    let answer = ImGroupShieldRsp {
        user_id: msg.user_id,
        group_id: msg.group_id,
        result_code: FAILED,
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_SHIELD_GROUP_RESPONSE, pdu, &answer)
}
