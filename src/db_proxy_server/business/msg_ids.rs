//! Numbers for the messages of a conversation: 1, 2, 3 and so on, never one twice.
//!
//! They are counted in the cache, where an original db_proxy_server counts them as well. The cache
//! may be lost, though, and then counts from 1 again. So the first number a process is given for a
//! conversation is held against the stored messages, and so is one that does not grow. What even
//! that lets through, because two processes met a cache that was just lost, meets the unique key of
//! the table: the batch is rolled back and numbered anew.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{Business, HandlerError};
use crate::storage::cache_pool::UNREAD;
use crate::storage::sql::placeholders;
use crate::storage::{CacheCmd, CacheReply, DbConn, DbError, Dialect, Value};

/// Conversations whose last number is remembered; beyond this many all are forgotten, and held
/// against the stored messages again.
pub const REMEMBERED_MAX: usize = 500_000;

/// Tables the messages of each kind are spread over.
pub const SHARDS: u32 = 8;

/// What a message belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Conversation {
    /// Two users, by the number of their relation.
    Single(u32),
    /// A group.
    Group(u32),
}

impl Conversation {
    /// The key in the cache under which its messages are counted.
    pub(super) fn key(self) -> String {
        match self {
            Self::Single(relate_id) => format!("msg_id_{relate_id}"),
            Self::Group(group_id) => format!("group_msg_id_{group_id}"),
        }
    }

    /// The table of its messages.
    pub fn table(self) -> String {
        match self {
            Self::Single(relate_id) => format!("IMMessage_{}", relate_id % SHARDS),
            Self::Group(group_id) => format!("IMGroupMessage_{}", group_id % SHARDS),
        }
    }

    /// The column that says to which conversation a message belongs.
    pub fn column(self) -> &'static str {
        match self {
            Self::Single(_) => "relateId",
            Self::Group(_) => "groupId",
        }
    }

    /// The table that has a row for each conversation of this kind.
    pub fn owners(self) -> &'static str {
        match self {
            Self::Single(_) => "IMRelationShip",
            Self::Group(_) => "IMGroup",
        }
    }

    /// SQL for the number of the newest message of the conversation `id` that meets a condition: a
    /// step into an index. A maximum by group would read the whole history, on SQLite always, and
    /// MariaDB would rather sort it unless it is told which index there is.
    pub fn newest_of(self, dialect: Dialect, id: &str, condition: &str) -> String {
        let (table, column, hint) = (self.table(), self.column(), self.index_hint(dialect));
        format!(
            "(select n.msgId from {table} n{hint} where n.{column}={id} and {condition} \
             order by n.msgId desc limit 1)"
        )
    }

    /// What makes a query use the index of conversation and number; goes behind the alias.
    pub fn index_hint(self, dialect: Dialect) -> String {
        dialect.index_hint(&self.table(), &format!("uk_{}_msgId", self.column()))
    }

    /// One of the same kind with this number.
    pub fn like(self, id: u32) -> Self {
        match self {
            Self::Single(_) => Self::Single(id),
            Self::Group(_) => Self::Group(id),
        }
    }

    /// The number in that column.
    pub fn id(self) -> u32 {
        match self {
            Self::Single(id) | Self::Group(id) => id,
        }
    }
}

/// The last numbers this process was given.
#[derive(Debug, Default)]
pub struct MsgIds {
    last: Mutex<HashMap<Conversation, u32>>,
}

impl MsgIds {
    /// Takes `count` numbers in a row for each conversation and gives the first of each row.
    ///
    /// C++: db_proxy_server/business/MessageModel.cpp CMessageModel::getMsgId
    /// Differs: survives the loss of the cache, and a failing cache gives no number instead of
    /// 4294967295 (F91, S1, S2).
    pub fn take(
        &self,
        business: &Business,
        conn: &mut dyn DbConn,
        wanted: &[(Conversation, u32)],
    ) -> Result<HashMap<Conversation, u32>, HandlerError> {
        let mut firsts = count_on(business, wanted)?;
        let doubtful: Vec<(Conversation, u32)> = {
            let last = self.last.lock();
            let is_doubtful = |(conversation, _): &&(Conversation, u32)| {
                last.get(conversation).is_none_or(|&last| firsts[conversation] <= last)
            };
            wanted.iter().filter(is_doubtful).copied().collect()
        };
        if !doubtful.is_empty() {
            let conversations: Vec<Conversation> = doubtful.iter().map(|(c, _)| *c).collect();
            let stored = stored_max(conn, &conversations)?;
            // How far the cache is behind, and once more what is wanted.
            let behind: Vec<(Conversation, u32)> = doubtful
                .iter()
                .filter_map(|&(conversation, count)| {
                    let missing = stored.get(&conversation)?.checked_sub(firsts[&conversation])?;
                    Some((conversation, missing + 1 + count))
                })
                .collect();
            for (conversation, first) in count_on(business, &behind)? {
                let moved = behind.iter().find(|(c, _)| *c == conversation).map_or(0, |b| b.1);
                let count = doubtful.iter().find(|(c, _)| *c == conversation).map_or(0, |d| d.1);
                firsts.insert(conversation, first + moved - count);
            }
        }
        let mut last = self.last.lock();
        if last.len() + wanted.len() > REMEMBERED_MAX {
            last.clear();
        }
        for (conversation, count) in wanted {
            last.insert(*conversation, firsts[conversation] + count - 1);
        }
        Ok(firsts)
    }

    /// Doubts the numbers of these conversations: the next ones are held against what is stored.
    pub fn doubt(&self, conversations: impl IntoIterator<Item = Conversation>) {
        let mut last = self.last.lock();
        for conversation in conversations {
            last.remove(&conversation);
        }
    }
}

/// Counts on in the cache, in one round trip, and gives the first of each row of numbers.
fn count_on(
    business: &Business,
    wanted: &[(Conversation, u32)],
) -> Result<HashMap<Conversation, u32>, HandlerError> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let cmds: Vec<CacheCmd> = wanted
        .iter()
        .map(|(conversation, count)| CacheCmd::IncrBy {
            key: conversation.key(),
            by: i64::from(*count),
        })
        .collect();
    let replies = business.cache.cache_conn(UNREAD)?.pipeline(&cmds)?;
    let first = |(&(conversation, count), reply): (&(Conversation, u32), CacheReply)| {
        let reached = reply.into_int()?;
        let first = reached - i64::from(count) + 1;
        match (u32::try_from(first), u32::try_from(reached)) {
            (Ok(first), Ok(_)) if first > 0 => Ok((conversation, first)),
            _ => Err(HandlerError::NoMsgId),
        }
    };
    wanted.iter().zip(replies).map(first).collect()
}

/// The greatest stored number of each conversation that has messages, one query per table.
pub fn stored_max(
    conn: &mut dyn DbConn,
    conversations: &[Conversation],
) -> Result<HashMap<Conversation, u32>, DbError> {
    let mut by_table: HashMap<String, Vec<Conversation>> = HashMap::new();
    for conversation in conversations {
        by_table.entry(conversation.table()).or_default().push(*conversation);
    }
    let mut stored = HashMap::new();
    for conversations in by_table.values() {
        let owners = conversations[0].owners();
        let sql = format!(
            "select o.id as id, {} as newest from {owners} o where o.id in ({})",
            conversations[0].newest_of(conn.dialect(), "o.id", "n.msgId>0"),
            placeholders(conversations.len())
        );
        let values: Vec<Value> = conversations.iter().map(|c| c.id().into()).collect();
        for row in conn.execute_query(&sql, &values)?.rows() {
            let Some(newest) = row.get("newest")? else { continue };
            let id: u32 = row.get("id")?;
            stored.insert(conversations[0].like(id), newest);
        }
    }
    Ok(stored)
}
