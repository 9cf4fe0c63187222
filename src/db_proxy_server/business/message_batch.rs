//! Storing messages, as many as wait, with the cost of one; and up to where somebody has read.
//!
//! # Cost
//!
//! A message alone costs one transaction with two statements (the message, both sessions), one
//! commit, and one round trip to the cache for its number. A batch of 64 costs one transaction
//! with one statement for each table that gets a row and one for all sessions, one commit, and one
//! round trip to the cache. Messages to groups add one statement that asks for the memberships,
//! one for all groups and one for all marks of their senders. On a Redis that an original server
//! shares, the unread counters of the original cost another round trip, or two with groups. A
//! relation or conversation this process has not met costs a statement or two once. A test counts.
//!
//! # Order
//!
//! What happens in one conversation comes to one worker in the order it arrived: messages are
//! numbered in that order, and reading marks what came before. Messages are acknowledged after the
//! commit; what fails is refused with number 0.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use log::warn;

use super::msg_ids::{Conversation, stored_max};
use super::original_cache::{self, Counted};
use super::relation_model::{self, Pair};
use super::{Business, HandlerError, group_model};
use crate::pb::base_define::SessionType;
use crate::storage::sql::placeholders;
use crate::storage::{DbConn, DbError, InsertRows, Merge, OnConflict, Transaction, Value};

/// Most messages in one transaction.
pub const BATCH_MAX: usize = 64;

/// How often a batch whose numbers were taken by somebody else, or that met a deadlock, is tried.
const TRIES_MAX: usize = 3;

/// How often it is asked whether a batch is there whose commit had no answer …
const LOOKUPS_MAX: u32 = 50;
/// … with this pause.
const LOOKUP_PAUSE: Duration = Duration::from_millis(200);

/// Where a message goes, or where somebody reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Receiver {
    /// A user.
    User(u32),
    /// A group.
    Group(u32),
}

/// Something that happens in a conversation.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Somebody writes.
    Message(NewMessage),
    /// Somebody has read everything that is there.
    Read {
        /// Who.
        user_id: u32,
        /// With whom or in which group.
        session: Receiver,
    },
}

impl Entry {
    fn place(&self) -> (u32, Receiver) {
        match self {
            Self::Message(message) => (message.from_id, message.receiver),
            Self::Read { user_id, session } => (*user_id, *session),
        }
    }
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

/// Stores what happened and gives each message its number; `None` where it was not stored, and for
/// what is no message.
///
/// C++: db_proxy_server/business/MessageModel.cpp CMessageModel::sendMessage
/// Differs: a number means that the message is stored (F92, S5).
pub fn store(business: &Business, entries: &[Entry]) -> Vec<Option<u32>> {
    match store_with_retries(business, entries) {
        Ok(msg_ids) => msg_ids,
        // One message that cannot be stored must not cost the others theirs.
        Err(error) if entries.len() > 1 && concerns_one(&error) => {
            entries.iter().flat_map(|entry| store(business, std::slice::from_ref(entry))).collect()
        }
        Err(error) => {
            warn!("not stored: messages and read marks={} {error}", entries.len());
            vec![None; entries.len()]
        }
    }
}

fn concerns_one(error: &HandlerError) -> bool {
    matches!(error, HandlerError::Db(error) if error.is_refused_value())
}

fn store_with_retries(
    business: &Business,
    entries: &[Entry],
) -> Result<Vec<Option<u32>>, HandlerError> {
    let mut tries = 1;
    loop {
        match store_once(business, entries) {
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
    /// Of each entry; `None` where nothing is to be done.
    conversations: Vec<Option<Conversation>>,
    /// Of each entry: the number of the message, or up to which number somebody has read.
    msg_ids: Vec<Option<u32>>,
}

impl Plan {
    fn of(&self, at: usize) -> Option<(Conversation, u32)> {
        Some((self.conversations[at]?, self.msg_ids[at]?))
    }
}

fn store_once(business: &Business, entries: &[Entry]) -> Result<Vec<Option<u32>>, HandlerError> {
    let mut conn = business.master()?;
    let allowed = may(&mut *conn, entries)?;
    let plan = plan(business, &mut *conn, entries, &allowed)?;
    let written = write(&mut *conn, entries, &plan);
    drop(conn);
    match written {
        Ok(()) => {}
        Err(HandlerError::Db(DbError::ConnectionLost(reason))) => {
            // Nobody knows whether the commit arrived: all of it or nothing is there.
            if !is_stored_patiently(business, entries, &plan)? {
                return Err(DbError::ConnectionLost(reason).into());
            }
        }
        Err(error) => {
            business.msg_ids.doubt(plan.conversations.iter().flatten().copied());
            return Err(error);
        }
    }
    original_cache::count(business, &counted(entries, &plan));
    let msg_id = |(entry, msg_id): (&Entry, Option<u32>)| match entry {
        Entry::Message(_) => msg_id,
        Entry::Read { .. } => None,
    };
    Ok(entries.iter().zip(plan.msg_ids).map(msg_id).collect())
}

/// What may happen: messages to somebody else and to groups one is in, and reading what one may
/// read.
fn may(conn: &mut dyn DbConn, entries: &[Entry]) -> Result<Vec<bool>, HandlerError> {
    let memberships: BTreeSet<(u32, u32)> = entries
        .iter()
        .filter_map(|entry| match entry.place() {
            (user_id, Receiver::Group(group_id)) => Some((group_id, user_id)),
            (_, Receiver::User(_)) => None,
        })
        .collect();
    let memberships: Vec<(u32, u32)> = memberships.into_iter().collect();
    let members = group_model::join_times(conn, &memberships)?;
    let allowed = |entry: &Entry| match entry.place() {
        (user_id, Receiver::User(peer_id)) => user_id != peer_id && user_id != 0 && peer_id != 0,
        (user_id, Receiver::Group(group_id)) => members.contains_key(&(group_id, user_id)),
    };
    Ok(entries.iter().map(allowed).collect())
}

fn plan(
    business: &Business,
    conn: &mut dyn DbConn,
    entries: &[Entry],
    allowed: &[bool],
) -> Result<Plan, HandlerError> {
    let now = business.now();
    let pairs = |messages: bool| -> Vec<Pair> {
        let pair = |(entry, allowed): (&Entry, &bool)| match entry.place() {
            (user_id, Receiver::User(peer_id)) if *allowed => (matches!(entry, Entry::Message(_))
                == messages)
                .then(|| relation_model::pair(user_id, peer_id)),
            _ => None,
        };
        entries.iter().zip(allowed).filter_map(pair).collect()
    };
    // Writing to somebody makes a relation, reading does not.
    let mut relations = business.relations.ids(conn, &pairs(true), now)?;
    relations.extend(business.relations.known_ids(conn, &pairs(false))?);
    let conversation = |(entry, &allowed): (&Entry, &bool)| match entry.place() {
        _ if !allowed => None,
        (_, Receiver::Group(group_id)) => Some(Conversation::Group(group_id)),
        (user_id, Receiver::User(peer_id)) => {
            let relate_id = relations.get(&relation_model::pair(user_id, peer_id));
            relate_id.map(|&relate_id| Conversation::Single(relate_id))
        }
    };
    let conversations: Vec<_> = entries.iter().zip(allowed).map(conversation).collect();
    let msg_ids = numbers(business, conn, entries, &conversations)?;
    Ok(Plan { now, conversations, msg_ids })
}

/// Numbers for the messages, in their order, and for each reader the number that was the newest
/// when he read.
fn numbers(
    business: &Business,
    conn: &mut dyn DbConn,
    entries: &[Entry],
    conversations: &[Option<Conversation>],
) -> Result<Vec<Option<u32>>, HandlerError> {
    let mut counts: BTreeMap<Conversation, u32> = BTreeMap::new();
    let mut read: BTreeSet<Conversation> = BTreeSet::new();
    for (entry, conversation) in entries.iter().zip(conversations) {
        match (entry, conversation) {
            (Entry::Message(_), Some(conversation)) => {
                *counts.entry(*conversation).or_default() += 1;
            }
            (Entry::Read { .. }, Some(conversation)) => {
                read.insert(*conversation);
            }
            (_, None) => {}
        }
    }
    let read: Vec<Conversation> = read.into_iter().collect();
    let mut newest = stored_max(conn, &read)?;
    let wanted: Vec<(Conversation, u32)> = counts.into_iter().collect();
    let mut next = business.msg_ids.take(business, conn, &wanted)?;
    let number = |(entry, conversation): (&Entry, &Option<Conversation>)| {
        let conversation = conversation.as_ref()?;
        match entry {
            Entry::Message(_) => {
                let next = next.get_mut(conversation)?;
                let msg_id = *next;
                *next += 1;
                newest.insert(*conversation, msg_id);
                Some(msg_id)
            }
            Entry::Read { .. } => newest.get(conversation).copied(),
        }
    };
    Ok(entries.iter().zip(conversations).map(number).collect())
}

/// What is to be written, sorted by key, so that two processes never wait for each other in a
/// circle.
#[derive(Default)]
struct Rows {
    /// Values of messages by table and kind.
    messages: BTreeMap<(String, SessionKind), Vec<Value>>,
    /// Sessions that come to the top: user, peer, kind.
    sessions: BTreeSet<(u32, u32, SessionKind)>,
    /// Groups that were written to.
    groups: BTreeSet<u32>,
    /// Up to where users have read what their peers wrote.
    marks: BTreeMap<(u32, u32), u32>,
    /// Up to where members have read their groups: group, user.
    group_marks: BTreeMap<(u32, u32), u32>,
}

/// The `SessionType`, with an order.
type SessionKind = i32;

const SINGLE: SessionKind = SessionType::Single as SessionKind;
const GROUP: SessionKind = SessionType::Group as SessionKind;

impl Rows {
    fn of(entries: &[Entry], plan: &Plan) -> Self {
        let mut rows = Self::default();
        for (at, entry) in entries.iter().enumerate() {
            let Some((conversation, msg_id)) = plan.of(at) else { continue };
            match entry {
                Entry::Message(message) => rows.add(message, conversation, msg_id, plan.now),
                Entry::Read { user_id, session: Receiver::User(peer_id) } => {
                    rows.marks.insert((*user_id, *peer_id), msg_id);
                }
                Entry::Read { user_id, session: Receiver::Group(group_id) } => {
                    rows.group_marks.insert((*group_id, *user_id), msg_id);
                }
            }
        }
        rows
    }

    fn add(&mut self, message: &NewMessage, conversation: Conversation, msg_id: u32, now: u32) {
        let from_id = message.from_id;
        let kind = match message.receiver {
            Receiver::User(_) => SINGLE,
            Receiver::Group(_) => GROUP,
        };
        let values = self.messages.entry((conversation.table(), kind)).or_default();
        values.extend([conversation.id(), from_id].map(Value::from));
        match message.receiver {
            Receiver::User(to_id) => {
                values.push(to_id.into());
                self.sessions.extend([(from_id, to_id, kind), (to_id, from_id, kind)]);
            }
            Receiver::Group(group_id) => {
                self.sessions.insert((from_id, group_id, kind));
                self.groups.insert(group_id);
                // Who writes to a group has read it so far.
                self.group_marks.insert((group_id, from_id), msg_id);
            }
        }
        values.extend([
            msg_id.into(),
            message.content.as_str().into(),
            message.msg_type.into(),
            0.into(),
            message.created.into(),
            now.into(),
        ]);
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.marks.is_empty() && self.group_marks.is_empty()
    }
}

/// Messages, sessions, groups and marks: all of it or nothing.
fn write(conn: &mut dyn DbConn, entries: &[Entry], plan: &Plan) -> Result<(), HandlerError> {
    let rows = Rows::of(entries, plan);
    if rows.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::begin(conn)?;
    for ((table, kind), values) in &rows.messages {
        insert_messages(&mut *transaction, table, *kind, values)?;
    }
    update_sessions(&mut *transaction, &rows.sessions, plan.now)?;
    if !rows.groups.is_empty() {
        let sql = format!(
            "update IMGroup set lastChated=? where id in ({})",
            placeholders(rows.groups.len())
        );
        let mut values: Vec<Value> = vec![plan.now.into()];
        values.extend(rows.groups.into_iter().map(Value::from));
        transaction.execute_update(&sql, &values)?;
    }
    mark_sessions(&mut *transaction, &rows.marks, plan.now)?;
    mark_members(&mut *transaction, &rows.group_marks, plan.now)?;
    Ok(transaction.commit()?)
}

/// C++: db_proxy_server/business/GroupMessageModel.cpp CGroupMessageModel::sendMessage
/// Differs: many at once, and the caller learns whether they are stored (F95, S4).
fn insert_messages(
    conn: &mut dyn DbConn,
    table: &str,
    kind: SessionKind,
    values: &[Value],
) -> Result<(), DbError> {
    let columns: &[&str] = if kind == SINGLE {
        &["relateId", "fromId", "toId", "msgId", "content", "type", "status", "created", "updated"]
    } else {
        &["groupId", "userId", "msgId", "content", "type", "status", "created", "updated"]
    };
    let rows = InsertRows { table, columns, conflict: OnConflict::Fail };
    rows.execute(conn, values).map(drop)
}

/// Brings sessions to the top of their lists; a removed or missing one appears.
///
/// C++: db_proxy_server/business/SessionModel.cpp CSessionModel::updateSession
/// Differs: both sides of a conversation, in one statement (F93, F94, S3).
fn update_sessions(
    conn: &mut dyn DbConn,
    sessions: &BTreeSet<(u32, u32, SessionKind)>,
    now: u32,
) -> Result<(), DbError> {
    let row = |&(user_id, peer_id, kind): &(u32, u32, SessionKind)| {
        let row = [user_id.into(), peer_id.into(), kind.into(), 0.into(), now.into(), now.into()];
        row.into_iter().chain([0.into()])
    };
    let values: Vec<Value> = sessions.iter().flat_map(row).collect();
    let rows = InsertRows {
        table: "IMRecentSession",
        columns: &["userId", "peerId", "type", "status", "created", "updated", "readMsgId"],
        conflict: OnConflict::Update {
            key: &["userId", "peerId", "type"],
            set: &[("status", Merge::New), ("updated", Merge::Greater)],
        },
    };
    rows.execute(conn, &values).map(drop)
}

/// Sets up to where users have read. A session that is not there is not on anybody's list.
fn mark_sessions(
    conn: &mut dyn DbConn,
    marks: &BTreeMap<(u32, u32), u32>,
    now: u32,
) -> Result<(), DbError> {
    const REMOVED: u32 = 1;
    let row = |(&(user_id, peer_id), &read): (&(u32, u32), &u32)| {
        let row = [user_id, peer_id, SINGLE as u32, REMOVED, now, now, read, now];
        row.map(Value::from)
    };
    let values: Vec<Value> = marks.iter().flat_map(row).collect();
    let rows = InsertRows {
        table: "IMRecentSession",
        columns: &[
            "userId",
            "peerId",
            "type",
            "status",
            "created",
            "updated",
            "readMsgId",
            "readTime",
        ],
        conflict: OnConflict::Update {
            key: &["userId", "peerId", "type"],
            set: &[("readMsgId", Merge::New), ("readTime", Merge::New)],
        },
    };
    rows.execute(conn, &values).map(drop)
}

/// Sets up to where members have read their groups.
fn mark_members(
    conn: &mut dyn DbConn,
    marks: &BTreeMap<(u32, u32), u32>,
    now: u32,
) -> Result<(), DbError> {
    // Only who leaves at this moment has no row as a member.
    const LEFT: u32 = 1;
    let row = |(&(group_id, user_id), &read): (&(u32, u32), &u32)| {
        [group_id, user_id, LEFT, now, now, read].map(Value::from)
    };
    let values: Vec<Value> = marks.iter().flat_map(row).collect();
    let rows = InsertRows {
        table: "IMGroupMember",
        columns: &["groupId", "userId", "status", "created", "updated", "readMsgId"],
        conflict: OnConflict::Update {
            key: &["groupId", "userId"],
            set: &[("readMsgId", Merge::New)],
        },
    };
    rows.execute(conn, &values).map(drop)
}

/// Asks until there is an answer, because a database that dies is started again: what is refused
/// here would be sent once more.
fn is_stored_patiently(
    business: &Business,
    entries: &[Entry],
    plan: &Plan,
) -> Result<bool, HandlerError> {
    for _ in 1..LOOKUPS_MAX {
        if let Ok(stored) = is_stored(business, entries, plan) {
            return Ok(stored);
        }
        thread::sleep(LOOKUP_PAUSE);
    }
    is_stored(business, entries, plan)
}

/// Whether the batch is there, after a commit without an answer. One message tells of all. A
/// commit that is still on its way holds the row, so the answer waits for it.
fn is_stored(business: &Business, entries: &[Entry], plan: &Plan) -> Result<bool, HandlerError> {
    let is_message = |at: &usize| matches!(entries[*at], Entry::Message(_));
    let known = (0..entries.len()).filter(is_message).find_map(|at| plan.of(at));
    let Some((conversation, msg_id)) = known else {
        // Marks alone: nobody is told whether they were set.
        return Ok(true);
    };
    let (table, column) = (conversation.table(), conversation.column());
    let mut conn = business.master()?;
    let lock = conn.dialect().for_update();
    let sql = format!("select id from {table} where {column}=? and msgId=?{lock}");
    let values = [conversation.id().into(), msg_id.into()];
    Ok(!conn.execute_query(&sql, &values)?.is_empty())
}

fn counted(entries: &[Entry], plan: &Plan) -> Vec<Counted> {
    let counted = |(at, entry): (usize, &Entry)| {
        plan.of(at)?;
        Some(match (entry, entry.place()) {
            (Entry::Message(_), (from_id, Receiver::User(to_id))) => {
                Counted::Single(from_id, to_id)
            }
            (Entry::Message(_), (from_id, Receiver::Group(id))) => Counted::Group(from_id, id),
            (Entry::Read { .. }, (user_id, Receiver::User(id))) => Counted::SingleRead(user_id, id),
            (Entry::Read { .. }, (user_id, Receiver::Group(id))) => Counted::GroupRead(user_id, id),
        })
    };
    entries.iter().enumerate().filter_map(counted).collect()
}
