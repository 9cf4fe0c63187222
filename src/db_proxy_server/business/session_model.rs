//! Recent sessions: rows of IMRecentSession.

use super::{Business, HandlerError};
use crate::storage::{DbError, Row};

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
    business: &Business,
    user_id: u32,
    last_time: u32,
) -> Result<Vec<Session>, HandlerError> {
    let sql = "select peerId, type, updated from IMRecentSession \
               where userId=? and status=0 and updated>? order by updated desc limit ?";
    let values = [user_id.into(), last_time.into(), SESSIONS_MAX.into()];
    let rows = business.slave()?.execute_query(sql, &values)?;
    let session = |row: Row<'_>| -> Result<Session, DbError> {
        Ok(Session {
            peer_id: row.get("peerId")?,
            session_type: row.get_or_default::<u8>("type")?.into(),
            updated: row.get_or_default("updated")?,
        })
    };
    Ok(rows.rows().map(session).collect::<Result<_, _>>()?)
}

/// Takes a session off the list; false when it was not there.
///
/// C++: db_proxy_server/business/SessionModel.cpp CSessionModel::removeSession
pub fn remove_session(
    business: &Business,
    user_id: u32,
    peer_id: u32,
    session_type: i32,
) -> Result<bool, HandlerError> {
    let sql = "update IMRecentSession set status=1, updated=? \
               where userId=? and peerId=? and type=? and status=0";
    let values = [business.now().into(), user_id.into(), peer_id.into(), session_type.into()];
    Ok(business.master()?.execute_update(sql, &values)? > 0)
}
