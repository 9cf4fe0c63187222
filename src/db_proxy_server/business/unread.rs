//! What is unread: the messages above the mark up to which somebody has read.
//!
//! Marks stand in the rows of sessions and of group members, and are written with the messages
//! themselves, so what is counted from them is true after every crash, and whatever became of the
//! cache. A row without a mark was made by an original server, which counts in the cache.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::msg_ids::{Conversation, stored_max};
use super::{Business, HandlerError, original_cache, relation_model};
use crate::base::limits::id_slices;
use crate::pb::base_define::SessionType;
use crate::storage::sql::{any_of, placeholders};
use crate::storage::{DbConn, DbError, Row, Value};

/// Counts of one statement: what SQLite takes as parts of one query is limited to 500.
const COUNTS_PER_STATEMENT_MAX: usize = 250;

/// A session with something unread in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unread {
    /// The `SessionType`.
    pub session_type: SessionType,
    /// The other user, or the group.
    pub session_id: u32,
    /// How many messages.
    pub count: u32,
    /// Where they are.
    pub conversation: Conversation,
}

/// A session that may have something unread in it.
#[derive(Clone, Copy, Debug)]
struct Session {
    user_id: u32,
    peer_id: u32,
    /// `None`: only the original knows.
    read: Option<u32>,
}

/// What is unread of each of these users, with a handful of queries for all.
///
/// C++: db_proxy_server/business/MessageModel.cpp CMessageModel::getUnreadMsgCount
/// Differs: counted from the stored messages, so that a cache that was lost, or a crash between
/// message and counter, changes nothing; a handful of queries for any number of sessions (F97).
pub fn unread(
    business: &Business,
    conn: &mut dyn DbConn,
    user_ids: &[u32],
) -> Result<HashMap<u32, Vec<Unread>>, HandlerError> {
    let mut unread: HashMap<u32, Vec<Unread>> = HashMap::new();
    for user_ids in id_slices(user_ids) {
        singles(business, conn, user_ids, &mut unread)?;
        groups(business, conn, user_ids, &mut unread)?;
    }
    Ok(unread)
}

fn singles(
    business: &Business,
    conn: &mut dyn DbConn,
    user_ids: &[u32],
    unread: &mut HashMap<u32, Vec<Unread>>,
) -> Result<(), HandlerError> {
    let sql = format!(
        "select userId, peerId, readMsgId from IMRecentSession \
         where userId in ({}) and type=? and status=0 \
         and (readMsgId is null or updated>=readTime)",
        placeholders(user_ids.len())
    );
    let mut values: Vec<Value> = user_ids.iter().map(|&id| id.into()).collect();
    values.push((SessionType::Single as i32).into());
    let sessions = sessions(conn, &sql, &values)?;
    let pairs: Vec<_> = sessions
        .iter()
        .map(|session| relation_model::pair(session.user_id, session.peer_id))
        .collect();
    let relations = business.relations.known_ids(conn, &pairs)?;
    let relation = |session: &Session| {
        relations.get(&relation_model::pair(session.user_id, session.peer_id)).copied()
    };
    // A relation has two sides, and only what the other one wrote is unread.
    let marked: Vec<(u32, u32, u32)> = sessions
        .iter()
        .filter_map(|session| Some((relation(session)?, session.read?, session.peer_id)))
        .collect();
    let counts = count_of_peers(conn, &marked)?;
    let asked = ask_original(business, &sessions, SessionType::Single)?;
    for session in sessions {
        let Some(relate_id) = relation(&session) else { continue };
        let count = match session.read {
            Some(_) => counts.get(&(relate_id, session.peer_id)),
            None => asked.get(&(session.user_id, session.peer_id)),
        };
        add(unread, session, SessionType::Single, Conversation::Single(relate_id), count);
    }
    Ok(())
}

fn groups(
    business: &Business,
    conn: &mut dyn DbConn,
    user_ids: &[u32],
    unread: &mut HashMap<u32, Vec<Unread>>,
) -> Result<(), HandlerError> {
    let sql = format!(
        "select m.userId as userId, m.groupId as peerId, m.readMsgId as readMsgId \
         from IMGroupMember m join IMGroup g on g.id=m.groupId \
         where m.userId in ({}) and m.status=0 and g.status=0",
        placeholders(user_ids.len())
    );
    let values: Vec<Value> = user_ids.iter().map(|&id| id.into()).collect();
    let sessions = sessions(conn, &sql, &values)?;
    let mut conversations: Vec<Conversation> =
        sessions.iter().map(|session| Conversation::Group(session.peer_id)).collect();
    conversations.sort_unstable();
    conversations.dedup();
    let newest = stored_max(conn, &conversations)?;
    // Members who have read equally far have equally much to read.
    let marks: HashSet<(u32, u32)> = sessions
        .iter()
        .filter_map(|session| Some((session.peer_id, session.read?)))
        .filter(|(id, read)| newest.get(&Conversation::Group(*id)).is_some_and(|max| max > read))
        .collect();
    let counts = count_above(conn, &marks)?;
    let asked = ask_original(business, &sessions, SessionType::Group)?;
    for session in sessions {
        let count = match session.read {
            Some(read) => counts.get(&(session.peer_id, read)),
            None => asked.get(&(session.user_id, session.peer_id)),
        };
        add(unread, session, SessionType::Group, Conversation::Group(session.peer_id), count);
    }
    Ok(())
}

fn add(
    unread: &mut HashMap<u32, Vec<Unread>>,
    session: Session,
    session_type: SessionType,
    conversation: Conversation,
    count: Option<&u32>,
) {
    let count = count.copied().unwrap_or(0);
    if count > 0 {
        let session_id = session.peer_id;
        let of_user = unread.entry(session.user_id).or_default();
        of_user.push(Unread { session_type, session_id, count, conversation });
    }
}

fn sessions(conn: &mut dyn DbConn, sql: &str, values: &[Value]) -> Result<Vec<Session>, DbError> {
    let session = |row: Row<'_>| -> Result<Session, DbError> {
        Ok(Session {
            user_id: row.get("userId")?,
            peer_id: row.get("peerId")?,
            read: row.get("readMsgId")?,
        })
    };
    conn.execute_query(sql, values)?.rows().map(session).collect()
}

/// What the original counts for the sessions that have no mark.
fn ask_original(
    business: &Business,
    sessions: &[Session],
    session_type: SessionType,
) -> Result<HashMap<(u32, u32), u32>, HandlerError> {
    let mut unmarked: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for session in sessions.iter().filter(|session| session.read.is_none()) {
        unmarked.entry(session.user_id).or_default().push(session.peer_id);
    }
    let mut counts = HashMap::new();
    for (user_id, ids) in unmarked {
        let asked = match session_type {
            SessionType::Single => original_cache::unread(business, user_id, &ids, &[])?,
            SessionType::Group => original_cache::unread(business, user_id, &[], &ids)?,
        };
        counts.extend(ids.iter().map(|&id| (user_id, id)).zip(asked));
    }
    Ok(counts)
}

/// How many messages of these relations have a number above the mark and are from this peer.
fn count_of_peers(
    conn: &mut dyn DbConn,
    marked: &[(u32, u32, u32)],
) -> Result<HashMap<(u32, u32), u32>, DbError> {
    let mut by_table: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for &(relate_id, read, peer_id) in marked {
        let values = by_table.entry(Conversation::Single(relate_id).table()).or_default();
        values.extend([relate_id, read, peer_id].map(Value::from));
    }
    let mut counts = HashMap::new();
    for (table, values) in by_table {
        for values in values.chunks(COUNTS_PER_STATEMENT_MAX * 3) {
            let sql = format!(
                "select relateId, fromId, count(*) as n from {table} \
                 where status=0 and ({}) group by relateId, fromId",
                any_of("(relateId=? and msgId>? and fromId=?)", values.len() / 3)
            );
            for row in conn.execute_query(&sql, values)?.rows() {
                counts.insert((row.get("relateId")?, row.get("fromId")?), row.get("n")?);
            }
        }
    }
    Ok(counts)
}

/// How many messages of these groups have a number above these marks.
fn count_above(
    conn: &mut dyn DbConn,
    marks: &HashSet<(u32, u32)>,
) -> Result<HashMap<(u32, u32), u32>, DbError> {
    let marks: Vec<(u32, u32)> = marks.iter().copied().collect();
    let mut counts = HashMap::new();
    for marks in marks.chunks(COUNTS_PER_STATEMENT_MAX) {
        let part = |&(group_id, _): &(u32, u32)| {
            format!(
                "select ? as id, ? as mark, count(*) as n from {} \
                 where groupId=? and msgId>? and status=0",
                Conversation::Group(group_id).table()
            )
        };
        let sql = marks.iter().map(part).collect::<Vec<_>>().join(" union all ");
        let values: Vec<Value> =
            marks.iter().flat_map(|&(id, mark)| [id, mark, id, mark].map(Value::from)).collect();
        for row in conn.execute_query(&sql, &values)?.rows() {
            counts.insert((row.get("id")?, row.get("mark")?), row.get("n")?);
        }
    }
    Ok(counts)
}
