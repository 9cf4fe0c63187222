//! Storing messages, as many as wait, with the cost of one.
//!
//! # Cost
//!
//! A message alone costs one transaction with two statements (the message, both sessions), one
//! commit, and two round trips to the cache (its number, the unread counter). A batch of 64 costs
//! one transaction with one statement for each table that gets a row, one for all sessions and one
//! for all groups, one commit, and two or three round trips to the cache. A relation or
//! conversation this process has not met costs a statement or two once. A test counts.
//!
//! # Order
//!
//! Messages of one conversation come to one worker in the order they arrived, and are numbered in
//! that order. They are acknowledged after the commit; what fails is refused with number 0.

use std::collections::BTreeMap;

use log::warn;

use super::msg_ids::Conversation;
use super::relation_model::{self, Pair};
use super::{Business, HandlerError};
use crate::pb::base_define::SessionType;
use crate::storage::cache_pool::{GROUP_MEMBER, UNREAD};
use crate::storage::sql::placeholders;
use crate::storage::{
    CacheCmd, CacheReply, DbConn, DbError, InsertRows, Merge, OnConflict, Transaction, Value,
};

/// Most messages in one transaction.
pub const BATCH_MAX: usize = 64;

/// How often a batch whose numbers were taken by somebody else, or that met a deadlock, is tried.
const TRIES_MAX: usize = 3;

/// To whom a message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Receiver {
    /// A user.
    User(u32),
    /// A group.
    Group(u32),
}

/// A message that is to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Who wrote it.
    pub from_id: u32,
    /// To whom.
    pub receiver: Receiver,
    /// The `MsgType`.
    pub msg_type: u32,
    /// Cipher text, or the number of a voice message.
    pub content: String,
    /// Unix seconds, as msg_server has them.
    pub created: u32,
}

/// Stores the messages and gives each its number; `None` where it was not stored.
///
/// C++: db_proxy_server/business/MessageModel.cpp CMessageModel::sendMessage
/// Differs: a number means that the message is stored (F92, S5).
pub fn store(business: &Business, messages: &[NewMessage]) -> Vec<Option<u32>> {
    match store_with_retries(business, messages) {
        Ok(msg_ids) => msg_ids,
        // One message that cannot be stored must not cost the others theirs.
        Err(error) if messages.len() > 1 && concerns_one(&error) => messages
            .iter()
            .flat_map(|message| store(business, std::slice::from_ref(message)))
            .collect(),
        Err(error) => {
            warn!("messages not stored: count={} {error}", messages.len());
            vec![None; messages.len()]
        }
    }
}

fn concerns_one(error: &HandlerError) -> bool {
    matches!(error, HandlerError::Db(error) if error.is_refused_value())
}

fn store_with_retries(
    business: &Business,
    messages: &[NewMessage],
) -> Result<Vec<Option<u32>>, HandlerError> {
    let mut tries = 1;
    loop {
        match store_once(business, messages) {
            Err(HandlerError::Db(DbError::Duplicate { .. } | DbError::Busy(_)))
                if tries < TRIES_MAX =>
            {
                tries += 1;
            }
            result => return result,
        }
    }
}

/// Everything about a batch that is known before it is stored.
struct Plan {
    now: u32,
    /// Of each message.
    conversations: Vec<Option<Conversation>>,
    /// Of each message.
    msg_ids: Vec<Option<u32>>,
}

fn store_once(
    business: &Business,
    messages: &[NewMessage],
) -> Result<Vec<Option<u32>>, HandlerError> {
    let allowed = may_write(business, messages)?;
    let mut conn = business.master()?;
    let plan = plan(business, &mut *conn, messages, &allowed)?;
    let wanted = plan.conversations.iter().flatten().copied();
    let written = write(&mut *conn, messages, &plan);
    match written {
        Ok(()) => {}
        Err(HandlerError::Db(DbError::ConnectionLost(reason))) => {
            drop(conn);
            // Nobody knows whether the commit arrived: all of it or nothing is there.
            if !is_stored(business, &plan)? {
                return Err(DbError::ConnectionLost(reason).into());
            }
        }
        Err(error) => {
            business.msg_ids.doubt(wanted);
            return Err(error);
        }
    }
    if let Err(error) = count(business, messages, &plan) {
        // They are stored, and that is what the answer says. The counters are behind now.
        warn!("unread messages not counted: count={} {error}", messages.len());
    }
    Ok(plan.msg_ids)
}

/// Which messages their senders may send: to somebody else, and to groups they are in.
fn may_write(business: &Business, messages: &[NewMessage]) -> Result<Vec<bool>, HandlerError> {
    let mut allowed = vec![true; messages.len()];
    let mut cmds = Vec::new();
    let mut asked = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        match message.receiver {
            Receiver::User(to_id) => allowed[at] = to_id != message.from_id && to_id != 0,
            Receiver::Group(group_id) => {
                let key = format!("group_member_{group_id}");
                cmds.push(CacheCmd::HGet { key, field: message.from_id.to_string() });
                asked.push((at, group_id));
            }
        }
        allowed[at] &= message.from_id != 0;
    }
    if cmds.is_empty() {
        return Ok(allowed);
    }
    let replies = business.cache.cache_conn(GROUP_MEMBER)?.pipeline(&cmds)?;
    for ((at, _), reply) in asked.into_iter().zip(replies) {
        allowed[at] &= reply.into_text()?.is_some();
    }
    Ok(allowed)
}

fn plan(
    business: &Business,
    conn: &mut dyn DbConn,
    messages: &[NewMessage],
    allowed: &[bool],
) -> Result<Plan, HandlerError> {
    let now = business.now();
    let pair = |message: &NewMessage| match message.receiver {
        Receiver::User(to_id) => Some(relation_model::pair(message.from_id, to_id)),
        Receiver::Group(_) => None,
    };
    let sent = || messages.iter().zip(allowed).filter(|(_, allowed)| **allowed);
    let pairs: Vec<Pair> = sent().filter_map(|(message, _)| pair(message)).collect();
    let relations = business.relations.ids(conn, &pairs, now)?;
    let conversation = |(message, &allowed): (&NewMessage, &bool)| {
        allowed.then(|| match message.receiver {
            Receiver::Group(group_id) => Conversation::Group(group_id),
            Receiver::User(to_id) => {
                Conversation::Single(relations[&relation_model::pair(message.from_id, to_id)])
            }
        })
    };
    let conversations: Vec<_> = messages.iter().zip(allowed).map(conversation).collect();
    let mut counts: BTreeMap<Conversation, u32> = BTreeMap::new();
    for conversation in conversations.iter().flatten() {
        *counts.entry(*conversation).or_default() += 1;
    }
    let wanted: Vec<(Conversation, u32)> = counts.into_iter().collect();
    let mut next = business.msg_ids.take(business, conn, &wanted)?;
    let msg_id = |conversation: &Option<Conversation>| {
        let next = next.get_mut(conversation.as_ref()?)?;
        *next += 1;
        Some(*next - 1)
    };
    let msg_ids = conversations.iter().map(msg_id).collect();
    Ok(Plan { now, conversations, msg_ids })
}

/// Messages, sessions and groups: all of it or nothing.
fn write(conn: &mut dyn DbConn, messages: &[NewMessage], plan: &Plan) -> Result<(), HandlerError> {
    let mut rows: BTreeMap<(String, &'static str), Vec<Value>> = BTreeMap::new();
    // Keys in order, so that two processes never wait for each other in a circle.
    let mut sessions: BTreeMap<(u32, u32, u32), ()> = BTreeMap::new();
    let mut groups: BTreeMap<u32, ()> = BTreeMap::new();
    for (at, message) in messages.iter().enumerate() {
        let (Some(conversation), Some(msg_id)) = (plan.conversations[at], plan.msg_ids[at]) else {
            continue;
        };
        let values = rows.entry((conversation.table(), conversation.column())).or_default();
        values.extend([conversation.id(), message.from_id].map(Value::from));
        match message.receiver {
            Receiver::User(to_id) => {
                values.push(to_id.into());
                let single = SessionType::Single as u32;
                sessions.insert((message.from_id, to_id, single), ());
                sessions.insert((to_id, message.from_id, single), ());
            }
            Receiver::Group(group_id) => {
                sessions.insert((message.from_id, group_id, SessionType::Group as u32), ());
                groups.insert(group_id, ());
            }
        }
        values.extend([
            msg_id.into(),
            message.content.as_str().into(),
            message.msg_type.into(),
            0.into(),
            message.created.into(),
            plan.now.into(),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::begin(conn)?;
    for ((table, column), values) in &rows {
        let columns: &[&str] = if *column == "relateId" {
            &[
                "relateId", "fromId", "toId", "msgId", "content", "type", "status", "created",
                "updated",
            ]
        } else {
            &["groupId", "userId", "msgId", "content", "type", "status", "created", "updated"]
        };
        let insert = InsertRows { table, columns, conflict: OnConflict::Fail };
        insert.execute(&mut *transaction, values)?;
    }
    update_sessions(&mut *transaction, sessions.into_keys(), plan.now)?;
    if !groups.is_empty() {
        let sql =
            format!("update IMGroup set lastChated=? where id in ({})", placeholders(groups.len()));
        let mut values: Vec<Value> = vec![plan.now.into()];
        values.extend(groups.into_keys().map(Value::from));
        transaction.execute_update(&sql, &values)?;
    }
    Ok(transaction.commit()?)
}

/// Brings sessions to the top of their lists; a removed or missing one appears.
///
/// C++: db_proxy_server/business/SessionModel.cpp CSessionModel::updateSession
/// Differs: both sides of a conversation, in one statement (F93, F94, S3).
fn update_sessions(
    conn: &mut dyn DbConn,
    sessions: impl Iterator<Item = (u32, u32, u32)>,
    now: u32,
) -> Result<(), DbError> {
    let values: Vec<Value> = sessions
        .flat_map(|(user_id, peer_id, kind)| [user_id, peer_id, kind, 0, now, now].map(Value::from))
        .collect();
    let rows = InsertRows {
        table: "IMRecentSession",
        columns: &["userId", "peerId", "type", "status", "created", "updated"],
        conflict: OnConflict::Update {
            key: &["userId", "peerId", "type"],
            set: &[("status", Merge::New), ("updated", Merge::Greater)],
        },
    };
    rows.execute(conn, &values)?;
    Ok(())
}

/// Whether the batch is there, after a commit without an answer. One message tells of all.
fn is_stored(business: &Business, plan: &Plan) -> Result<bool, HandlerError> {
    let known =
        plan.conversations.iter().zip(&plan.msg_ids).find_map(|(c, id)| Some(((*c)?, (*id)?)));
    let Some((conversation, msg_id)) = known else {
        return Ok(true);
    };
    let (table, column) = (conversation.table(), conversation.column());
    let sql = format!("select id from {table} where {column}=? and msgId=?");
    let values = [conversation.id().into(), msg_id.into()];
    Ok(!business.master()?.execute_query(&sql, &values)?.is_empty())
}

/// Counts what is unread now.
///
/// C++: db_proxy_server/business/GroupMessageModel.cpp CGroupMessageModel::incMessageCount
fn count(business: &Business, messages: &[NewMessage], plan: &Plan) -> Result<(), HandlerError> {
    let mut cmds = Vec::new();
    let mut senders = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if plan.msg_ids[at].is_none() {
            continue;
        }
        let (key, field) = match message.receiver {
            Receiver::User(to_id) => (format!("unread_{to_id}"), message.from_id.to_string()),
            Receiver::Group(group_id) => {
                senders.push((cmds.len(), message.from_id, group_id));
                (format!("{group_id}_im_group_msg"), "count".to_owned())
            }
        };
        cmds.push(CacheCmd::HIncrBy { key, field, by: 1 });
    }
    if cmds.is_empty() {
        return Ok(());
    }
    let mut cache = business.cache.cache_conn(UNREAD)?;
    let replies = cache.pipeline(&cmds)?;
    // Who writes to a group has seen everything before: what it counts then is what he has seen.
    let seen = |&(at, user_id, group_id): &(usize, u32, u32)| {
        let CacheReply::Int(count) = replies[at] else { return None };
        Some(CacheCmd::HSet {
            key: format!("{user_id}_{group_id}_im_user_group"),
            field: "count".to_owned(),
            value: count.to_string(),
        })
    };
    let cmds: Vec<CacheCmd> = senders.iter().filter_map(seen).collect();
    if !cmds.is_empty() {
        cache.pipeline(&cmds)?;
    }
    Ok(())
}
