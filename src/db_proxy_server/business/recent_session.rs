//! The commands about recent sessions.

use super::msg_ids::Conversation;
use super::session_model::{self, Session};
use super::{Answer, Business, message_model, relation_model};
use crate::base::im_pdu::{ImPdu, PduHeader, PduRef};
use crate::pb::base_define::{ContactSessionInfo, SessionStatusType, SessionType};
use crate::pb::buddy::{
    ImRecentContactSessionReq, ImRecentContactSessionRsp, ImRemoveSessionReq, ImRemoveSessionRsp,
};
use crate::pb::cmd::*;
use crate::pb::message::ImMsgDataReadAck;

/// C++: db_proxy_server/business/RecentSession.cpp getRecentSession
/// Differs: three queries whatever the number of sessions (F97).
pub fn get_recent_session(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImRecentContactSessionReq = pdu.decode()?;
    let sessions = session_model::recent_sessions(business, msg.user_id, msg.latest_update_time)?;
    let pair = |session: &Session| relation_model::pair(msg.user_id, session.peer_id);
    let is_single = |session: &Session| session.session_type == SessionType::Single as i32;
    let mut conn = business.slave()?;
    let pairs: Vec<_> = sessions.iter().filter(|session| is_single(session)).map(pair).collect();
    let relations = business.relations.known_ids(&mut *conn, &pairs)?;
    let conversation = |session: &Session| {
        if is_single(session) {
            relations.get(&pair(session)).map(|&id| Conversation::Single(id))
        } else {
            Some(Conversation::Group(session.peer_id))
        }
    };
    let conversations: Vec<_> = sessions.iter().filter_map(conversation).collect();
    let latest = message_model::latest_messages(business, &mut *conn, &conversations)?;
    // A session without a message is no use to a client.
    let info = |session: &Session| {
        let latest = latest.get(&conversation(session)?)?;
        Some(ContactSessionInfo {
            session_id: session.peer_id,
            session_type: session.session_type,
            session_status: SessionStatusType::SessionStatusOk.into(),
            updated_time: session.updated,
            latest_msg_id: latest.msg_id,
            latest_msg_data: latest.data.clone(),
            latest_msg_type: latest.msg_type,
            latest_msg_from_user_id: latest.from_id,
        })
    };
    let answer = ImRecentContactSessionRsp {
        user_id: msg.user_id,
        contact_session_list: sessions.iter().filter_map(info).collect(),
        attach_data: msg.attach_data,
    };
    let command_id = CID_BUDDY_LIST_RECENT_CONTACT_SESSION_RESPONSE;
    let header = PduHeader::new(SID_BUDDY_LIST, command_id, pdu.seq_num());
    Ok(Some(ImPdu::encode_with(header, &answer)))
}

/// C++: db_proxy_server/business/RecentSession.cpp deleteRecentSession
/// Differs: an unknown kind of session is refused instead of ignored.
pub fn delete_recent_session(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImRemoveSessionReq = pdu.decode()?;
    let removed = SessionType::try_from(msg.session_type).is_ok()
        && session_model::remove_session(business, msg.user_id, msg.session_id, msg.session_type)?;
    if removed {
        let ack = ImMsgDataReadAck {
            user_id: msg.user_id,
            session_id: msg.session_id,
            msg_id: 0,
            session_type: msg.session_type,
        };
        super::message_content::clear_unread(business, &ack)?;
    }
    let answer = ImRemoveSessionRsp {
        user_id: msg.user_id,
        result_code: u32::from(!removed),
        session_type: msg.session_type,
        session_id: msg.session_id,
        attach_data: msg.attach_data,
    };
    let header = PduHeader::new(SID_BUDDY_LIST, CID_BUDDY_LIST_REMOVE_SESSION_RES, pdu.seq_num());
    Ok(Some(ImPdu::encode_with(header, &answer)))
}
