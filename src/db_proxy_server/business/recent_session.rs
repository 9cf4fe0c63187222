//! The commands about recent sessions.

use super::message_batch::{Entry, Receiver};
use super::msg_ids::Conversation;
use super::session_model::{self, Session};
use super::{Answer, Business, done_code, message_batch, message_model, relation_model, reply};
use crate::base::im_pdu::PduRef;
use crate::pb::base_define::{ContactSessionInfo, SessionStatusType, SessionType};
use crate::pb::buddy::{
    ImRecentContactSessionReq, ImRecentContactSessionRsp, ImRemoveSessionReq, ImRemoveSessionRsp,
};
use crate::pb::cmd::*;

/// C++: db_proxy_server/business/RecentSession.cpp getRecentSession
/// Differs: four queries whatever the number of sessions (F97); from the primary, so that a session
/// that was just removed or used is shown so.
pub fn get_recent_session(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImRecentContactSessionReq = pdu.decode()?;
    let mut conn = business.master()?;
    let sessions = session_model::recent_sessions(&mut *conn, msg.user_id, msg.latest_update_time)?;
    let pair = |session: &Session| relation_model::pair(msg.user_id, session.peer_id);
    let is_single = |session: &Session| session.session_type == SessionType::Single as i32;
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
    drop(conn);
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_RECENT_CONTACT_SESSION_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/RecentSession.cpp deleteRecentSession
/// Differs: an unknown kind of session is refused instead of ignored.
pub fn delete_recent_session(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImRemoveSessionReq = pdu.decode()?;
    let session = match SessionType::try_from(msg.session_type) {
        Ok(SessionType::Single) => Some(Receiver::User(msg.session_id)),
        Ok(SessionType::Group) => Some(Receiver::Group(msg.session_id)),
        Err(_) => None,
    };
    let removed = match session {
        Some(session) => {
            // First, so that what is off the list never comes back with what was read before.
            message_batch::store(business, &[Entry::Read { user_id: msg.user_id, session }]);
            let (user_id, peer_id) = (msg.user_id, msg.session_id);
            session_model::remove_session(business, user_id, peer_id, msg.session_type)?
        }
        None => false,
    };
    let answer = ImRemoveSessionRsp {
        user_id: msg.user_id,
        result_code: done_code(removed),
        session_type: msg.session_type,
        session_id: msg.session_id,
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_REMOVE_SESSION_RES, pdu, &answer)
}
