//! Recent sessions: rows of IMRecentSession.

use std::cmp::Reverse;

use super::{Business, HandlerError, sync_center};
use crate::pb::base_define::SessionType;
use crate::storage::{DbConn, DbError, InsertRows, Merge, OnConflict, Row, Value};

/// Most sessions in a list.
pub const SESSIONS_MAX: u32 = 100;

/// One session of a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Session {
    /// The other user, or the group.
    pub peer_id: u32,
    /// The `SessionType`.
    pub session_type: i32,
    /// When something last happened.
    pub updated: u32,
}

/// The newest sessions of a user in which something happened after `last_time`.
///
/// C++: db_proxy_server/business/SessionModel.cpp CSessionModel::getRecentSession
pub fn recent_sessions(
    conn: &mut dyn DbConn,
    user_id: u32,
    last_time: u32,
) -> Result<Vec<Session>, DbError> {
    let sql = "select peerId, updated from IMRecentSession \
               where userId=? and status=0 and updated>? and type=? \
               order by updated desc limit ?";
    let single = SessionType::Single as i32;
    let values = [user_id.into(), last_time.into(), single.into(), SESSIONS_MAX.into()];
    let session = |row: Row<'_>| -> Result<Session, DbError> {
        Ok(Session {
            peer_id: row.get("peerId")?,
            session_type: single,
            updated: row.get_or_default("updated")?,
        })
    };
    let rows = conn.execute_query(sql, &values)?;
    let mut sessions: Vec<Session> = rows.rows().map(session).collect::<Result<_, _>>()?;
    sessions.extend(sync_center::group_sessions(conn, user_id, last_time)?);
    sessions.sort_by_key(|session| Reverse(session.updated));
    sessions.truncate(SESSIONS_MAX as usize);
    Ok(sessions)
}

/// Takes a session off the list; false when it was not there.
///
/// C++: db_proxy_server/business/SessionModel.cpp CSessionModel::removeSession
/// Differs: a group can be on the list of a member without a row of its own.
pub fn remove_session(
    business: &Business,
    user_id: u32,
    peer_id: u32,
    session_type: i32,
) -> Result<bool, HandlerError> {
    let mut conn = business.master()?;
    let sql = "update IMRecentSession set status=1, updated=? \
               where userId=? and peerId=? and type=? and status=0";
    let now = business.now();
    let values = [now.into(), user_id.into(), peer_id.into(), session_type.into()];
    if conn.execute_update(sql, &values)? > 0 {
        return Ok(true);
    }
    let is_listed = |session: &Session| session.peer_id == peer_id;
    if session_type != SessionType::Group as i32
        || !sync_center::group_sessions(&mut *conn, user_id, 0)?.iter().any(is_listed)
    {
        return Ok(false);
    }
    let rows = InsertRows {
        table: "IMRecentSession",
        columns: &["userId", "peerId", "type", "status", "created", "updated", "readMsgId"],
        conflict: OnConflict::Update {
            key: &["userId", "peerId", "type"],
            set: &[("status", Merge::New), ("updated", Merge::New)],
        },
    };
    let row = [user_id, peer_id, SessionType::Group as u32, 1, now, now, 0].map(Value::from);
    rows.execute(&mut *conn, &row)?;
    Ok(true)
}
