//! Groups and their members: rows of IMGroup and IMGroupMember.
//!
//! The database is the only truth about who is a member, since when, and what he has read. The
//! original asks the cache alone, which may be lost or behind after a crash.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::msg_ids::{Conversation, stored_max};
use super::{Business, HandlerError, original_cache};
use crate::base::limits::id_slices;
use crate::pb::base_define::{
    GroupInfo, GroupModifyType, GroupType, GroupVersionInfo, SessionType, ShieldStatus,
};
use crate::storage::sql::{any_of, placeholders};
use crate::storage::{DbConn, DbError, InsertRows, Merge, OnConflict, Row, Transaction, Value};

/// Most members of a group; a list that would make it larger is refused.
pub const MEMBERS_MAX: usize = 50_000;

/// A group has a name of at most as many characters.
pub const GROUP_NAME_CHARS_MAX: usize = 256;

/// Who makes requests in the name of the installation: http_msg_server. msg_server passes nothing
/// on from a client that says to be nobody.
pub const ADMINISTRATOR: u32 = 0;

/// What a change of members came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changed {
    /// Who was added or removed.
    pub changed: Vec<u32>,
    /// Who is a member now.
    pub current: Vec<u32>,
}

/// Makes a group and gives its id; `None` when it would have no name, nobody in it, or too many.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::createGroup
/// Differs: one transaction (F102), and the members are counted once (S14).
pub fn create_group(
    business: &Business,
    creator: u32,
    name: &str,
    avatar: &str,
    group_type: i32,
    members: &BTreeSet<u32>,
) -> Result<Option<u32>, HandlerError> {
    if name.is_empty() || members.is_empty() || members.len() > MEMBERS_MAX {
        return Ok(None);
    }
    let now = business.now();
    let sql = "insert into IMGroup (name, avatar, creator, type, userCnt, status, version, \
               lastChated, updated, created) values (?,?,?,?,?,0,1,0,?,?)";
    let values = [
        name.into(),
        avatar.into(),
        creator.into(),
        group_type.into(),
        Value::Int(members.len() as i64),
        now.into(),
        now.into(),
    ];
    let mut conn = business.master()?;
    let mut transaction = Transaction::begin(&mut *conn)?;
    transaction.execute_update(sql, &values)?;
    let group_id = u32::try_from(transaction.insert_id()).map_err(|_| HandlerError::NoGroupId)?;
    let members: Vec<u32> = members.iter().copied().collect();
    insert_new_member(&mut *transaction, group_id, &members, 0, now)?;
    transaction.commit()?;
    drop(conn);
    original_cache::set_members(business, group_id, &members, &[], now);
    Ok(Some(group_id))
}

/// Makes these users members; who was one before comes back.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::insertNewMember
/// Differs: one statement, on a unique key (S10).
fn insert_new_member(
    conn: &mut dyn DbConn,
    group_id: u32,
    members: &[u32],
    read_msg_id: u32,
    now: u32,
) -> Result<(), DbError> {
    let values: Vec<Value> = members
        .iter()
        .flat_map(|&id| [group_id, id, 0, now, now, read_msg_id, 0].map(Value::from))
        .collect();
    let rows = InsertRows {
        table: "IMGroupMember",
        columns: &[
            "groupId",
            "userId",
            "status",
            "created",
            "updated",
            "readMsgId",
            "shieldStatus",
        ],
        conflict: OnConflict::Update {
            key: &["groupId", "userId"],
            set: &[("status", Merge::New), ("updated", Merge::New), ("readMsgId", Merge::New)],
        },
    };
    rows.execute(conn, &values).map(drop)
}

/// Adds members or removes them; `None` when the user may not, or nothing would change.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::modifyGroupMember
/// Differs: one transaction (F102), and the number of members is what there are (S14).
pub fn modify_group_member(
    business: &Business,
    user_id: u32,
    group_id: u32,
    change: GroupModifyType,
    wanted: &BTreeSet<u32>,
) -> Result<Option<Changed>, HandlerError> {
    let now = business.now();
    let mut conn = business.master()?;
    let mut transaction = Transaction::begin(&mut *conn)?;
    let Some(group) = lock_group(&mut *transaction, group_id)? else {
        return Ok(None);
    };
    let mut members = group_members(&mut *transaction, &[group_id])?;
    let members = members.remove(&group_id).unwrap_or_default();
    let known: HashSet<u32> = members.iter().copied().collect();
    if !group.has_modify_permission(user_id, change, wanted, &known) {
        return Ok(None);
    }
    let adding = change == GroupModifyType::Add;
    let changed: Vec<u32> =
        wanted.iter().copied().filter(|id| *id != 0 && known.contains(id) != adding).collect();
    if changed.is_empty() || (adding && members.len() + changed.len() > MEMBERS_MAX) {
        return Ok(None);
    }
    let current = if adding {
        let conversation = Conversation::Group(group_id);
        let newest = stored_max(&mut *transaction, &[conversation])?;
        let newest = newest.get(&conversation).copied().unwrap_or(0);
        insert_new_member(&mut *transaction, group_id, &changed, newest, now)?;
        members.iter().chain(&changed).copied().collect()
    } else {
        remove_member(&mut *transaction, group_id, &changed, now)?;
        members.into_iter().filter(|id| !changed.contains(id)).collect::<Vec<u32>>()
    };
    let sql = "update IMGroup set version=version+1, userCnt=?, updated=? where id=?";
    let values = [Value::Int(current.len() as i64), now.into(), group_id.into()];
    transaction.execute_update(sql, &values)?;
    transaction.commit()?;
    drop(conn);
    let (joined, left) = if adding { (&changed[..], &[][..]) } else { (&[][..], &changed[..]) };
    original_cache::set_members(business, group_id, joined, left, now);
    Ok(Some(Changed { changed, current }))
}

/// Ends memberships, and takes the group off the lists of those who leave.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::removeMember
fn remove_member(
    conn: &mut dyn DbConn,
    group_id: u32,
    members: &[u32],
    now: u32,
) -> Result<(), DbError> {
    for ids in id_slices(members) {
        let list = placeholders(ids.len());
        let users = || ids.iter().map(|&id| Value::from(id));
        let sql =
            format!("update IMGroupMember set status=1 where groupId=? and userId in ({list})");
        let values: Vec<Value> = std::iter::once(group_id.into()).chain(users()).collect();
        conn.execute_update(&sql, &values)?;
        let sql = format!(
            "update IMRecentSession set status=1, updated=? \
             where peerId=? and type=? and userId in ({list})"
        );
        let about = [now.into(), group_id.into(), Value::from(SessionType::Group as i32)];
        let values: Vec<Value> = about.into_iter().chain(users()).collect();
        conn.execute_update(&sql, &values)?;
    }
    Ok(())
}

struct Group {
    creator: u32,
    group_type: i32,
}

impl Group {
    /// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::hasModifyPermission
    /// Differs: to add somebody to a temporary group one has to be in it, and everybody may leave
    /// (F14).
    fn has_modify_permission(
        &self,
        user_id: u32,
        change: GroupModifyType,
        wanted: &BTreeSet<u32>,
        members: &HashSet<u32>,
    ) -> bool {
        if user_id == ADMINISTRATOR || user_id == self.creator {
            return true;
        }
        match change {
            GroupModifyType::Add => {
                self.group_type == GroupType::Tmp as i32 && members.contains(&user_id)
            }
            GroupModifyType::Del => wanted.len() == 1 && wanted.contains(&user_id),
        }
    }
}

/// A group that exists, kept from others until the end of the transaction.
fn lock_group(conn: &mut dyn DbConn, group_id: u32) -> Result<Option<Group>, DbError> {
    let sql = format!(
        "select creator, type from IMGroup where id=? and status=0{}",
        conn.dialect().for_update()
    );
    let found = conn.execute_query(&sql, &[group_id.into()])?;
    let group = |row: Row<'_>| -> Result<Group, DbError> {
        Ok(Group {
            creator: row.get_or_default("creator")?,
            group_type: row.get_or_default::<u8>("type")?.into(),
        })
    };
    found.first().map(group).transpose()
}

/// The members of these groups, in the order in which they first joined.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::getGroupUser
fn group_members(
    conn: &mut dyn DbConn,
    group_ids: &[u32],
) -> Result<HashMap<u32, Vec<u32>>, DbError> {
    let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
    for ids in id_slices(group_ids) {
        let sql = format!(
            "select groupId, userId from IMGroupMember \
             where groupId in ({}) and status=0 order by id",
            placeholders(ids.len())
        );
        let ids: Vec<Value> = ids.iter().map(|&id| id.into()).collect();
        for row in conn.execute_query(&sql, &ids)?.rows() {
            members.entry(row.get("groupId")?).or_default().push(row.get("userId")?);
        }
    }
    Ok(members)
}

/// Since when these users are in these groups, of those pairs of group and user for which it is so.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::getUserJoinTime
/// Differs: asked of the database, for many at once.
pub fn join_times(
    conn: &mut dyn DbConn,
    pairs: &[(u32, u32)],
) -> Result<HashMap<(u32, u32), u32>, DbError> {
    if pairs.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "select m.groupId as groupId, m.userId as userId, m.updated as joined \
         from IMGroupMember m join IMGroup g on g.id=m.groupId \
         where m.status=0 and g.status=0 and ({})",
        any_of("(m.groupId=? and m.userId=?)", pairs.len())
    );
    let values: Vec<Value> =
        pairs.iter().flat_map(|&(group, user)| [group, user].map(Value::from)).collect();
    let found = conn.execute_query(&sql, &values)?;
    let pair = |row: Row<'_>| -> Result<_, DbError> {
        Ok(((row.get("groupId")?, row.get("userId")?), row.get_or_default("joined")?))
    };
    found.rows().map(pair).collect()
}

/// The groups of one kind that a user is in, the one that changed last first.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::getUserGroup
/// Differs: one query.
pub fn user_groups(
    business: &Business,
    user_id: u32,
    group_type: GroupType,
) -> Result<Vec<GroupVersionInfo>, HandlerError> {
    let sql = "select g.id as id, g.version as version \
               from IMGroupMember m join IMGroup g on g.id=m.groupId \
               where m.userId=? and m.status=0 and g.status=0 and g.type=? \
               order by g.updated desc, g.id desc";
    let values = [user_id.into(), (group_type as i32).into()];
    let found = business.slave()?.execute_query(sql, &values)?;
    let group = |row: Row<'_>| -> Result<GroupVersionInfo, DbError> {
        Ok(GroupVersionInfo { group_id: row.get("id")?, version: row.get("version")? })
    };
    Ok(found.rows().map(group).collect::<Result<_, _>>()?)
}

/// What a member may know of the groups of this list that are newer than he knows them.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::getGroupInfo
/// Differs: groups the user is not in are left out (F15), and he learns whether he shields himself.
pub fn group_info(
    business: &Business,
    user_id: u32,
    known: &HashMap<u32, u32>,
) -> Result<Vec<GroupInfo>, HandlerError> {
    let ids: Vec<u32> = known.keys().copied().collect();
    let mut conn = business.master()?;
    let mut groups = Vec::new();
    for ids in id_slices(&ids) {
        let sql = format!(
            "select g.id as id, g.name as name, g.avatar as avatar, g.creator as creator, \
             g.type as type, g.version as version, m.shieldStatus as shieldStatus \
             from IMGroup g join IMGroupMember m on m.groupId=g.id and m.userId=? and m.status=0 \
             where g.status=0 and g.id in ({}) order by g.updated desc, g.id desc",
            placeholders(ids.len())
        );
        let values: Vec<Value> =
            std::iter::once(user_id).chain(ids.iter().copied()).map(Value::from).collect();
        for row in conn.execute_query(&sql, &values)?.rows() {
            let group = group_info_of(&row)?;
            if group.version > known.get(&group.group_id).copied().unwrap_or(0) {
                groups.push(group);
            }
        }
    }
    let ids: Vec<u32> = groups.iter().map(|group| group.group_id).collect();
    let mut members = group_members(&mut *conn, &ids)?;
    for group in &mut groups {
        group.group_member_list = members.remove(&group.group_id).unwrap_or_default();
    }
    Ok(groups)
}

fn group_info_of(row: &Row<'_>) -> Result<GroupInfo, DbError> {
    Ok(GroupInfo {
        group_id: row.get("id")?,
        version: row.get("version")?,
        group_name: row.get_or_default("name")?,
        group_avatar: row.get_or_default("avatar")?,
        group_creator_id: row.get_or_default("creator")?,
        group_type: row.get_or_default::<u8>("type")?.into(),
        shield_status: row.get_or_default("shieldStatus")?,
        group_member_list: Vec::new(),
    })
}

/// A group as the administration sees it.
#[derive(Clone, Debug)]
pub struct GroupRecord {
    /// Its number.
    pub id: u32,
    /// Its name; others may have the same one.
    pub name: String,
    /// Who made it.
    pub creator: u32,
    /// A `GroupType`.
    pub group_type: u32,
    /// How many members it has.
    pub member_cnt: u32,
    /// Grows with each change.
    pub version: u32,
}

/// The groups that are not deleted.
pub fn groups(business: &Business) -> Result<Vec<GroupRecord>, HandlerError> {
    let sql = "select id, name, creator, type, userCnt, version from IMGroup where status=0 \
               order by id";
    let found = business.master()?.execute_query(sql, &[])?;
    let group = |row: Row<'_>| -> Result<GroupRecord, DbError> {
        Ok(GroupRecord {
            id: row.get("id")?,
            name: row.get_or_default("name")?,
            creator: row.get_or_default("creator")?,
            group_type: row.get_or_default("type")?,
            member_cnt: row.get_or_default("userCnt")?,
            version: row.get_or_default("version")?,
        })
    };
    Ok(found.rows().map(group).collect::<Result<_, _>>()?)
}

/// The members of a group, in the order in which they first joined.
pub fn members(business: &Business, group_id: u32) -> Result<Vec<u32>, HandlerError> {
    let mut members = group_members(&mut *business.master()?, &[group_id])?;
    Ok(members.remove(&group_id).unwrap_or_default())
}

/// The numbers of the groups a user is in.
pub fn groups_of(business: &Business, user_id: u32) -> Result<Vec<u32>, HandlerError> {
    let sql = "select g.id as id from IMGroupMember m join IMGroup g on g.id=m.groupId \
               where m.userId=? and m.status=0 and g.status=0 order by g.id";
    let found = business.master()?.execute_query(sql, &[user_id.into()])?;
    Ok(found.rows().map(|row| row.get("id")).collect::<Result<_, _>>()?)
}

/// Sets whether a member is shielded from the pushes of a group; false when he is none.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::setPush
/// Differs: kept in the database, and for members only.
pub fn set_push(
    business: &Business,
    user_id: u32,
    group_id: u32,
    shield_status: u32,
) -> Result<bool, HandlerError> {
    let sql = "update IMGroupMember set shieldStatus=? where groupId=? and userId=? and status=0";
    let values = [shield_status.into(), group_id.into(), user_id.into()];
    let set = business.master()?.execute_update(sql, &values)? > 0;
    if set {
        original_cache::set_shield(business, group_id, user_id, shield_status);
    }
    Ok(set)
}

/// Which of these users are shielded from the pushes of a group. Who is not in it is left out.
///
/// C++: db_proxy_server/business/GroupModel.cpp CGroupModel::getPush
pub fn push_shields(
    business: &Business,
    group_id: u32,
    user_ids: &[u32],
) -> Result<Vec<ShieldStatus>, HandlerError> {
    let mut conn = business.master()?;
    let (mut shields, mut unknown) = (Vec::new(), Vec::new());
    let status =
        |user_id: u32, shield_status: u32| ShieldStatus { user_id, group_id, shield_status };
    for ids in id_slices(user_ids) {
        let sql = format!(
            "select userId, shieldStatus from IMGroupMember \
             where groupId=? and status=0 and userId in ({})",
            placeholders(ids.len())
        );
        let values: Vec<Value> =
            std::iter::once(group_id).chain(ids.iter().copied()).map(Value::from).collect();
        for row in conn.execute_query(&sql, &values)?.rows() {
            let user_id = row.get("userId")?;
            match row.get::<Option<u32>>("shieldStatus")? {
                Some(shield_status) => shields.push(status(user_id, shield_status)),
                None => unknown.push(user_id),
            }
        }
    }
    drop(conn);
    let known = original_cache::shields(&business.cache, group_id, &unknown)?;
    shields.extend(unknown.into_iter().zip(known).map(|(id, shield)| status(id, shield)));
    Ok(shields)
}
