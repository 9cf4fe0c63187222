//! `teamtalk group`.

use std::collections::BTreeSet;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Store, find_group, find_user, find_users, plain, refused};
use crate::db_proxy_server::business::Business;
use crate::db_proxy_server::business::group_model::{
    self, ADMINISTRATOR, GROUP_NAME_CHARS_MAX, GroupRecord, MEMBERS_MAX,
};
use crate::db_proxy_server::business::user_model;
use crate::pb::base_define::{GroupModifyType, GroupType};
use crate::tool::output::Output;

/// Makes groups, lists them, and changes their members
///
/// Clients see a change the next time they ask for their groups. Messages reach new members at
/// once if one of them writes, and within half a minute otherwise, which is how long msg_servers
/// remember who is a member.
#[derive(Args, Debug)]
pub struct GroupCommand {
    #[command(flatten)]
    store: Store,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a group
    #[command(after_help = "Example: teamtalk group create Lunch alice bob carol")]
    Create {
        /// Its name
        name: String,
        /// Who is in it: login names or ids. The first one is the creator, who may change members
        #[arg(required = true, value_name = "USER")]
        members: Vec<String>,
        /// Make a temporary group, to which every member may add others
        #[arg(long)]
        temporary: bool,
    },
    /// List groups
    List {
        /// Those that this user is in
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// List the members of a group
    Members {
        /// Its name or number
        group: String,
    },
    /// Make users members of a group
    Add {
        /// Its name or number
        group: String,
        /// Login names or ids
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
    /// End memberships; who is left out keeps his messages and gets no new ones
    Remove {
        /// Its name or number
        group: String,
        /// Login names or ids
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
}

impl GroupCommand {
    /// Does it and prints what came of it.
    ///
    /// # Errors
    /// The storage is away, or there is no such group or user.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let business = self.store.open()?;
        match &self.what {
            What::Create { name, members, temporary } => {
                let group_type = if *temporary { GroupType::Tmp } else { GroupType::Normal };
                create(&business, output, name, members, group_type)
            }
            What::List { user } => list(&business, output, user.as_deref()),
            What::Members { group } => members(&business, output, group),
            What::Add { group, users } => {
                change(&business, output, group, users, GroupModifyType::Add)
            }
            What::Remove { group, users } => {
                change(&business, output, group, users, GroupModifyType::Del)
            }
        }
    }
}

fn create(
    business: &Business,
    output: &Output,
    name: &str,
    members: &[String],
    group_type: GroupType,
) -> anyhow::Result<()> {
    if name.trim().is_empty() || name.contains(char::is_control) {
        bail!("a group needs a name");
    }
    if name.chars().count() > GROUP_NAME_CHARS_MAX {
        bail!("the name of a group has at most {GROUP_NAME_CHARS_MAX} characters");
    }
    let ids = find_users(business, members)?;
    let (creator, members) = (ids[0], ids.into_iter().collect::<BTreeSet<u32>>());
    let made = group_model::create_group(business, creator, name, "", group_type as i32, &members);
    let Some(id) = plain(made)? else {
        return Err(refused(format!("a group has at most {MEMBERS_MAX} members")));
    };
    let value = json!({ "group_id": id, "name": name, "members": members });
    output.one(&value, &format!("group {id}, {name}, made with {} members", members.len()))
}

fn list(business: &Business, output: &Output, user: Option<&str>) -> anyhow::Result<()> {
    let mut groups = plain(group_model::groups(business))?;
    if let Some(name) = user {
        let user_id = find_user(business, name)?.user_info.user_id;
        let his = plain(group_model::groups_of(business, user_id))?;
        groups.retain(|group| his.contains(&group.id));
    }
    let row = |group: &GroupRecord| {
        json!({
            "group_id": group.id,
            "name": group.name,
            "type": type_name(group.group_type),
            "creator": group.creator,
            "members": group.member_cnt,
            "version": group.version,
        })
    };
    let rows: Vec<Value> = groups.iter().map(row).collect();
    output.list(&["group_id", "name", "type", "creator", "members", "version"], &rows)
}

fn type_name(group_type: u32) -> &'static str {
    if group_type == GroupType::Tmp as u32 { "temporary" } else { "normal" }
}

fn members(business: &Business, output: &Output, group: &str) -> anyhow::Result<()> {
    let group = find_group(business, group)?;
    let ids = plain(group_model::members(business, group.id))?;
    let users = plain(user_model::all_users(business))?;
    let row = |id: &u32| {
        let user = users.iter().find(|user| user.user_info.user_id == *id);
        json!({
            "user_id": id,
            "name": user.map(|user| &user.user_info.user_real_name),
            "nick": user.map(|user| &user.user_info.user_nick_name),
            "creator": *id == group.creator,
        })
    };
    let rows: Vec<Value> = ids.iter().map(row).collect();
    output.list(&["user_id", "name", "nick", "creator"], &rows)
}

fn change(
    business: &Business,
    output: &Output,
    group: &str,
    users: &[String],
    how: GroupModifyType,
) -> anyhow::Result<()> {
    let group = find_group(business, group)?;
    let wanted: BTreeSet<u32> = find_users(business, users)?.into_iter().collect();
    let done = group_model::modify_group_member(business, ADMINISTRATOR, group.id, how, &wanted);
    let Some(done) = plain(done)? else {
        let why = match how {
            GroupModifyType::Add if group.member_cnt as usize + wanted.len() > MEMBERS_MAX => {
                format!("a group has at most {MEMBERS_MAX} members")
            }
            GroupModifyType::Add => format!("all of them are in {} already", group.name),
            GroupModifyType::Del => format!("none of them is in {}", group.name),
        };
        return Err(refused(why));
    };
    let verb = if how == GroupModifyType::Add { "joined" } else { "left" };
    let value = json!({ "group_id": group.id, verb: done.changed, "members": done.current });
    let (changed, now) = (done.changed.len(), done.current.len());
    output
        .one(&value, &format!("{changed} users {verb} {}, which has {now} members now", group.name))
}
