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
use crate::storage::sql::placeholders;
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
    let above = |session: &Session| {
        Some((Conversation::Single(relation(session)?), session.read?, Some(session.peer_id)))
    };
    let counts = count(conn, &sessions.iter().filter_map(above).collect())?;
    let asked = ask_original(business, &sessions, SessionType::Single)?;
    for session in sessions {
        let Some(relate_id) = relation(&session) else { continue };
        let count = match session.read {
            Some(_) => above(&session).and_then(|above| counts.get(&above)),
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
    let above = |session: &Session| {
        let group = Conversation::Group(session.peer_id);
        newest.get(&group).filter(|newest| **newest > session.read.unwrap_or(u32::MAX))?;
        Some((group, session.read?, None))
    };
    let counts = count(conn, &sessions.iter().filter_map(above).collect())?;
    let asked = ask_original(business, &sessions, SessionType::Group)?;
    for session in sessions {
        let count = match session.read {
            Some(_) => above(&session).and_then(|above| counts.get(&above)),
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
            SessionType::Single => original_cache::unread(&business.cache, user_id, &ids, &[])?,
            SessionType::Group => original_cache::unread(&business.cache, user_id, &[], &ids)?,
        };
        counts.extend(ids.iter().map(|&id| (user_id, id)).zip(asked));
    }
    Ok(counts)
}

/// Messages that count: those of a conversation above a mark, and if a writer is named, only his.
type Above = (Conversation, u32, Option<u32>);

/// How many messages there are of each kind, those of which there is none left out.
fn count(
    conn: &mut dyn DbConn,
    wanted: &HashSet<Above>,
) -> Result<HashMap<Above, u32>, HandlerError> {
    let wanted: Vec<Above> = wanted.iter().copied().collect();
    let dialect = conn.dialect();
    let mut counts = HashMap::new();
    for wanted in wanted.chunks(COUNTS_PER_STATEMENT_MAX) {
        let part = |(at, (conversation, _, writer)): (usize, &Above)| {
            format!(
                "select {at} as at, count(*) as n from {}{} where {}=? and msgId>? and status=0{}",
                conversation.table(),
                conversation.index_hint(dialect),
                conversation.column(),
                if writer.is_some() { " and fromId=?" } else { "" }
            )
        };
        let sql = wanted.iter().enumerate().map(part).collect::<Vec<_>>().join(" union all ");
        let values = |(conversation, mark, writer): &Above| {
            [conversation.id(), *mark].into_iter().chain(*writer).map(Value::from)
        };
        let values: Vec<Value> = wanted.iter().flat_map(values).collect();
        for row in conn.execute_query(&sql, &values)?.rows() {
            let at: u32 = row.get("at")?;
            counts.insert(wanted[at as usize], row.get("n")?);
        }
    }
    Ok(counts)
}
