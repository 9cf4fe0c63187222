//! Removes what the original stored twice, so that unique keys can be added (F101, S10).
//!
//! The original looks first and inserts then, from many workers at once, and numbers messages with
//! counters that start again when Redis forgets. No message is removed: what existed twice is made
//! one, or gets a name or number of its own.

use log::warn;

use super::SHARDS;
use crate::storage::db_conn::{DbConn, Transaction};
use crate::storage::error::DbError;
use crate::storage::value::{ResultSet, Value};

/// What the original stored when counting failed: -1 without its sign (S2).
const FAILED_MSG_ID: u32 = u32::MAX;

/// All duplicates. May be run again after an interruption.
pub(super) fn remove_duplicates(conn: &mut dyn DbConn) -> Result<(), DbError> {
    for column in ["type", "status"] {
        let sql = format!("update IMRecentSession set `{column}`=0 where `{column}` is null");
        conn.execute_update(&sql, &[])?;
    }
    conn.execute_update("update IMRelationShip set status=0 where status is null", &[])?;
    keep_one(conn, "IMRelationShip", &["smallId", "bigId"], move_messages)?;
    keep_one(conn, "IMRecentSession", &["userId", "peerId", "type"], |_, _, _| Ok(()))?;
    keep_one(conn, "IMGroupMember", &["groupId", "userId"], |_, _, _| Ok(()))?;
    for shard in 0..SHARDS {
        renumber_messages(conn, &format!("IMMessage_{shard}"), "relateId")?;
        renumber_messages(conn, &format!("IMGroupMessage_{shard}"), "groupId")?;
    }
    rename_users(conn)
}

/// Of rows with the same key the oldest stays. It is in use if one of them was, and as fresh as
/// the freshest.
fn keep_one(
    conn: &mut dyn DbConn,
    table: &str,
    key: &[&str],
    take_over: fn(&mut dyn DbConn, u32, u32) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let keys: Vec<String> = key.iter().map(|column| format!("`{column}`")).collect();
    let sql = format!(
        "select {0}, min(id) as keep, min(status) as status, min(created) as created, \
         max(updated) as updated from {table} group by {0} having count(*) > 1",
        keys.join(", ")
    );
    let several = conn.execute_query(&sql, &[])?;
    let same = keys.iter().map(|column| format!("{column}=?")).collect::<Vec<_>>().join(" and ");
    for row in several.rows() {
        let keep: u32 = row.get("keep")?;
        let mut which = Vec::with_capacity(key.len() + 1);
        for column in key {
            which.push(Value::from(row.get::<u32>(column)?));
        }
        which.push(keep.into());
        let mut transaction = Transaction::begin(conn)?;
        let sql = format!("select id from {table} where {same} and id<>?");
        for id in column(&transaction.execute_query(&sql, &which)?, "id")? {
            take_over(&mut *transaction, id, keep)?;
        }
        let sql = format!("delete from {table} where {same} and id<>?");
        transaction.execute_update(&sql, &which)?;
        let sql = format!("update {table} set status=?, created=?, updated=? where id=?");
        let mut values = Vec::with_capacity(4);
        for column in ["status", "created", "updated", "keep"] {
            values.push(Value::from(row.get::<u32>(column)?));
        }
        transaction.execute_update(&sql, &values)?;
        transaction.commit()?;
    }
    warn_about(several.len(), table, "kept one of several rows");
    Ok(())
}

/// The messages of a relation that goes are those of the one that stays, in the table of that one.
fn move_messages(conn: &mut dyn DbConn, from: u32, to: u32) -> Result<(), DbError> {
    let (source, target) = (from % SHARDS, to % SHARDS);
    let ids = [to.into(), from.into()];
    if source == target {
        let sql = format!("update IMMessage_{source} set relateId=? where relateId=?");
        return conn.execute_update(&sql, &ids).map(drop);
    }
    let columns = "fromId, toId, msgId, content, type, status, updated, created";
    let sql = format!(
        "insert into IMMessage_{target} (relateId, {columns}) \
         select ?, {columns} from IMMessage_{source} where relateId=? order by id"
    );
    conn.execute_update(&sql, &ids)?;
    let sql = format!("delete from IMMessage_{source} where relateId=?");
    conn.execute_update(&sql, &[from.into()]).map(drop)
}

/// Conversations with two messages of one number, or with one of no number, are numbered again
/// from where the trouble begins.
fn renumber_messages(conn: &mut dyn DbConn, table: &str, owner: &str) -> Result<(), DbError> {
    let sql = format!(
        "select distinct {owner} as owner from {table} group by {owner}, msgId \
         having count(*) > 1 or msgId = {FAILED_MSG_ID}"
    );
    let owners = column(&conn.execute_query(&sql, &[])?, "owner")?;
    let select = format!("select id, msgId from {table} where {owner}=? order by created, id");
    let update = format!("update {table} set msgId=? where id=?");
    for &owner in &owners {
        let mut transaction = Transaction::begin(conn)?;
        let found = transaction.execute_query(&select, &[owner.into()])?;
        let (ids, old) = (column(&found, "id")?, column(&found, "msgId")?);
        for ((id, old), new) in ids.into_iter().zip(&old).zip(increasing(&old)) {
            if *old != new {
                transaction.execute_update(&update, &[new.into(), id.into()])?;
            }
        }
        transaction.commit()?;
    }
    warn_about(owners.len(), table, "numbered the messages of conversations again");
    Ok(())
}

/// Numbers that increase from message to message and change as few of the old ones as possible.
fn increasing(old: &[u32]) -> Vec<u32> {
    let mut last = 0;
    let next = old.iter().map(|&number| {
        let number = if number == FAILED_MSG_ID { 0 } else { number };
        last = number.max(last + 1);
        last
    });
    next.collect()
}

/// Of users with the same name one can log in: the one the original takes, which is the newest
/// that is not disabled. The others get their id behind the name.
fn rename_users(conn: &mut dyn DbConn) -> Result<(), DbError> {
    let sql = "select name from IMUser group by name having count(*) > 1";
    let names = conn.execute_query(sql, &[])?;
    for row in names.rows() {
        let name: &str = row.get("name")?;
        let sql = "select id, name from IMUser where name=? \
                   order by case when status is null or status=0 then 0 else 1 end, id desc";
        let mut transaction = Transaction::begin(conn)?;
        let users = transaction.execute_query(sql, &[name.into()])?;
        for user in users.rows().skip(1) {
            let (id, name): (u32, &str) = (user.get("id")?, user.get("name")?);
            let name = format!("{name}#{id}");
            let sql = "update IMUser set name=? where id=?";
            transaction.execute_update(sql, &[name.into(), id.into()])?;
            warn!("schema: the name of user={id} belongs to another user; its id was added");
        }
        transaction.commit()?;
    }
    Ok(())
}

fn column(found: &ResultSet, name: &str) -> Result<Vec<u32>, DbError> {
    found.rows().map(|row| row.get(name)).collect()
}

fn warn_about(count: usize, table: &str, what: &str) {
    if count > 0 {
        warn!("schema: {what}, table={table} count={count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f91_s1_s2_numbers_that_started_again_go_on_instead() {
        assert_eq!(increasing(&[1, 2, 3, 1, 2, 3, 4]), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(increasing(&[1, 5, 6]), [1, 5, 6]);
        assert_eq!(increasing(&[7, FAILED_MSG_ID, FAILED_MSG_ID, 8]), [7, 8, 9, 10]);
        assert_eq!(increasing(&[0, 0]), [1, 2]);
    }
}
