//! Departments: rows of IMDepart.

use super::{Business, HandlerError};
use crate::pb::base_define::{DepartInfo, DepartmentStatusType};
use crate::storage::{DbError, Row};

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
