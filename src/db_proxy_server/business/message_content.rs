//! The commands about messages.

use std::collections::HashMap;

use log::warn;
use prost::Message;

use super::message_batch::{self, NewMessage, Receiver};
use super::msg_ids::Conversation;
use super::{Answer, Business, HandlerError, audio_model, message_model, relation_model};
use crate::base::im_pdu::{ImPdu, PduHeader, PduRef};
use crate::base::public_define::{msg_type_is_group, msg_type_is_single};
use crate::pb::base_define::{MsgType, SessionType, UnreadInfo};
use crate::pb::cmd::*;
use crate::pb::message::*;
use crate::storage::cache_pool::{GROUP_MEMBER, UNREAD};
use crate::storage::{CacheCmd, CacheReply, DbError};

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
        msgs.iter().map(|msg| new_message(business, msg.as_ref()?)).collect();
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
            let ids = business.relations.known_ids(&mut *business.slave()?, &[pair])?;
            Ok(ids.get(&pair).map(|&id| (Conversation::Single(id), 0)))
        }
        Ok(SessionType::Group) => {
            let joined = join_time(business, session_id, user_id)?;
            Ok(joined.map(|joined| (Conversation::Group(session_id), joined)))
        }
        Err(_) => Ok(None),
    }
}

fn join_time(
    business: &Business,
    group_id: u32,
    user_id: u32,
) -> Result<Option<u32>, HandlerError> {
    let mut cache = business.cache.cache_conn(GROUP_MEMBER)?;
    let joined = cache.hget(&format!("group_member_{group_id}"), &user_id.to_string())?;
    Ok(joined.map(|joined| joined.parse().unwrap_or(0)))
}

/// C++: db_proxy_server/business/MessageContent.cpp getMessage
/// Differs: an unknown kind of session has an empty answer instead of none.
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
    reply(CID_MSG_LIST_RESPONSE, pdu, &answer)
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
    reply(CID_MSG_GET_BY_MSG_ID_RES, pdu, &answer)
}

/// C++: db_proxy_server/business/MessageContent.cpp getLatestMsgId
/// Differs: who is not in the group is told 0 (F15).
pub fn get_latest_msg_id(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGetLatestMsgIdReq = pdu.decode()?;
    let readable = readable(business, msg.user_id, msg.session_type, msg.session_id)?;
    let latest_msg_id = match readable {
        Some((conversation, _)) => {
            let latest =
                message_model::latest_messages(business, &mut *business.slave()?, &[conversation])?;
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
    reply(CID_MSG_GET_LATEST_MSG_ID_RSP, pdu, &answer)
}

/// Everything unread of a user, with the newest message of each session.
///
/// C++: db_proxy_server/business/MessageCounter.cpp getUnreadMsgCounter
/// Differs: a handful of queries whatever the number of sessions (F97), and the unread messages of
/// one group never count for the next (F96, S8).
pub fn get_unread_msg_counter(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImUnreadMsgCntReq = pdu.decode()?;
    let unread = unread(business, msg.user_id)?;
    let mut conn = business.slave()?;
    let pairs: Vec<_> = unread
        .iter()
        .filter(|unread| unread.session_type == SessionType::Single)
        .map(|unread| relation_model::pair(msg.user_id, unread.session_id))
        .collect();
    let relations = business.relations.known_ids(&mut *conn, &pairs)?;
    let conversation = |unread: &Unread| match unread.session_type {
        SessionType::Single => {
            let pair = relation_model::pair(msg.user_id, unread.session_id);
            relations.get(&pair).map(|&id| Conversation::Single(id))
        }
        SessionType::Group => Some(Conversation::Group(unread.session_id)),
    };
    let conversations: Vec<_> = unread.iter().filter_map(conversation).collect();
    let latest = message_model::latest_messages(business, &mut *conn, &conversations)?;
    let info = |unread: &Unread| {
        let latest = latest.get(&conversation(unread)?)?;
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
    reply(CID_MSG_UNREAD_CNT_RESPONSE, pdu, &answer)
}

struct Unread {
    session_type: SessionType,
    session_id: u32,
    count: u32,
}

fn unread(business: &Business, user_id: u32) -> Result<Vec<Unread>, HandlerError> {
    let sql = "select groupId from IMGroupMember where userId=? and status=0";
    let rows = business.slave()?.execute_query(sql, &[user_id.into()])?;
    let groups: Vec<u32> =
        rows.rows().map(|row| row.get("groupId")).collect::<Result<_, DbError>>()?;
    let mut cmds = vec![CacheCmd::HGetAll { key: format!("unread_{user_id}") }];
    for group_id in &groups {
        for key in
            [format!("{group_id}_im_group_msg"), format!("{user_id}_{group_id}_im_user_group")]
        {
            cmds.push(CacheCmd::HGet { key, field: "count".to_owned() });
        }
    }
    let mut replies = business.cache.cache_conn(UNREAD)?.pipeline(&cmds)?.into_iter();
    let singles = match replies.next() {
        Some(reply) => reply.into_map()?,
        None => HashMap::new(),
    };
    let single = |(peer, count): (String, String)| {
        let (session_id, count) = (peer.parse().ok()?, count.parse().ok()?);
        Some(Unread { session_type: SessionType::Single, session_id, count })
    };
    let mut unread: Vec<Unread> = singles.into_iter().filter_map(single).collect();
    for group_id in groups {
        let mut count = || -> Result<u32, HandlerError> {
            let text = replies.next().map(CacheReply::into_text).transpose()?.flatten();
            Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        let (sent, seen) = (count()?, count()?);
        let count = sent.saturating_sub(seen);
        unread.push(Unread { session_type: SessionType::Group, session_id: group_id, count });
    }
    unread.retain(|unread| unread.count > 0);
    Ok(unread)
}

fn reply(command_id: u16, request: PduRef<'_>, answer: &impl Message) -> Answer {
    let header = PduHeader::new(SID_MSG, command_id, request.seq_num());
    Ok(Some(ImPdu::encode_with(header, answer)))
}

/// C++: db_proxy_server/business/MessageCounter.cpp clearUnreadMsgCounter
pub fn clear_unread_msg_counter(business: &Business, pdu: PduRef<'_>) -> Answer {
    clear_unread(business, &pdu.decode()?)?;
    Ok(None)
}

/// Nothing of this session is unread any more.
pub fn clear_unread(business: &Business, ack: &ImMsgDataReadAck) -> Result<(), HandlerError> {
    let mut cache = business.cache.cache_conn(UNREAD)?;
    match SessionType::try_from(ack.session_type) {
        Ok(SessionType::Single) => {
            cache.hdel(&format!("unread_{}", ack.user_id), &ack.session_id.to_string())?;
        }
        Ok(SessionType::Group) => {
            let counted = cache.hget(&format!("{}_im_group_msg", ack.session_id), "count")?;
            let key = format!("{}_{}_im_user_group", ack.user_id, ack.session_id);
            cache.hset(&key, "count", counted.as_deref().unwrap_or("0"))?;
        }
        Err(_) => warn!("user={} read ack dropped: unknown session type", ack.user_id),
    }
    Ok(())
}
