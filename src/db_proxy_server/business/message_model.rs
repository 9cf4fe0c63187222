//! Reading messages.

use std::collections::HashMap;

use bytes::Bytes;

use super::audio_model::Audios;
use super::msg_ids::Conversation;
use super::{Business, HandlerError};
use crate::base::limits::{MSG_CNT_MAX, capped_msg_cnt};
use crate::pb::base_define::{MsgInfo, MsgType};
use crate::storage::sql::placeholders;
use crate::storage::{DbConn, DbError, Row, Value};

/// The newest message of a conversation, as lists of sessions show it.
#[derive(Clone, Debug, Default)]
pub struct LatestMsg {
    /// Its number.
    pub msg_id: u32,
    /// Who wrote it.
    pub from_id: u32,
    /// Its `MsgType`.
    pub msg_type: i32,
    /// Cipher text; for a voice message that of a word for it.
    pub data: Bytes,
}

/// The word that stands for a voice message where only text can be shown.
const AUDIO_TEXT: &str = "[语音]";

/// Up to `count` messages, the newest first, none newer than `begin` unless that is 0, and none
/// from before `since`.
///
/// C++: db_proxy_server/business/MessageModel.cpp CMessageModel::getMessage
/// Differs: sorted by number, not by a clock with seconds (S18), and at most a page (F29).
pub fn messages(
    business: &Business,
    conversation: Conversation,
    begin: u32,
    count: u32,
    since: u32,
) -> Result<Vec<MsgInfo>, HandlerError> {
    let (table, column, from) = source(conversation);
    let begin_at = if begin == 0 { u32::MAX } else { begin };
    let sql = format!(
        "select msgId, {from} as fromId, content, type, created from {table} \
         where {column}=? and status=0 and msgId<=? and created>=? order by msgId desc limit ?"
    );
    let count = capped_msg_cnt(count);
    let values = [conversation.id().into(), begin_at.into(), since.into(), count.into()];
    // The newest one is only known to whoever has all.
    read(business, &sql, &values, |found| found.first().is_some_and(|top| top.0.msg_id == begin))
}

/// The messages of these numbers, the newest first.
///
/// C++: db_proxy_server/business/MessageModel.cpp CMessageModel::getMsgByMsgId
pub fn messages_by_id(
    business: &Business,
    conversation: Conversation,
    msg_ids: &[u32],
    since: u32,
) -> Result<Vec<MsgInfo>, HandlerError> {
    let msg_ids = &msg_ids[..msg_ids.len().min(MSG_CNT_MAX as usize)];
    if msg_ids.is_empty() {
        return Ok(Vec::new());
    }
    let (table, column, from) = source(conversation);
    let sql = format!(
        "select msgId, {from} as fromId, content, type, created from {table} \
         where {column}=? and status=0 and created>=? and msgId in ({}) order by msgId desc",
        placeholders(msg_ids.len())
    );
    let mut values: Vec<Value> = vec![conversation.id().into(), since.into()];
    values.extend(msg_ids.iter().map(|&id| Value::from(id)));
    read(business, &sql, &values, |found| found.len() == msg_ids.len())
}

/// The newest message of each conversation that has one, with one statement for all.
///
/// C++: db_proxy_server/business/MessageModel.cpp CMessageModel::getLastMsg
/// Differs: one query instead of two per conversation (F97).
pub fn latest_messages(
    business: &Business,
    conn: &mut dyn DbConn,
    conversations: &[Conversation],
) -> Result<HashMap<Conversation, LatestMsg>, HandlerError> {
    let mut by_table: HashMap<String, Vec<Conversation>> = HashMap::new();
    for conversation in conversations {
        by_table.entry(conversation.table()).or_default().push(*conversation);
    }
    let mut parts = Vec::new();
    let mut values = Vec::new();
    for conversations in by_table.values() {
        let (table, column, from) = source(conversations[0]);
        let kind = u32::from(matches!(conversations[0], Conversation::Group(_)));
        let (owners, dialect) = (conversations[0].owners(), conn.dialect());
        let newest = conversations[0].newest_of(dialect, "o.id", "n.status=0");
        let hint = conversations[0].index_hint(dialect);
        parts.push(format!(
            "select {kind} as kind, t.id as id, m.msgId as msgId, m.{from} as fromId, \
             m.type as type, m.content as content from \
             (select o.id as id, {newest} as newest from {owners} o where o.id in ({})) t \
             join {table} m{hint} on m.{column}=t.id and m.msgId=t.newest",
            placeholders(conversations.len())
        ));
        values.extend(conversations.iter().map(|conversation| Value::from(conversation.id())));
    }
    if parts.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = conn.execute_query(&parts.join(" union all "), &values)?;
    let latest = |row: Row<'_>| -> Result<(Conversation, LatestMsg), HandlerError> {
        let id: u32 = row.get("id")?;
        let kind: u32 = row.get("kind")?;
        let msg_type = i32::from(row.get_or_default::<u8>("type")?);
        let conversation =
            if kind == 0 { Conversation::Single(id) } else { Conversation::Group(id) };
        let data = if is_audio(msg_type) {
            business.audio_text()
        } else {
            row.get_or_default::<String>("content")?.into()
        };
        let (msg_id, from_id) = (row.get("msgId")?, row.get("fromId")?);
        Ok((conversation, LatestMsg { msg_id, from_id, msg_type, data }))
    };
    rows.rows().map(latest).collect()
}

impl Business {
    fn audio_text(&self) -> Bytes {
        // Encrypting fails for an empty text alone.
        self.aes.encrypt(AUDIO_TEXT.as_bytes()).unwrap_or_default().into()
    }
}

fn source(conversation: Conversation) -> (String, &'static str, &'static str) {
    let from = match conversation {
        Conversation::Single(_) => "fromId",
        Conversation::Group(_) => "userId",
    };
    (conversation.table(), conversation.column(), from)
}

fn is_audio(msg_type: i32) -> bool {
    matches!(MsgType::try_from(msg_type), Ok(MsgType::SingleAudio | MsgType::GroupAudio))
}

/// A message without its content, and what the table has of it.
type Stored = (MsgInfo, String);

/// Reads messages, and the sounds of voice messages once the connection is given back.
fn read(
    business: &Business,
    sql: &str,
    values: &[Value],
    is_whole: impl FnOnce(&[Stored]) -> bool,
) -> Result<Vec<MsgInfo>, HandlerError> {
    let stored = |conn: &mut dyn DbConn| {
        let rows = conn.execute_query(sql, values)?;
        let stored =
            rows.rows().map(|row| Ok((msg_info(&row)?, row.get_or_default::<String>("content")?)));
        let messages = stored.collect::<Result<Vec<Stored>, DbError>>()?;
        let audios = Audios::find(conn, &sounds(&messages))?;
        Ok((messages, audios))
    };
    let (messages, audios) = business.read_whole(stored, |(messages, _)| is_whole(messages))?;
    let mut fetched = audios.fetch(business, &sounds(&messages));
    let fill = |(message, content): Stored| {
        let msg_data = if is_audio(message.msg_type) {
            fetched.remove(&content).unwrap_or_else(|| Bytes::from_static(&[0; 4]))
        } else {
            content.into()
        };
        MsgInfo { msg_data, ..message }
    };
    Ok(messages.into_iter().map(fill).collect())
}

/// Where the sounds of voice messages are.
fn sounds(messages: &[Stored]) -> Vec<&str> {
    let voices = messages.iter().filter(|(message, _)| is_audio(message.msg_type));
    voices.map(|(_, content)| content.as_str()).collect()
}

fn msg_info(row: &Row<'_>) -> Result<MsgInfo, DbError> {
    Ok(MsgInfo {
        msg_id: row.get("msgId")?,
        from_session_id: row.get("fromId")?,
        create_time: row.get_or_default("created")?,
        msg_type: row.get_or_default::<u8>("type")?.into(),
        msg_data: Bytes::new(),
    })
}
