//! Which function answers which command.

use super::business::{
    Answer, Business, depart_action, file_action, group_action, login, message_content,
    message_counter, recent_session, regist, user_action,
};
use crate::base::im_pdu::PduRef;
use crate::pb::cmd::*;

/// What answers a command. Runs on a worker.
///
/// C++: db_proxy_server/ProxyTask.h pdu_handler_t
pub type PduHandler = fn(&Business, PduRef<'_>) -> Answer;

/// The function for a command, in the order of the original's table.
///
/// C++: db_proxy_server/HandlerMap.cpp CHandlerMap::Init
pub fn handler(command_id: u16) -> Option<PduHandler> {
    Some(match command_id {
        CID_OTHER_VALIDATE_REQ => login::do_login,
        // Of the later variant, whose db_proxy_server does not know it either.
        CID_LOGIN_REQ_REGIST => regist::do_regist,
        CID_LOGIN_REQ_PUSH_SHIELD => user_action::do_push_shield,
        CID_LOGIN_REQ_QUERY_PUSH_SHIELD => user_action::do_query_push_shield,
        CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST => recent_session::get_recent_session,
        CID_BUDDY_LIST_REMOVE_SESSION_REQ => recent_session::delete_recent_session,
        CID_BUDDY_LIST_USER_INFO_REQUEST => user_action::get_user_info,
        CID_BUDDY_LIST_ALL_USER_REQUEST => user_action::get_changed_user,
        CID_BUDDY_LIST_DEPARTMENT_REQUEST => depart_action::get_chged_depart,
        CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST => user_action::change_user_avatar,
        CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST => user_action::change_user_sign_info,
        CID_MSG_DATA => message_content::send_message,
        CID_MSG_LIST_REQUEST => message_content::get_message,
        CID_MSG_UNREAD_CNT_REQUEST => message_counter::get_unread_msg_counter,
        CID_MSG_READ_ACK => message_counter::clear_unread_msg_counter,
        CID_MSG_GET_BY_MSG_ID_REQ => message_content::get_message_by_id,
        CID_MSG_GET_LATEST_MSG_ID_REQ => message_content::get_latest_msg_id,
        CID_LOGIN_REQ_DEVICETOKEN => message_counter::set_devices_token,
        CID_OTHER_GET_DEVICE_TOKEN_REQ => message_counter::get_devices_token,
        CID_GROUP_SHIELD_GROUP_REQUEST => group_action::set_group_push,
        CID_OTHER_GET_SHIELD_REQ => group_action::get_group_push,
        CID_GROUP_NORMAL_LIST_REQUEST => group_action::get_normal_group_list,
        CID_GROUP_INFO_REQUEST => group_action::get_group_info,
        CID_GROUP_CREATE_REQUEST => group_action::create_group,
        CID_GROUP_CHANGE_MEMBER_REQUEST => group_action::modify_member,
        CID_FILE_HAS_OFFLINE_REQ => file_action::has_offline_file,
        CID_FILE_ADD_OFFLINE_REQ => file_action::add_offline_file,
        CID_FILE_DEL_OFFLINE_REQ => file_action::del_offline_file,
        _ => return None,
    })
}

/// Requests that cost less together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BatchKind {
    /// Messages and what was read of them.
    Conversations,
    /// Logins.
    Logins,
    /// Who wants pushes of a group.
    GroupPushes,
    /// Where phones are told.
    DeviceTokens,
}

/// What a command can be answered together with.
pub fn batch_kind(command_id: u16) -> Option<BatchKind> {
    match command_id {
        CID_MSG_DATA | CID_MSG_READ_ACK => Some(BatchKind::Conversations),
        CID_OTHER_VALIDATE_REQ => Some(BatchKind::Logins),
        CID_OTHER_GET_SHIELD_REQ => Some(BatchKind::GroupPushes),
        CID_OTHER_GET_DEVICE_TOKEN_REQ => Some(BatchKind::DeviceTokens),
        _ => None,
    }
}

impl BatchKind {
    /// The answers to requests of this kind, in their order.
    pub fn handle(self, business: &Business, pdus: &[PduRef<'_>]) -> Vec<Answer> {
        match self {
            Self::Conversations => {
                message_content::change_conversations(business, pdus).into_iter().map(Ok).collect()
            }
            Self::Logins => login::do_logins(business, pdus),
            Self::GroupPushes => group_action::get_group_pushes(business, pdus),
            Self::DeviceTokens => message_counter::get_devices_tokens(business, pdus),
        }
    }
}
