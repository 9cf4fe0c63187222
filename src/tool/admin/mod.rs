//! Users, departments and groups, straight on the storage: servers that run
//! see every change, because they ask the storage as well.
//!
//! - [`user`], [`depart`], [`group`]: one command each.
//! - [`csv`], [`import`]: many users at once.
//! - [`db`], [`db_import`], [`source`]: making, migrating and filling a database.

pub mod csv;
pub mod db;
pub mod db_import;
pub mod depart;
pub mod group;
pub mod import;
pub mod source;
pub mod user;

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use log::LevelFilter;
use thiserror::Error;

use super::account::{VAR, ask_password};
use super::{REFUSED, UNREACHABLE};
use crate::base::command_line::find_config;
use crate::base::config_file_reader::ConfigFileReader;
use crate::base::md5::md5_hex;
use crate::base::unix_time::unix_time;
use crate::db_proxy_server::DbProxyServerConfig;
use crate::db_proxy_server::business::depart_model::{self, Depart};
use crate::db_proxy_server::business::group_model::{self, GroupRecord};
use crate::db_proxy_server::business::password::{PasswordForm, StoredPassword};
use crate::db_proxy_server::business::user_model::{self, UserRecord};
use crate::db_proxy_server::business::{Business, HandlerError};
use crate::storage::db_pool::TEAMTALK_MASTER;
use crate::storage::schema::{self, SchemaState};
use crate::storage::{CacheError, DbError};

/// The file that says where the storage is.
const CONFIG: &str = "dbproxyserver.conf";

/// What is said of a database in which an import was begun.
const NOT_ENDED: &str = "an import has not ended, or was interrupted; \
                         run the same `teamtalk db import` to begin it again";

/// The storage to work on.
#[derive(Args, Clone, Debug)]
pub struct Store {
    /// Configuration of db_proxy_server, which says where the storage is
    ///
    /// Without this option it is VAR/conf/dbproxyserver.conf if that exists, else
    /// dbproxyserver.conf in the current directory or in conf/ below it.
    #[arg(long, value_name = "FILE", global = true)]
    conf: Option<PathBuf>,

    /// Directory of `teamtalk up`
    #[arg(long, value_name = "DIR", default_value = VAR, global = true)]
    var: PathBuf,
}

impl Store {
    /// The configuration file.
    ///
    /// # Errors
    /// There is none.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        let of_up = self.var.join("conf").join(CONFIG);
        if self.conf.is_none() && of_up.exists() {
            return Ok(of_up);
        }
        find_config(Path::new(""), self.conf.clone(), CONFIG)
            .context("name the configuration of db_proxy_server with --conf")
    }

    /// What the configuration says. Nothing is connected to yet.
    ///
    /// # Errors
    /// It is missing or wrong.
    pub fn config(&self) -> anyhow::Result<DbProxyServerConfig> {
        let mut config = ConfigFileReader::load(&self.path()?)?;
        Ok(DbProxyServerConfig::read(&mut config)?)
    }

    /// What to type for a command of `teamtalk db` about this storage.
    fn db_command(&self, what: &str) -> String {
        match self.path() {
            Ok(path) => format!("teamtalk db {what} --conf {}", path.display()),
            Err(_) => format!("teamtalk db {what}"),
        }
    }

    /// The storage, with tables that this program knows.
    ///
    /// # Errors
    /// It cannot be reached, or its tables are not those of this program.
    pub fn open(&self) -> anyhow::Result<Business> {
        show_warnings();
        let business = Business::new(self.config()?, unix_time)?;
        let target = business.db.target(TEAMTALK_MASTER)?;
        let command = |what: &str| self.db_command(what);
        if business.db.is_missing(TEAMTALK_MASTER)? {
            bail!("{target} does not exist; `{}` makes it", command("init"));
        }
        let state = business.master().and_then(|mut conn| schema::state(&mut *conn));
        let state = state.context("no storage (`teamtalk doctor` tells what is wrong)")?;
        match state {
            SchemaState::Current => Ok(business),
            SchemaState::Empty => {
                bail!("{target} has no tables; `{}` makes them", command("init"))
            }
            SchemaState::Old => bail!(
                "{target} has tables of an older version; back it up, then `{}`",
                command("migrate")
            ),
            SchemaState::Loading => bail!("{target}: {NOT_ENDED}"),
            SchemaState::New => {
                bail!("{target} has tables of a newer version; use the `teamtalk` of that version")
            }
        }
    }
}

/// Models warn of what is no failure, such as a cache that could not be told.
fn show_warnings() {
    let _ = env_logger::builder()
        .filter_level(LevelFilter::Off)
        .filter_module("teamtalk::db_proxy_server", LevelFilter::Warn)
        .filter_module("teamtalk::storage::schema", LevelFilter::Warn)
        .parse_default_env()
        .format(|line, record| writeln!(line, "teamtalk: {}", record.args()))
        .try_init();
}

/// Something that cannot be done as it was asked for, whoever asks again.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Refused(String);

/// The error for what was asked for and is not there, or is there already.
pub fn refused(text: impl Into<String>) -> anyhow::Error {
    Refused(text.into()).into()
}

/// The exit code of what these commands fail with, if they know one.
pub fn exit_code(error: &anyhow::Error) -> Option<u8> {
    let unreachable = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<DbError>().is_some_and(DbError::is_retryable)
            || cause.downcast_ref::<CacheError>().is_some_and(CacheError::is_retryable)
    };
    if error.downcast_ref::<Refused>().is_some() {
        Some(REFUSED)
    } else if error.chain().any(unreachable) {
        Some(UNREACHABLE)
    } else {
        None
    }
}

/// The result of a model. Its error says the same as the error below it, once.
fn plain<T>(result: Result<T, HandlerError>) -> anyhow::Result<T> {
    result.map_err(|error| match error {
        HandlerError::Db(error) => error.into(),
        HandlerError::Cache(error) => error.into(),
        error => error.into(),
    })
}

/// The user with this login name or id.
fn find_user(business: &Business, name: &str) -> anyhow::Result<UserRecord> {
    let mut found = plain(user_model::user_of_name(business, name))?;
    if found.is_none()
        && let Ok(id) = name.parse()
    {
        found = plain(user_model::user_of_id(business, id))?;
    }
    found.ok_or_else(|| {
        refused(format!("no user has the login name {name}; `teamtalk user list` shows all"))
    })
}

/// The ids of users, each once.
fn find_users(business: &Business, names: &[String]) -> anyhow::Result<Vec<u32>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let id = find_user(business, name)?.user_info.user_id;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The department with this name or number.
fn find_depart<'a>(departs: &'a [Depart], name: &str) -> anyhow::Result<&'a Depart> {
    let all = "`teamtalk depart list` shows all";
    let named: Vec<&Depart> = departs.iter().filter(|depart| depart.name == name).collect();
    match named[..] {
        [one] => Ok(one),
        [] => departs
            .iter()
            .find(|depart| name.parse() == Ok(depart.id))
            .ok_or_else(|| refused(format!("there is no department {name}; {all}"))),
        _ => Err(refused(format!("several departments are called {name}; use a number, {all}"))),
    }
}

/// The group with this name or number.
fn find_group(business: &Business, name: &str) -> anyhow::Result<GroupRecord> {
    let all = "`teamtalk group list` shows all";
    let mut groups = plain(group_model::groups(business))?;
    match groups.iter().filter(|group| group.name == name).count() {
        0 => groups.retain(|group| name.parse() == Ok(group.id)),
        1 => groups.retain(|group| group.name == name),
        _ => return Err(refused(format!("several groups are called {name}; use a number, {all}"))),
    }
    groups.pop().ok_or_else(|| refused(format!("there is no group {name}; {all}")))
}

/// The name of a department, empty for none.
fn depart_name(departs: &[Depart], id: u32) -> String {
    departs.iter().find(|depart| depart.id == id).map_or_else(String::new, |d| d.name.clone())
}

/// All departments.
fn departs(business: &Business) -> anyhow::Result<Vec<Depart>> {
    plain(depart_model::departs(business))
}

/// Where a new password comes from. Never the command line, which everybody on the machine reads.
#[derive(Args, Clone, Debug)]
pub struct NewPassword {
    /// Read the password from the first line of standard input, instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

impl NewPassword {
    /// The password, as it is to be stored.
    ///
    /// # Errors
    /// It is empty, or nobody can be asked, or two answers differ.
    fn read(&self, name: &str, form: PasswordForm) -> anyhow::Result<StoredPassword> {
        let password = if self.password_stdin {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).context("reading the password")?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        } else {
            let first = ask_password(&format!("New password of {name}: "))?;
            if ask_password("Once more: ")? != first {
                bail!("the two passwords differ; nothing was changed");
            }
            first
        };
        if password.is_empty() {
            bail!("an empty password is none; nothing was changed");
        }
        stored(&password, form)
    }
}

/// What is kept of a password.
fn stored(password: &str, form: PasswordForm) -> anyhow::Result<StoredPassword> {
    // What clients send.
    let received = md5_hex(password.as_bytes());
    StoredPassword::new(&received, form).map_err(|error| anyhow::anyhow!("password: {error}"))
}

#[cfg(test)]
pub(super) mod tests;
