//! Departments: rows of IMDepart.

use super::{Business, HandlerError};
use crate::pb::base_define::{DepartInfo, DepartmentStatusType};
use crate::storage::{DbConn, DbError, Row};

/// The departments that have changed since `last_time`, deleted ones included, and up to when that
/// is true.
///
/// C++: db_proxy_server/business/DepartModel.cpp CDepartModel::getChgedDeptId
/// Differs: one query for ids and rows, and a cursor that never is the current second.
pub fn changed_departs(
    business: &Business,
    last_time: u32,
) -> Result<(Vec<DepartInfo>, u32), HandlerError> {
    let sql = "select id, departName, priority, parentId, status, updated from IMDepart \
               where updated > ?";
    let rows = business.slave()?.execute_query(sql, &[last_time.into()])?;
    let mut newest = last_time;
    let mut departs = Vec::with_capacity(rows.len());
    for row in rows.rows() {
        newest = newest.max(row.get_or_default("updated")?);
        departs.push(depart_info(&row)?);
    }
    Ok((departs, newest.min(business.now().saturating_sub(1)).max(last_time)))
}

/// A department as the administration sees it.
#[derive(Clone, Debug)]
pub struct Depart {
    /// Its number.
    pub id: u32,
    /// Its name; others may have the same one.
    pub name: String,
    /// The department it belongs to, 0 for none.
    pub parent_id: u32,
    /// Its place among those that belong to the same one.
    pub priority: u32,
}

/// A department has a name of at most as many characters.
pub const DEPART_NAME_CHARS_MAX: usize = 64;

/// The departments that are not deleted, in the order in which clients show them.
pub fn departs(business: &Business) -> Result<Vec<Depart>, HandlerError> {
    let sql = "select id, departName, parentId, priority from IMDepart where status=0 \
               order by priority, id";
    let found = business.master()?.execute_query(sql, &[])?;
    let depart = |row: Row<'_>| -> Result<Depart, DbError> {
        Ok(Depart {
            id: row.get("id")?,
            name: row.get_or_default("departName")?,
            parent_id: row.get_or_default("parentId")?,
            priority: row.get_or_default("priority")?,
        })
    };
    Ok(found.rows().map(depart).collect::<Result<_, _>>()?)
}

/// Makes a department and gives its number.
pub fn insert_depart(
    conn: &mut dyn DbConn,
    name: &str,
    parent_id: u32,
    priority: u32,
    now: u32,
) -> Result<u32, DbError> {
    let sql = "insert into IMDepart (departName, priority, parentId, status, created, updated) \
               values (?,?,?,0,?,?)";
    let values = [name.into(), priority.into(), parent_id.into(), now.into(), now.into()];
    conn.execute_update(sql, &values)?;
    u32::try_from(conn.insert_id()).map_err(|_| DbError::BadValue { column: "id".to_owned() })
}

/// Moves a department; false when there is none of this number.
pub fn update_depart(business: &Business, moved: &Depart) -> Result<bool, HandlerError> {
    let sql = "update IMDepart set parentId=?, priority=?, updated=? where id=? and status=0";
    let values =
        [moved.parent_id.into(), moved.priority.into(), business.now().into(), moved.id.into()];
    Ok(business.master()?.execute_update(sql, &values)? > 0)
}

fn depart_info(row: &Row<'_>) -> Result<DepartInfo, DbError> {
    let status = match row.get_or_default::<u32>("status")? {
        0 => DepartmentStatusType::DeptStatusOk,
        _ => DepartmentStatusType::DeptStatusDelete,
    };
    Ok(DepartInfo {
        dept_id: row.get("id")?,
        priority: row.get_or_default("priority")?,
        dept_name: row.get_or_default("departName")?,
        parent_dept_id: row.get_or_default("parentId")?,
        dept_status: status.into(),
    })
}
