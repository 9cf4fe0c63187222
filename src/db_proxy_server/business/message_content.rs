//! The commands about messages.

use log::warn;

use super::message_batch::{self, NewMessage, Receiver};
use super::{Answer, Business};
use crate::base::im_pdu::{ImPdu, PduHeader, PduRef};
use crate::base::public_define::{msg_type_is_group, msg_type_is_single};
use crate::pb::base_define::{MsgType, SessionType};
use crate::pb::cmd::{CID_MSG_DATA, SID_MSG};
use crate::pb::message::{ImMsgData, ImMsgDataReadAck};
use crate::storage::cache_pool::UNREAD;

/// One message. Workers use [`send_messages`], which shares its cost.
///
/// C++: db_proxy_server/business/MessageContent.cpp sendMessage
pub fn send_message(business: &Business, pdu: PduRef<'_>) -> Answer {
    Ok(send_messages(business, &[pdu]).pop().flatten())
}

/// Stores the messages in this order and answers each: with its number, or with 0 where it is not
/// stored. Only what does not parse has no answer.
pub fn send_messages(business: &Business, pdus: &[PduRef<'_>]) -> Vec<Option<ImPdu>> {
    let decode = |pdu: &PduRef<'_>| match pdu.decode::<ImMsgData>() {
        Ok(msg) => Some(msg),
        Err(error) => {
            warn!("message dropped: {error}");
            None
        }
    };
    let msgs: Vec<Option<ImMsgData>> = pdus.iter().map(decode).collect();
    let new: Vec<Option<NewMessage>> =
        msgs.iter().map(|msg| msg.as_ref().and_then(new_message)).collect();
    let batch: Vec<NewMessage> = new.iter().flatten().cloned().collect();
    let mut msg_ids = message_batch::store(business, &batch).into_iter();
    let answer = |((pdu, msg), new): ((&PduRef<'_>, Option<ImMsgData>), Option<NewMessage>)| {
        let msg_id = new.and_then(|_| msg_ids.next().flatten()).unwrap_or(0);
        let answer = ImMsgData { msg_id, ..msg? };
        let header = PduHeader::new(SID_MSG, CID_MSG_DATA, pdu.seq_num());
        Some(ImPdu::encode_with(header, &answer))
    };
    pdus.iter().zip(msgs).zip(new).map(answer).collect()
}

/// What is to be stored of a message, unless it never can be.
fn new_message(msg: &ImMsgData) -> Option<NewMessage> {
    let msg_type = MsgType::try_from(msg.msg_type).ok()?;
    let receiver = if msg_type_is_single(msg.msg_type) {
        Receiver::User(msg.to_session_id)
    } else if msg_type_is_group(msg.msg_type) {
        Receiver::Group(msg.to_session_id)
    } else {
        return None;
    };
    let content = std::str::from_utf8(&msg.msg_data).ok().filter(|text| !text.is_empty())?;
    Some(NewMessage {
        from_id: msg.from_user_id,
        receiver,
        msg_type: msg_type as u32,
        content: content.to_owned(),
        created: msg.create_time,
    })
}

/// C++: db_proxy_server/business/MessageCounter.cpp clearUnreadMsgCounter
pub fn clear_unread_msg_counter(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImMsgDataReadAck = pdu.decode()?;
    let mut cache = business.cache.cache_conn(UNREAD)?;
    match SessionType::try_from(msg.session_type) {
        Ok(SessionType::Single) => {
            cache.hdel(&format!("unread_{}", msg.user_id), &msg.session_id.to_string())?;
        }
        Ok(SessionType::Group) => {
            let counted = cache.hget(&format!("{}_im_group_msg", msg.session_id), "count")?;
            let key = format!("{}_{}_im_user_group", msg.user_id, msg.session_id);
            cache.hset(&key, "count", counted.as_deref().unwrap_or("0"))?;
        }
        Err(_) => warn!("user={} read ack dropped: unknown session type", msg.user_id),
    }
    Ok(None)
}
