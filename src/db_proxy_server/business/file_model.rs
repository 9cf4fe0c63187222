//! Files that wait for their receivers: rows of IMTransmitFile. The files are with file_server.

use log::warn;

use super::{Business, HandlerError};
use crate::pb::base_define::OfflineFileInfo;
use crate::pb::file::ImFileAddOfflineReq;
use crate::storage::{DbError, Row};

/// Most files in one answer; the rest comes when these were fetched.
pub const OFFLINE_FILES_MAX: u32 = 1000;

/// What waits for a user, the oldest first.
///
/// C++: db_proxy_server/business/FileModel.cpp CFileModel::getOfflineFile
pub fn offline_files(
    business: &Business,
    user_id: u32,
) -> Result<Vec<OfflineFileInfo>, HandlerError> {
    let sql = "select fromId, taskId, fileName, size from IMTransmitFile \
               where toId=? and status=0 order by created, id limit ?";
    let values = [user_id.into(), OFFLINE_FILES_MAX.into()];
    let found = business.slave()?.execute_query(sql, &values)?;
    let file = |row: Row<'_>| -> Result<OfflineFileInfo, DbError> {
        Ok(OfflineFileInfo {
            from_user_id: row.get("fromId")?,
            task_id: row.get("taskId")?,
            file_name: row.get::<String>("fileName")?.into(),
            file_size: row.get_or_default("size")?,
        })
    };
    Ok(found.rows().map(file).collect::<Result<_, _>>()?)
}

/// Remembers a file that was left for somebody; once, however often it is said.
///
/// C++: db_proxy_server/business/FileModel.cpp CFileModel::addOfflineFile
/// Differs: a task that is known is not listed twice.
pub fn add_offline_file(
    business: &Business,
    msg: &ImFileAddOfflineReq,
) -> Result<(), HandlerError> {
    let now = business.now();
    let mut conn = business.master()?;
    let known = "select id from IMTransmitFile where fromId=? and toId=? and taskId=? and status=0";
    let task = [msg.from_user_id.into(), msg.to_user_id.into(), msg.task_id.as_str().into()];
    if !conn.execute_query(known, &task)?.is_empty() {
        // Not which one: who knows a task id may fetch the file (F5).
        warn!("user={} file for={} is listed already", msg.from_user_id, msg.to_user_id);
        return Ok(());
    }
    let sql = "insert into IMTransmitFile \
               (fromId, toId, taskId, fileName, size, status, created, updated) \
               values (?,?,?,?,?,0,?,?)";
    let mut values = task.to_vec();
    values.extend([
        // A name in another encoding than UTF-8 is better than no file.
        String::from_utf8_lossy(&msg.file_name).into_owned().into(),
        msg.file_size.into(),
        now.into(),
        now.into(),
    ]);
    conn.execute_update(sql, &values)?;
    Ok(())
}

/// Forgets a file that was fetched.
///
/// C++: db_proxy_server/business/FileModel.cpp CFileModel::delOfflineFile
/// Differs: the task id is a bound value (F4).
pub fn del_offline_file(
    business: &Business,
    from_id: u32,
    to_id: u32,
    task_id: &str,
) -> Result<(), HandlerError> {
    let sql = "delete from IMTransmitFile where fromId=? and toId=? and taskId=?";
    let values = [from_id.into(), to_id.into(), task_id.into()];
    business.master()?.execute_update(sql, &values)?;
    Ok(())
}
