//! `teamtalk user`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::import::{self, Person};
use super::{NewPassword, Store, depart_name, departs, find_depart, find_user, plain, refused};
use crate::db_proxy_server::business::depart_model::Depart;
use crate::db_proxy_server::business::user_model::{self, STATUS_LEFT, STATUS_NORMAL, UserRecord};
use crate::db_proxy_server::business::{Business, device_tokens, group_model, login_failures};
use crate::storage::DbError;
use crate::tool::output::Output;

/// Adds, lists, shows and disables users, and sets their passwords
///
/// Works on the storage itself, whether servers run or not; those that run see a change at once.
/// Clients that are connected learn of new and changed colleagues the next time they ask.
#[derive(Args, Debug)]
pub struct UserCommand {
    #[command(flatten)]
    store: Store,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Add a user
    ///
    /// The password is asked for, twice, or read from standard input. It is stored in the form
    /// that the key PasswordHash of the configuration names.
    #[command(after_help = "Examples:\n  \
                      teamtalk user add alice --nick 'Alice B.' --depart Sales\n  \
                      pwgen 16 1 | teamtalk user add bob --password-stdin")]
    Add(Add),
    /// List users
    List {
        /// Those of this department alone: name or number
        #[arg(long, value_name = "DEPART")]
        depart: Option<String>,
        /// Those who are disabled as well
        #[arg(long)]
        all: bool,
    },
    /// Show what is known of a user: himself, his department, his groups
    Show {
        /// Login name or id
        user: String,
    },
    /// Give a user a new password
    ///
    /// Failed logins of the last half hour are forgiven. Where he is logged in already he stays
    /// so.
    Passwd {
        /// Login name or id
        user: String,
        #[command(flatten)]
        password: NewPassword,
    },
    /// Keep a user from logging in
    ///
    /// Colleagues no longer see him in their lists, and his phone is told nothing more. His
    /// messages and groups stay. A connection he has open at this moment ends when he closes it.
    Disable {
        /// Login name or id
        user: String,
    },
    /// Let a disabled user log in again
    Enable {
        /// Login name or id
        user: String,
    },
    /// Add the users of a CSV file, all or none
    ///
    /// The first line names the columns, in any order: name, nick, password, sex, department,
    /// phone, email. Only name and password must be there. Sex is male, female, 1, 2 or nothing;
    /// department is a name or a number. A value with commas, quotes or line ends stands in
    /// double quotes, and a quote in it is doubled. The file is UTF-8.
    ///
    /// Everything is checked first, and each mistake is told with its line. If there is one,
    /// nothing is stored.
    #[command(after_help = "Example of a file:\n  \
                      name,nick,password,sex,department,phone,email\n  \
                      alice,\"Baker, Alice\",s3cret-1,female,Sales,,alice@example.com")]
    Import {
        /// The file; - for standard input
        file: PathBuf,
        /// Only look for mistakes
        #[arg(long)]
        check: bool,
        /// Make departments that do not exist, at the top
        #[arg(long)]
        add_departs: bool,
    },
}

#[derive(Args, Debug)]
struct Add {
    /// Login name, at most 64 characters; nobody else has it
    name: String,
    /// How others see him [default: the login name]
    #[arg(long, value_name = "NICK")]
    nick: Option<String>,
    /// male or female
    #[arg(long, value_name = "SEX")]
    sex: Option<String>,
    /// His department: name or number [default: none]
    #[arg(long, value_name = "DEPART")]
    depart: Option<String>,
    /// Telephone number
    #[arg(long, value_name = "NUMBER", default_value = "")]
    phone: String,
    /// Mail address
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    email: String,
    #[command(flatten)]
    password: NewPassword,
}

impl UserCommand {
    /// Does it and prints what came of it.
    ///
    /// # Errors
    /// The storage is away, or there is no such user, or there is one already.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let business = self.store.open()?;
        match &self.what {
            What::Add(add) => add.run(&business, output),
            What::List { depart, all } => list(&business, output, depart.as_deref(), *all),
            What::Show { user } => show(&business, output, user),
            What::Passwd { user, password } => passwd(&business, output, user, password),
            What::Disable { user } => disable(&business, output, user),
            What::Enable { user } => enable(&business, output, user),
            What::Import { file, check, add_departs } => {
                import::run(&business, output, file, *check, *add_departs)
            }
        }
    }
}

impl Add {
    fn run(&self, business: &Business, output: &Output) -> anyhow::Result<()> {
        let departs = departs(business)?;
        let depart = self.depart.as_deref().map(|name| find_depart(&departs, name)).transpose()?;
        let person = Person {
            name: self.name.clone(),
            nick: self.nick.clone().unwrap_or_default(),
            sex: self.sex.clone().unwrap_or_default(),
            phone: self.phone.clone(),
            email: self.email.clone(),
            ..Person::default()
        };
        let mut user = person.check().map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
        user.depart_id = depart.map_or(0, |depart| depart.id);
        // Nobody should have to type a password for nothing.
        if plain(user_model::user_of_name(business, &user.name))?.is_some() {
            return Err(exists(&user.name));
        }
        user.password = self.password.read(&user.name, business.password_form)?;
        let now = business.now();
        let id = match user_model::insert_user(&mut *business.master()?, &user, now) {
            Err(DbError::Duplicate { .. }) => return Err(exists(&user.name)),
            result => result?,
        };
        let value = json!({ "user_id": id, "name": user.name });
        output.one(&value, &format!("user {id}, {}, added", user.name))
    }
}

fn exists(name: &str) -> anyhow::Error {
    refused(format!("there is a user with the login name {name} already"))
}

fn list(
    business: &Business,
    output: &Output,
    depart: Option<&str>,
    all: bool,
) -> anyhow::Result<()> {
    let departs = departs(business)?;
    let depart_id = depart.map(|name| find_depart(&departs, name)).transpose()?.map(|d| d.id);
    let mut users = plain(user_model::all_users(business))?;
    users.retain(|user| {
        let info = &user.user_info;
        (all || info.status == STATUS_NORMAL)
            && depart_id.is_none_or(|depart_id| info.department_id == depart_id)
    });
    let rows: Vec<Value> = users.iter().map(|user| as_json(user, &departs)).collect();
    output.list(&["user_id", "name", "nick", "depart", "phone", "email", "status"], &rows)
}

fn as_json(user: &UserRecord, departs: &[Depart]) -> Value {
    let info = &user.user_info;
    json!({
        "user_id": info.user_id,
        "name": info.user_real_name,
        "nick": info.user_nick_name,
        "sex": sex_name(info.user_gender),
        "depart": depart_name(departs, info.department_id),
        "depart_id": info.department_id,
        "phone": info.user_tel,
        "email": info.email,
        "avatar": String::from_utf8_lossy(&info.avatar_url),
        "signature": info.sign_info,
        "status": status_name(info.status),
        "quiet_hours": user.push_shield,
        "created": user.created,
        "updated": user.updated,
    })
}

fn sex_name(sex: u32) -> &'static str {
    match sex {
        1 => "male",
        2 => "female",
        _ => "",
    }
}

/// The other ones are from the administration of the original; they cannot log in either.
fn status_name(status: u32) -> String {
    match status {
        STATUS_NORMAL => "enabled".to_owned(),
        1 => "probation".to_owned(),
        2 => "formal".to_owned(),
        STATUS_LEFT => "disabled".to_owned(),
        4 => "intern".to_owned(),
        other => format!("status {other}"),
    }
}

fn show(business: &Business, output: &Output, user: &str) -> anyhow::Result<()> {
    let user = find_user(business, user)?;
    let departs = departs(business)?;
    let his = plain(group_model::groups_of(business, user.user_info.user_id))?;
    let groups = plain(group_model::groups(business))?;
    let names = groups.into_iter().filter(|group| his.contains(&group.id));
    let groups: Vec<Value> =
        names.map(|group| json!({ "group_id": group.id, "name": group.name })).collect();
    let mut value = as_json(&user, &departs);
    let mut text = String::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Number(seconds) if key == "created" || key == "updated" => {
                local_time(seconds.as_i64().unwrap_or_default())
            }
            Value::Null => String::new(),
            value => value.to_string(),
        };
        text += format!("{key:<12} {shown}").trim_end();
        text.push('\n');
    }
    let names: Vec<String> = groups.iter().map(group_text).collect();
    text += format!("{:<12} {}", "groups", names.join(", ")).trim_end();
    value["groups"] = groups.into();
    output.one(&value, &text)
}

fn group_text(group: &Value) -> String {
    format!("{} ({})", group["name"].as_str().unwrap_or_default(), group["group_id"])
}

fn local_time(unix_seconds: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_second(unix_seconds) else {
        return unix_seconds.to_string();
    };
    let time = time.to_zoned(jiff::tz::TimeZone::system());
    time.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

fn passwd(
    business: &Business,
    output: &Output,
    user: &str,
    password: &NewPassword,
) -> anyhow::Result<()> {
    let info = find_user(business, user)?.user_info;
    let name = info.user_real_name;
    let stored = password.read(&name, business.password_form)?;
    plain(user_model::set_password(business, info.user_id, &stored))?;
    plain(login_failures::forgive_all(business, &name))
        .context("the password is set, but failed logins still count")?;
    let value = json!({ "user_id": info.user_id, "name": name });
    output.one(&value, &format!("user {}, {name}, has a new password", info.user_id))
}

fn disable(business: &Business, output: &Output, user: &str) -> anyhow::Result<()> {
    let info = find_user(business, user)?.user_info;
    plain(user_model::update_user_status(business, info.user_id, STATUS_LEFT))?;
    plain(device_tokens::set(business, info.user_id, "", None))
        .context("he cannot log in any more, but his phone is still told about messages")?;
    changed(output, info.user_id, &info.user_real_name, "disabled")
}

fn enable(business: &Business, output: &Output, user: &str) -> anyhow::Result<()> {
    let info = find_user(business, user)?.user_info;
    plain(user_model::update_user_status(business, info.user_id, STATUS_NORMAL))?;
    changed(output, info.user_id, &info.user_real_name, "enabled")
}

fn changed(output: &Output, user_id: u32, name: &str, status: &str) -> anyhow::Result<()> {
    let value = json!({ "user_id": user_id, "name": name, "status": status });
    output.one(&value, &format!("user {user_id}, {name}, {status}"))
}
