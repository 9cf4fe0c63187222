//! The commands about messages.

use log::warn;

use super::message_batch::{self, Entry, NewMessage, Receiver};
use super::msg_ids::Conversation;
use super::{
    Answer, Business, HandlerError, audio_model, group_model, message_model, relation_model, reply,
};
use crate::base::im_pdu::{ImPdu, PduHeader, PduRef};
use crate::base::public_define::{msg_type_is_group, msg_type_is_single};
use crate::pb::base_define::{MsgType, SessionType};
use crate::pb::cmd::*;
use crate::pb::message::*;

/// One message. Workers use [`change_conversations`], which shares its cost.
///
/// C++: db_proxy_server/business/MessageContent.cpp sendMessage
pub fn send_message(business: &Business, pdu: PduRef<'_>) -> Answer {
    Ok(change_conversations(business, &[pdu]).pop().flatten())
}

/// A request about a conversation.
enum Change {
    Message(ImMsgData),
    Read(ImMsgDataReadAck),
}

impl Change {
    fn decode(pdu: PduRef<'_>) -> Option<Self> {
        let change = if pdu.command_id() == CID_MSG_READ_ACK {
            pdu.decode().map(Self::Read)
        } else {
            pdu.decode().map(Self::Message)
        };
        change.inspect_err(|error| warn!("cmd={:#06x} dropped: {error}", pdu.command_id())).ok()
    }

    fn entry(&self, business: &Business) -> Option<Entry> {
        match self {
            Self::Message(msg) => new_message(business, msg).map(Entry::Message),
            Self::Read(ack) => {
                let session = match SessionType::try_from(ack.session_type) {
                    Ok(SessionType::Single) => Receiver::User(ack.session_id),
                    Ok(SessionType::Group) => Receiver::Group(ack.session_id),
                    Err(_) => {
                        warn!("user={} read ack dropped: unknown session type", ack.user_id);
                        return None;
                    }
                };
                Some(Entry::Read { user_id: ack.user_id, session })
            }
        }
    }
}

/// Stores messages and how far somebody has read, in this order, and answers each message: with
/// its number, or with 0 where it is not stored. What does not parse has no answer, and reading
/// has none in the protocol.
pub fn change_conversations(business: &Business, pdus: &[PduRef<'_>]) -> Vec<Option<ImPdu>> {
    let changes: Vec<Option<Change>> = pdus.iter().map(|pdu| Change::decode(*pdu)).collect();
    let entries: Vec<Option<Entry>> =
        changes.iter().map(|change| change.as_ref()?.entry(business)).collect();
    let stored: Vec<bool> = entries.iter().map(Option::is_some).collect();
    let entries: Vec<Entry> = entries.into_iter().flatten().collect();
    let mut msg_ids = message_batch::store(business, &entries).into_iter();
    let answer = |((pdu, change), stored): ((&PduRef<'_>, Option<Change>), bool)| {
        let msg_id = if stored { msg_ids.next().flatten() } else { None };
        let Some(Change::Message(msg)) = change else { return None };
        let answer = ImMsgData { msg_id: msg_id.unwrap_or(0), ..msg };
        let header = PduHeader::new(SID_MSG, CID_MSG_DATA, pdu.seq_num());
        Some(ImPdu::encode_with(header, &answer))
    };
    pdus.iter().zip(changes).zip(stored).map(answer).collect()
}

/// What is to be stored of a message, unless it never can be, or is longer than allowed (F30).
fn new_message(business: &Business, msg: &ImMsgData) -> Option<NewMessage> {
    let msg_type = MsgType::try_from(msg.msg_type).ok()?;
    let receiver = if msg_type_is_single(msg.msg_type) {
        Receiver::User(msg.to_session_id)
    } else if msg_type_is_group(msg.msg_type) {
        Receiver::Group(msg.to_session_id)
    } else {
        return None;
    };
    let (from_id, to_id, created) = (msg.from_user_id, msg.to_session_id, msg.create_time);
    if msg.msg_data.len() > business.msg_len_max {
        warn!("user={from_id} message refused: bytes={}", msg.msg_data.len());
        return None;
    }
    let content = match msg_type {
        MsgType::SingleText | MsgType::GroupText => {
            String::from_utf8(msg.msg_data.to_vec()).ok().filter(|text| !text.is_empty())
        }
        MsgType::SingleAudio | MsgType::GroupAudio => {
            match audio_model::save(business, from_id, to_id, created, &msg.msg_data) {
                Ok(content) => content,
                Err(error) => {
                    warn!("user={from_id} voice message not stored: {error}");
                    None
                }
            }
        }
    };
    Some(NewMessage { from_id, receiver, msg_type: msg_type as u32, content: content?, created })
}

/// What a user may read of a session: the conversation, and from when on.
fn readable(
    business: &Business,
    user_id: u32,
    session_type: i32,
    session_id: u32,
) -> Result<Option<(Conversation, u32)>, HandlerError> {
    match SessionType::try_from(session_type) {
        Ok(SessionType::Single) => {
            let pair = relation_model::pair(user_id, session_id);
            let ids = business.read_whole(
                |conn| business.relations.known_ids(conn, &[pair]),
                |ids| ids.contains_key(&pair),
            )?;
            Ok(ids.get(&pair).map(|&id| (Conversation::Single(id), 0)))
        }
        Ok(SessionType::Group) => {
            let membership = (session_id, user_id);
            let joined = business.read_whole(
                |conn| Ok(group_model::join_times(conn, &[membership])?),
                |joined| joined.contains_key(&membership),
            )?;
            Ok(joined.get(&membership).map(|&joined| (Conversation::Group(session_id), joined)))
        }
        Err(_) => Ok(None),
    }
}

/// C++: db_proxy_server/business/MessageContent.cpp getMessage
/// Differs: an unknown kind of session has an empty answer instead of none; what a replica that is
/// late does not have is read from the primary.
pub fn get_message(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGetMsgListReq = pdu.decode()?;
    let readable = readable(business, msg.user_id, msg.session_type, msg.session_id)?;
    let msg_list = match readable {
        Some((conversation, since)) => {
            message_model::messages(business, conversation, msg.msg_id_begin, msg.msg_cnt, since)?
        }
        None => Vec::new(),
    };
    let answer = ImGetMsgListRsp {
        user_id: msg.user_id,
        session_type: msg.session_type,
        session_id: msg.session_id,
        msg_id_begin: msg.msg_id_begin,
        msg_list,
        attach_data: msg.attach_data,
    };
    reply(SID_MSG, CID_MSG_LIST_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/MessageContent.cpp getMessageById
/// Differs: an unknown kind of session has an empty answer instead of none.
pub fn get_message_by_id(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGetMsgByIdReq = pdu.decode()?;
    let readable = readable(business, msg.user_id, msg.session_type, msg.session_id)?;
    let msg_list = match readable {
        Some((conversation, since)) => {
            message_model::messages_by_id(business, conversation, &msg.msg_id_list, since)?
        }
        None => Vec::new(),
    };
    let answer = ImGetMsgByIdRsp {
        user_id: msg.user_id,
        session_type: msg.session_type,
        session_id: msg.session_id,
        msg_list,
        attach_data: msg.attach_data,
    };
    reply(SID_MSG, CID_MSG_GET_BY_MSG_ID_RES, pdu, &answer)
}

/// C++: db_proxy_server/business/MessageContent.cpp getLatestMsgId
/// Differs: who is not in the group is told 0 (F15); read from the primary, because a client sends
/// again what is not there.
pub fn get_latest_msg_id(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGetLatestMsgIdReq = pdu.decode()?;
    let readable = readable(business, msg.user_id, msg.session_type, msg.session_id)?;
    let latest_msg_id = match readable {
        Some((conversation, _)) => {
            let latest = message_model::latest_messages(
                business,
                &mut *business.master()?,
                &[conversation],
            )?;
            latest.get(&conversation).map_or(0, |latest| latest.msg_id)
        }
        None => 0,
    };
    let answer = ImGetLatestMsgIdRsp {
        user_id: msg.user_id,
        session_type: msg.session_type,
        session_id: msg.session_id,
        latest_msg_id,
        attach_data: msg.attach_data,
    };
    reply(SID_MSG, CID_MSG_GET_LATEST_MSG_ID_RSP, pdu, &answer)
}
