//! Files that wait for their receivers: rows of IMTransmitFile. The files are with file_server.

use log::warn;

use super::{Business, HandlerError};
use crate::pb::base_define::{IpAddr, OfflineFileInfo};
use crate::pb::file::ImFileAddOfflineReq;
use crate::storage::{DbError, Row};

/// Most files in one answer; the rest comes when these were fetched.
pub const OFFLINE_FILES_MAX: u32 = 1000;

/// The longest text that the column for addresses takes, in bytes.
const SERVER_LEN_MAX: usize = 255;

/// A file that waits.
#[derive(Clone, Debug)]
pub struct OfflineFile {
    /// What its receiver is told of it.
    pub info: OfflineFileInfo,
    /// Where clients reach the file_server that has it; nothing if that was never told.
    pub server: Vec<IpAddr>,
}

/// What waits for a user, the oldest first.
///
/// C++: db_proxy_server/business/FileModel.cpp CFileModel::getOfflineFile
/// Differs: tells which file_server has a file (F114).
pub fn offline_files(business: &Business, user_id: u32) -> Result<Vec<OfflineFile>, HandlerError> {
    let sql = "select fromId, taskId, fileName, size, server from IMTransmitFile \
               where toId=? and status=0 order by created, id limit ?";
    let values = [user_id.into(), OFFLINE_FILES_MAX.into()];
    let found = business.slave()?.execute_query(sql, &values)?;
    let file = |row: Row<'_>| -> Result<OfflineFile, DbError> {
        let info = OfflineFileInfo {
            from_user_id: row.get("fromId")?,
            task_id: row.get("taskId")?,
            file_name: row.get::<String>("fileName")?.into(),
            file_size: row.get_or_default("size")?,
        };
        Ok(OfflineFile { info, server: addrs(&row.get_or_default::<String>("server")?) })
    };
    Ok(found.rows().map(file).collect::<Result<_, _>>()?)
}

/// Addresses as they stand in their column, as many as it takes.
fn text(addrs: &[IpAddr]) -> String {
    let mut text = String::new();
    for IpAddr { ip, port } in addrs {
        let separator = if text.is_empty() { "" } else { ";" };
        let addr = format!("{separator}{ip} {port}");
        if text.len() + addr.len() <= SERVER_LEN_MAX {
            text += &addr;
        }
    }
    text
}

fn addrs(text: &str) -> Vec<IpAddr> {
    let addr = |text: &str| {
        let (ip, port) = text.split_once(' ')?;
        Some(IpAddr { ip: ip.to_owned(), port: port.parse().ok()? })
    };
    text.split(';').filter_map(addr).collect()
}

/// Remembers a file that was left for somebody, and where; once, however often it is said.
///
/// C++: db_proxy_server/business/FileModel.cpp CFileModel::addOfflineFile
/// Differs: a task that is known is not listed twice.
pub fn add_offline_file(
    business: &Business,
    msg: &ImFileAddOfflineReq,
    server: &[IpAddr],
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
               (fromId, toId, taskId, fileName, size, status, created, updated, server) \
               values (?,?,?,?,?,0,?,?,?)";
    let mut values = task.to_vec();
    values.extend([
        // A name in another encoding than UTF-8 is better than no file.
        String::from_utf8_lossy(&msg.file_name).into_owned().into(),
        msg.file_size.into(),
        now.into(),
        now.into(),
        text(server).into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f114_addresses_are_read_as_they_were_written_and_bad_ones_passed_over() {
        let addr = |ip: &str, port| IpAddr { ip: ip.to_owned(), port };
        for list in [vec![], vec![addr("192.0.2.1", 8600), addr("2001:db8::1", 1)]] {
            assert_eq!(addrs(&text(&list)), list);
        }
        assert_eq!(addrs("a 1;b;c x;;d 65536"), [addr("a", 1), addr("d", 65536)]);
        let many: Vec<_> = (0..100).map(|number| addr("192.0.2.1", number)).collect();
        assert!(text(&many).len() <= SERVER_LEN_MAX);
        assert_eq!(addrs(&text(&many))[..], many[..addrs(&text(&many)).len()]);
    }
}
