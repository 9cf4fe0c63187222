//! What happened in groups, for the lists of their members.
//!
//! The original has a thread that looks every five seconds for groups in which something was said,
//! and writes a row for each of their members. Here the lists are put together when somebody asks
//! for one: a group is on it from its last message on, without a delay, without rows for members
//! who never look, and whichever of several db_proxy_servers stored the message. The times of
//! changed users and departments come from the tables in the same way (F99, F100).

use super::session_model::{SESSIONS_MAX, Session};
use crate::pb::base_define::SessionType;
use crate::storage::{DbConn, DbError, Row};

/// The groups of a user in which something was said after `last_time` and since he joined. One that
/// he took off his list is back when something was said after that.
///
/// C++: db_proxy_server/SyncCenter.cpp CSyncCenter::doSyncGroupChat
/// Differs: asked for when wanted (F99), and what was taken off the list comes back (S15).
pub fn group_sessions(
    conn: &mut dyn DbConn,
    user_id: u32,
    last_time: u32,
) -> Result<Vec<Session>, DbError> {
    let sql = "select g.id as peerId, g.lastChated as updated \
               from IMGroupMember m join IMGroup g on g.id=m.groupId \
               left join IMRecentSession s on s.userId=m.userId and s.peerId=g.id and s.type=? \
               where m.userId=? and m.status=0 and g.status=0 \
               and g.lastChated>? and g.lastChated>=m.updated \
               and (s.id is null or s.status=0 or g.lastChated>s.updated) \
               order by g.lastChated desc limit ?";
    let group = SessionType::Group as i32;
    let values = [group.into(), user_id.into(), last_time.into(), SESSIONS_MAX.into()];
    let session = |row: Row<'_>| -> Result<Session, DbError> {
        Ok(Session {
            peer_id: row.get("peerId")?,
            session_type: group,
            updated: row.get("updated")?,
        })
    };
    conn.execute_query(sql, &values)?.rows().map(session).collect()
}
