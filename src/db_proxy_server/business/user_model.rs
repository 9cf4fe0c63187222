//! Users: rows of IMUser.

use std::collections::HashSet;
use std::iter;

use bytes::Bytes;

use super::password::StoredPassword;
use super::{Business, HandlerError};
use crate::base::limits::id_slices;
use crate::pb::base_define::UserInfo;
use crate::storage::sql::placeholders;
use crate::storage::{DbConn, DbError, Row, Transaction, Value};

/// A signature has at most as many bytes.
///
/// C++: db_proxy_server/business/UserAction.cpp changeUserSignInfo
pub const SIGN_INFO_LEN_MAX: usize = 128;

/// `status` of somebody who may log in; nobody else may.
pub const STATUS_NORMAL: u32 = 0;

/// `status` of somebody who left the company; clients do not show him.
pub const STATUS_LEFT: u32 = 3;

/// What the columns of a user take, in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// See [`NAME_CHARS_MAX`].
pub const NICK_CHARS_MAX: usize = 32;
/// See [`NAME_CHARS_MAX`].
pub const PHONE_CHARS_MAX: usize = 32;
/// See [`NAME_CHARS_MAX`].
pub const EMAIL_CHARS_MAX: usize = 64;
/// See [`NAME_CHARS_MAX`].
pub const AVATAR_CHARS_MAX: usize = 255;

const COLUMNS: &str =
    "id, sex, nick, avatar, departId, email, name, phone, domain, status, sign_info, updated";

/// What a login is checked against.
#[derive(Debug)]
pub struct Credentials {
    /// Who it would be.
    pub user_info: UserInfo,
    /// What is stored of the password.
    pub password: StoredPassword,
}

/// The users of these login names who may log in.
///
/// C++: db_proxy_server/business/InterLogin.cpp CInterLoginStrategy::doLogin
/// Differs: the name is a bound value, never a part of the statement (F4); one query for several
/// names.
pub fn credentials(business: &Business, names: &[&str]) -> Result<Vec<Credentials>, HandlerError> {
    let Some(last) = names.last() else {
        return Ok(Vec::new());
    };
    // A few statements serve all numbers of names: each stays prepared.
    let count = names.len().next_power_of_two();
    let sql = format!(
        "select {COLUMNS}, password, salt, passwordHash from IMUser \
         where name in ({}) and status=0",
        placeholders(count)
    );
    let bound = names.iter().chain(iter::repeat(last)).take(count);
    let bound: Vec<Value> = bound.map(|&name| name.into()).collect();
    let found = business.slave()?.execute_query(&sql, &bound)?;
    let mut all = Vec::new();
    for row in found.rows() {
        // Databases compare names by their own rules; who logs in has to be called exactly so.
        if row.get::<&str>("name").is_ok_and(|found| names.contains(&found)) {
            all.push(Credentials {
                user_info: user_info(&row)?,
                password: StoredPassword {
                    md5: row.get_or_default("password")?,
                    salt: row.get_or_default("salt")?,
                    argon2id: row.get_or_default("passwordHash")?,
                },
            });
        }
    }
    Ok(all)
}

/// The users of these ids; unknown ids are left out.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::getUsers
/// Differs: long lists are worked on in slices (F29).
pub fn users(business: &Business, ids: &[u32]) -> Result<Vec<UserInfo>, HandlerError> {
    let mut users = Vec::new();
    let mut conn = business.slave()?;
    for ids in id_slices(ids) {
        let sql = format!("select {COLUMNS} from IMUser where id in ({})", placeholders(ids.len()));
        let ids: Vec<Value> = ids.iter().map(|&id| id.into()).collect();
        for row in conn.execute_query(&sql, &ids)?.rows() {
            users.push(user_info(&row)?);
        }
    }
    Ok(users)
}

/// Who has changed since `last_time`, and up to when that is true. Time 0 asks for everybody who is
/// still there.
///
/// The cursor never is the current second: who changes later within it is told the next time.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::getChangedId
/// Differs: one query, and the cursor comes from the rows, so that several processes and the
/// administrator's changes agree (F100, S16).
pub fn changed_users(
    business: &Business,
    last_time: u32,
) -> Result<(Vec<UserInfo>, u32), HandlerError> {
    let mut conn = business.slave()?;
    let newest = conn.execute_query("select max(updated) as newest from IMUser", &[])?;
    let newest: u32 = match newest.first() {
        Some(row) => row.get_or_default("newest")?,
        None => 0,
    };
    if newest <= last_time {
        return Ok((Vec::new(), last_time));
    }
    let (condition, value) =
        if last_time == 0 { ("status != ?", STATUS_LEFT) } else { ("updated >= ?", last_time) };
    let sql = format!("select {COLUMNS} from IMUser where {condition}");
    let rows = conn.execute_query(&sql, &[value.into()])?;
    let users = rows.rows().map(|row| user_info(&row)).collect::<Result<_, DbError>>()?;
    Ok((users, newest.min(business.now().saturating_sub(1)).max(last_time)))
}

/// Changes a signature; false when there is no such user.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::updateUserSignInfo
pub fn update_user_sign_info(
    business: &Business,
    user_id: u32,
    sign_info: &str,
) -> Result<bool, HandlerError> {
    let sql = "update IMUser set sign_info=?, updated=? where id=?";
    let values = [sign_info.into(), business.now().into(), user_id.into()];
    Ok(business.master()?.execute_update(sql, &values)? > 0)
}

/// Changes an avatar; false when there is no such user.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::updateUser
/// Differs: the command for it has a handler (F77).
pub fn update_user_avatar(
    business: &Business,
    user_id: u32,
    avatar: &str,
) -> Result<bool, HandlerError> {
    let sql = "update IMUser set avatar=?, updated=? where id=?";
    let values = [avatar.into(), business.now().into(), user_id.into()];
    Ok(business.master()?.execute_update(sql, &values)? > 0)
}

/// Keeps a password in its new form, unless it was changed meanwhile.
pub fn update_password(
    business: &Business,
    user_id: u32,
    old: &StoredPassword,
    argon2id: &str,
) -> Result<(), HandlerError> {
    let sql = "update IMUser set passwordHash=?, password='', salt='' where id=? and password=?";
    let values = [argon2id.into(), user_id.into(), old.md5.as_str().into()];
    business.master()?.execute_update(sql, &values)?;
    Ok(())
}

/// Somebody who does not exist yet.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The name he logs in with; nobody else has it.
    pub name: String,
    /// How others see him.
    pub nick: String,
    /// 1 male, 2 female, 0 unknown.
    pub sex: u32,
    /// His department, 0 for none.
    pub depart_id: u32,
    /// Telephone number, may be empty.
    pub phone: String,
    /// Mail address, may be empty.
    pub email: String,
    /// Where his picture is, may be empty.
    pub avatar: String,
    /// What is stored of his password.
    pub password: StoredPassword,
}

impl NewUser {
    /// All that is wrong with his texts.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (what, text, chars_max) in [
            ("name", &self.name, NAME_CHARS_MAX),
            ("nick", &self.nick, NICK_CHARS_MAX),
            ("phone", &self.phone, PHONE_CHARS_MAX),
            ("email", &self.email, EMAIL_CHARS_MAX),
            ("avatar", &self.avatar, AVATAR_CHARS_MAX),
        ] {
            if text.chars().count() > chars_max {
                mistakes.push(format!("{what} has more than {chars_max} characters"));
            }
            if text.contains(char::is_control) {
                mistakes.push(format!("{what} has control characters in it"));
            }
        }
        if self.name.is_empty() {
            mistakes.push("name is empty".to_owned());
        } else if self.name.trim() != self.name {
            mistakes.push("name has blanks around it".to_owned());
        } else if self.name.bytes().all(|byte| byte.is_ascii_digit()) {
            mistakes.push("name is a number, which is taken for an id".to_owned());
        }
        if !self.email.is_empty() && !self.email.contains('@') {
            mistakes.push(format!("email {} has no @", self.email));
        }
        mistakes
    }
}

/// Makes a user and gives his id. A name that somebody has is [`DbError::Duplicate`].
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::insertUser
/// Differs: as many values as columns, an id of the database's choice, and a password (S21).
pub fn insert_user(conn: &mut dyn DbConn, user: &NewUser, now: u32) -> Result<u32, DbError> {
    let sql = "insert into IMUser (sex, nick, name, phone, email, departId, status, created, \
               updated, password, salt, passwordHash, avatar) \
               values (?,?,?,?,?,?,?,?,?,?,?,?,?)";
    let values = [
        user.sex.into(),
        user.nick.as_str().into(),
        user.name.as_str().into(),
        user.phone.as_str().into(),
        user.email.as_str().into(),
        user.depart_id.into(),
        STATUS_NORMAL.into(),
        now.into(),
        now.into(),
        user.password.md5.as_str().into(),
        user.password.salt.as_str().into(),
        user.password.argon2id.as_str().into(),
        user.avatar.as_str().into(),
    ];
    conn.execute_update(sql, &values)?;
    u32::try_from(conn.insert_id()).map_err(|_| DbError::BadValue { column: "id".to_owned() })
}

/// What the administration knows of a user. The password stays where it is.
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// What everybody knows.
    pub user_info: UserInfo,
    /// Unix seconds.
    pub created: u32,
    /// Unix seconds.
    pub updated: u32,
    /// Whether quiet hours are on.
    pub push_shield: bool,
}

/// Everybody, those who left included, in the order of their ids.
pub fn all_users(business: &Business) -> Result<Vec<UserRecord>, HandlerError> {
    user_records(business, "1=1", &[])
}

/// The user with this login name, exactly.
pub fn user_of_name(business: &Business, name: &str) -> Result<Option<UserRecord>, HandlerError> {
    let found = user_records(business, "name=?", &[name.into()])?;
    Ok(found.into_iter().find(|user| user.user_info.user_real_name == name))
}

/// The user with this id.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::getUser
pub fn user_of_id(business: &Business, user_id: u32) -> Result<Option<UserRecord>, HandlerError> {
    Ok(user_records(business, "id=?", &[user_id.into()])?.pop())
}

fn user_records(
    business: &Business,
    condition: &str,
    values: &[Value],
) -> Result<Vec<UserRecord>, HandlerError> {
    let sql = format!(
        "select {COLUMNS}, created, push_shield_status from IMUser where {condition} order by id"
    );
    let found = business.master()?.execute_query(&sql, values)?;
    let record = |row: Row<'_>| -> Result<UserRecord, DbError> {
        Ok(UserRecord {
            user_info: user_info(&row)?,
            created: row.get_or_default("created")?,
            updated: row.get_or_default("updated")?,
            push_shield: row.get_or_default::<u32>("push_shield_status")? != 0,
        })
    };
    Ok(found.rows().map(record).collect::<Result<_, _>>()?)
}

/// Lets somebody log in or not; false when there is no such user.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::updateUser
pub fn update_user_status(
    business: &Business,
    user_id: u32,
    status: u32,
) -> Result<bool, HandlerError> {
    let sql = "update IMUser set status=?, updated=? where id=?";
    let values = [status.into(), business.now().into(), user_id.into()];
    Ok(business.master()?.execute_update(sql, &values)? > 0)
}

/// Moves users to a department, all or none of them.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::updateUser
pub fn update_user_departs(
    business: &Business,
    user_ids: &[u32],
    depart_id: u32,
) -> Result<(), HandlerError> {
    let now = business.now();
    let mut conn = business.master()?;
    let mut transaction = Transaction::begin(&mut *conn)?;
    for ids in id_slices(user_ids) {
        let sql = format!(
            "update IMUser set departId=?, updated=? where id in ({})",
            placeholders(ids.len())
        );
        let values = [depart_id, now].into_iter().chain(ids.iter().copied());
        transaction.execute_update(&sql, &values.map(Value::from).collect::<Vec<_>>())?;
    }
    Ok(transaction.commit()?)
}

/// Gives a user a new password; false when there is no such user.
pub fn set_password(
    business: &Business,
    user_id: u32,
    new: &StoredPassword,
) -> Result<bool, HandlerError> {
    let sql = "update IMUser set password=?, salt=?, passwordHash=? where id=?";
    let values = [
        new.md5.as_str().into(),
        new.salt.as_str().into(),
        new.argon2id.as_str().into(),
        user_id.into(),
    ];
    Ok(business.master()?.execute_update(sql, &values)? > 0)
}

/// Turns quiet hours on or off; false when there is no such user.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::updatePushShield
/// Differs: what is set already is no failure (F94).
pub fn update_push_shield(
    business: &Business,
    user_id: u32,
    shield_status: u32,
) -> Result<bool, HandlerError> {
    let sql = "update IMUser set push_shield_status=?, updated=? where id=?";
    let values = [shield_status.into(), business.now().into(), user_id.into()];
    Ok(business.master()?.execute_update(sql, &values)? > 0)
}

/// Whether quiet hours are on; `None` when there is no such user.
///
/// C++: db_proxy_server/business/UserModel.cpp CUserModel::getPushShield
pub fn push_shield(business: &Business, user_id: u32) -> Result<Option<u32>, HandlerError> {
    let sql = "select push_shield_status from IMUser where id=?";
    let found = business.master()?.execute_query(sql, &[user_id.into()])?;
    Ok(found.first().map(|row| row.get_or_default("push_shield_status")).transpose()?)
}

/// Which of these users have quiet hours on.
pub fn shielded(conn: &mut dyn DbConn, ids: &[u32]) -> Result<HashSet<u32>, DbError> {
    let mut shielded = HashSet::new();
    for ids in id_slices(ids) {
        let sql = format!(
            "select id from IMUser where push_shield_status=1 and id in ({})",
            placeholders(ids.len())
        );
        let ids: Vec<Value> = ids.iter().map(|&id| id.into()).collect();
        for row in conn.execute_query(&sql, &ids)?.rows() {
            shielded.insert(row.get("id")?);
        }
    }
    Ok(shielded)
}

fn user_info(row: &Row<'_>) -> Result<UserInfo, DbError> {
    Ok(UserInfo {
        user_id: row.get("id")?,
        user_gender: row.get_or_default("sex")?,
        user_nick_name: row.get_or_default("nick")?,
        avatar_url: Bytes::from(row.get_or_default::<String>("avatar")?),
        department_id: row.get_or_default("departId")?,
        email: row.get_or_default("email")?,
        user_real_name: row.get_or_default("name")?,
        user_tel: row.get_or_default("phone")?,
        user_domain: row.get_or_default("domain")?,
        status: row.get_or_default("status")?,
        sign_info: Some(row.get_or_default("sign_info")?),
    })
}
