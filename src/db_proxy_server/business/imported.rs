//! Marks for rows that an original server made, where no original will ever look again.
//!
//! The original keeps unread counters and shields in its cache alone. A database that is moved to
//! where there is no such cache gets them as marks in its rows, like those this server makes.

use std::collections::HashMap;

use super::msg_ids::Conversation;
use super::relation_model::{Pair, pair};
use super::{Business, HandlerError, original_cache};
use crate::pb::base_define::SessionType;
use crate::storage::cache_pool::UNREAD;
use crate::storage::schema::SHARDS;
use crate::storage::{CacheCmd, CacheManager, DbConn, DbError, Row, Transaction, Value};

/// Rows that are marked in one transaction.
const ROWS_AT_ONCE: usize = 2000;

/// Who and what is in a database.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    /// Users.
    pub users: Vec<u32>,
    /// Relations.
    pub relations: Vec<u32>,
    /// Groups.
    pub groups: Vec<u32>,
    /// Groups, and users in them.
    pub members: Vec<(u32, u32)>,
}

/// Who and what is in the database.
pub fn ids(business: &Business) -> Result<Ids, HandlerError> {
    let mut conn = business.master()?;
    let mut ids = |table: &str| -> Result<Vec<u32>, DbError> {
        let found = conn.execute_query(&format!("select id from {table} order by id"), &[])?;
        found.rows().map(|row| row.get("id")).collect()
    };
    let (users, relations, groups) = (ids("IMUser")?, ids("IMRelationShip")?, ids("IMGroup")?);
    let sql = "select groupId, userId from IMGroupMember where status=0 order by id";
    let pair = |row: Row<'_>| Ok((row.get("groupId")?, row.get("userId")?));
    let members = conn.execute_query(sql, &[])?.rows().map(pair).collect::<Result<_, DbError>>()?;
    Ok(Ids { users, relations, groups, members })
}

/// Lets the numbers of messages go on where they are: without a gap, and never below what an
/// original has counted in a cache it shares.
pub fn count_on(business: &Business) -> Result<(), HandlerError> {
    let newest: Vec<(Conversation, u32)> = newest(&mut *business.master()?)?.into_iter().collect();
    let mut cache = business.cache.cache_conn(UNREAD)?;
    for newest in newest.chunks(ROWS_AT_ONCE) {
        let keys: Vec<String> = newest.iter().map(|(id, _)| id.key()).collect();
        let counted = match business.cache.is_shared(UNREAD) {
            true => cache.mget(&keys)?,
            false => vec![None; keys.len()],
        };
        let is_behind = |counted: &Option<String>, newest: u32| {
            counted.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0) < newest
        };
        let behind = newest.iter().zip(keys).zip(&counted);
        let cmds: Vec<CacheCmd> = behind
            .filter(|(((_, newest), _), counted)| is_behind(counted, *newest))
            .map(|(((_, newest), key), _)| CacheCmd::Set { key, value: newest.to_string() })
            .collect();
        if !cmds.is_empty() {
            cache.pipeline(&cmds)?;
        }
    }
    Ok(())
}

/// A row without a mark.
#[derive(Clone, Copy, Debug)]
struct Unmarked {
    id: u32,
    user_id: u32,
    /// The other user, or the group.
    peer_id: u32,
}

/// Marks all rows that have none. What `cache`, that of an original, counts as unread stays
/// unread; without one everything counts as read. `done` is told how many rows of members.
pub fn mark_all(
    business: &Business,
    cache: Option<&CacheManager>,
    done: impl Fn(u64),
) -> Result<(), HandlerError> {
    let relations = relations(&mut *business.master()?)?;
    let newest = newest(&mut *business.master()?)?;
    let sql = format!(
        "select id, userId, peerId from IMRecentSession where readMsgId is null and type={} \
         order by userId, id",
        SessionType::Single as i32
    );
    let sessions = unmarked(&mut *business.master()?, &sql)?;
    for sessions in sessions.chunks(ROWS_AT_ONCE) {
        let conversation = |row: &Unmarked| {
            relations.get(&pair(row.user_id, row.peer_id)).map(|&id| Conversation::Single(id))
        };
        let rows: Vec<(Unmarked, Conversation)> =
            sessions.iter().filter_map(|row| Some((*row, conversation(row)?))).collect();
        let unread = counted(cache, &rows)?;
        mark(business, "IMRecentSession", &rows, &unread, &newest)?;
    }
    let sql = "select id, userId, groupId as peerId from IMGroupMember where readMsgId is null \
               order by userId, id";
    let members = unmarked(&mut *business.master()?, sql)?;
    for members in members.chunks(ROWS_AT_ONCE) {
        let rows: Vec<(Unmarked, Conversation)> =
            members.iter().map(|row| (*row, Conversation::Group(row.peer_id))).collect();
        let unread = counted(cache, &rows)?;
        mark(business, "IMGroupMember", &rows, &unread, &newest)?;
        done(members.len() as u64);
    }
    shield_all(business, cache)
}

fn relations(conn: &mut dyn DbConn) -> Result<HashMap<Pair, u32>, DbError> {
    let found = conn.execute_query("select id, smallId, bigId from IMRelationShip", &[])?;
    let relation = |row: Row<'_>| Ok(((row.get("smallId")?, row.get("bigId")?), row.get("id")?));
    found.rows().map(relation).collect()
}

/// The number of the newest message of each conversation.
fn newest(conn: &mut dyn DbConn) -> Result<HashMap<Conversation, u32>, DbError> {
    let mut newest = HashMap::new();
    for shard in 0..SHARDS {
        // The numbers of shards stand for conversations of which they have the messages.
        for any in [Conversation::Single(shard), Conversation::Group(shard)] {
            let (table, column) = (any.table(), any.column());
            let sql = format!(
                "select {column} as id, max(msgId) as newest from {table} group by {column}"
            );
            for row in conn.execute_query(&sql, &[])?.rows() {
                newest.insert(any.like(row.get("id")?), row.get("newest")?);
            }
        }
    }
    Ok(newest)
}

fn unmarked(conn: &mut dyn DbConn, sql: &str) -> Result<Vec<Unmarked>, DbError> {
    let row = |row: Row<'_>| {
        Ok(Unmarked {
            id: row.get("id")?,
            user_id: row.get("userId")?,
            peer_id: row.get("peerId")?,
        })
    };
    conn.execute_query(sql, &[])?.rows().map(row).collect()
}

/// How much of each row is unread, as the original counts. The rows of a user stand together.
fn counted(
    cache: Option<&CacheManager>,
    rows: &[(Unmarked, Conversation)],
) -> Result<Vec<u32>, HandlerError> {
    let Some(cache) = cache else {
        return Ok(vec![0; rows.len()]);
    };
    let mut unread = Vec::with_capacity(rows.len());
    for of_user in rows.chunk_by(|(a, _), (b, _)| a.user_id == b.user_id) {
        let ids: Vec<u32> = of_user.iter().map(|(row, _)| row.peer_id).collect();
        let user_id = of_user[0].0.user_id;
        unread.extend(match of_user[0].1 {
            Conversation::Single(_) => original_cache::unread(cache, user_id, &ids, &[])?,
            Conversation::Group(_) => original_cache::unread(cache, user_id, &[], &ids)?,
        });
    }
    Ok(unread)
}

fn mark(
    business: &Business,
    table: &str,
    rows: &[(Unmarked, Conversation)],
    unread: &[u32],
    newest: &HashMap<Conversation, u32>,
) -> Result<(), HandlerError> {
    let mut conn = business.master()?;
    let mut transaction = Transaction::begin(&mut *conn)?;
    let sql = format!("update {table} set readMsgId=? where id=?");
    for ((row, conversation), &unread) in rows.iter().zip(unread) {
        let newest = newest.get(conversation).copied().unwrap_or(0);
        let read = match unread {
            0 => newest,
            unread => read_before(&mut *transaction, *conversation, row.peer_id, unread)?,
        };
        transaction.execute_update(&sql, &[read.into(), row.id.into()])?;
    }
    Ok(transaction.commit()?)
}

/// The mark that leaves so many messages unread: of a group, and of a relation those of the peer.
fn read_before(
    conn: &mut dyn DbConn,
    conversation: Conversation,
    peer_id: u32,
    unread: u32,
) -> Result<u32, DbError> {
    let (table, column) = (conversation.table(), conversation.column());
    let mut values: Vec<Value> = vec![conversation.id().into()];
    let of_peer = match conversation {
        Conversation::Single(_) => {
            values.push(peer_id.into());
            " and fromId=?"
        }
        Conversation::Group(_) => "",
    };
    values.push((unread - 1).into());
    let sql = format!(
        "select msgId from {table} where {column}=?{of_peer} and status=0 \
         order by msgId desc limit 1 offset ?"
    );
    let oldest = conn.execute_query(&sql, &values)?;
    let oldest: u32 = oldest.first().map_or(Ok(1), |row| row.get("msgId"))?;
    Ok(oldest.saturating_sub(1))
}

/// Says of each member whether he is shielded, if nothing says so yet.
fn shield_all(business: &Business, cache: Option<&CacheManager>) -> Result<(), HandlerError> {
    let mut conn = business.master()?;
    if let Some(cache) = cache {
        let sql = "select id, userId, groupId as peerId from IMGroupMember \
                   where shieldStatus is null order by groupId, id";
        let members = unmarked(&mut *conn, sql)?;
        for of_group in members.chunk_by(|a, b| a.peer_id == b.peer_id) {
            let ids: Vec<u32> = of_group.iter().map(|row| row.user_id).collect();
            let shields = original_cache::shields(cache, of_group[0].peer_id, &ids)?;
            for (row, shield) in of_group.iter().zip(shields).filter(|(_, shield)| *shield != 0) {
                let sql = "update IMGroupMember set shieldStatus=? where id=?";
                conn.execute_update(sql, &[shield.into(), row.id.into()])?;
            }
        }
    }
    let sql = "update IMGroupMember set shieldStatus=0 where shieldStatus is null";
    conn.execute_update(sql, &[])?;
    Ok(())
}
