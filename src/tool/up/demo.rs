//! What a new cluster begins with: two people, their departments, a group.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use uuid::Uuid;

use crate::base::config_file_reader::ConfigFileReader;
use crate::base::md5::md5_hex;
use crate::base::unix_time::unix_time;
use crate::db_proxy_server::DbProxyServerConfig;
use crate::db_proxy_server::business::depart_model::insert_depart;
use crate::db_proxy_server::business::group_model::create_group;
use crate::db_proxy_server::business::password::StoredPassword;
use crate::db_proxy_server::business::user_model::{NewUser, insert_user, user_of_name};
use crate::db_proxy_server::business::{Business, HandlerError};
use crate::pb::base_define::GroupType;
use crate::tool::account::Accounts;

/// Login name, nickname and department.
pub(super) const PEOPLE: [(&str, &str, &str); 2] =
    [("alice", "Alice", "Development"), ("bob", "Bob", "Support")];

/// What their group is called.
pub(super) const GROUP: &str = "Everybody";

/// Makes the demo accounts in a storage that has none, and writes their passwords where clients on
/// this machine find them.
///
/// # Errors
/// The storage cannot be reached.
pub(super) fn make(conf: &Path, var: &Path, login_server: String) -> anyhow::Result<()> {
    let config = DbProxyServerConfig::read(&mut ConfigFileReader::load(conf)?)?;
    // The database of a server of its own may not be there yet.
    config.db.create_database(crate::storage::db_pool::TEAMTALK_MASTER)?;
    let business = Business::new(config, unix_time)?;
    business.db.migrate()?;
    let mut accounts = Accounts { login_server: Some(login_server), passwords: Vec::new() };
    let mut ids = BTreeSet::new();
    for (name, nick, depart) in PEOPLE {
        if plain(user_of_name(&business, name))?.is_some() {
            // Somebody else's database: these people have passwords of their own.
            continue;
        }
        let password = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let now = business.now();
        let depart_id = insert_depart(&mut *business.master()?, depart, 0, 0, now)?;
        let stored = StoredPassword::new(&md5_hex(password.as_bytes()), business.password_form)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let user = NewUser {
            name: name.to_owned(),
            nick: nick.to_owned(),
            depart_id,
            password: stored,
            ..NewUser::default()
        };
        ids.insert(insert_user(&mut *business.master()?, &user, now)?);
        accounts.passwords.push((name.to_owned(), password));
    }
    if let (Some(first), true) = (ids.first(), ids.len() == PEOPLE.len()) {
        plain(create_group(&business, *first, GROUP, "", GroupType::Normal as i32, &ids))?;
    }
    accounts.write(var)
}

fn plain<T>(result: Result<T, HandlerError>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow::anyhow!("{error}")).context("making the demo accounts")
}
