//! `teamtalk depart`.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Store, depart_name, departs, find_depart, find_users, plain, refused};
use crate::db_proxy_server::business::depart_model::{self, DEPART_NAME_CHARS_MAX, Depart};
use crate::db_proxy_server::business::user_model;
use crate::tool::output::Output;

/// Adds, lists and moves departments
///
/// Departments form a tree, which clients show with the users in it. Clients that are connected see
/// a change the next time they ask, at the latest when they log in again.
#[derive(Args, Debug)]
pub struct DepartCommand {
    #[command(flatten)]
    store: Store,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Add a department
    #[command(after_help = "Example: teamtalk depart add Backend --under Development")]
    Add {
        /// Its name
        name: String,
        /// The department it belongs to: name or number [default: none]
        #[arg(long, value_name = "DEPART")]
        under: Option<String>,
        /// Its place among its neighbours; the lowest comes first
        #[arg(long, value_name = "N", default_value_t = 0)]
        priority: u32,
    },
    /// List the departments as a tree, with how many users each has
    List,
    /// Move a department, or users, to another department
    #[command(after_help = "Examples:\n  \
                      teamtalk depart move Backend --under Development\n  \
                      teamtalk depart move Backend --top --priority 3\n  \
                      teamtalk depart move --user alice --user bob --under Backend")]
    Move {
        /// The department: name or number
        #[arg(required_unless_present = "users", conflicts_with = "users")]
        depart: Option<String>,
        /// A user instead: login name or id; may be given several times
        #[arg(long = "user", value_name = "USER")]
        users: Vec<String>,
        /// Where to: name or number of a department
        #[arg(long, value_name = "DEPART", conflicts_with = "top")]
        under: Option<String>,
        /// To the top, into no department
        #[arg(long)]
        top: bool,
        /// Its place among its neighbours from now on
        #[arg(long, value_name = "N", conflicts_with = "users")]
        priority: Option<u32>,
    },
}

impl DepartCommand {
    /// Does it and prints what came of it.
    ///
    /// # Errors
    /// The storage is away, or there is no such department.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        match &self.what {
            What::Add { name, under, priority } => {
                self.add(output, name, under.as_deref(), *priority)
            }
            What::List => self.list(output),
            What::Move { depart, users, under, top, priority } => {
                if under.is_none() && !top && priority.is_none() {
                    bail!("where to? --under DEPART or --top");
                }
                match depart {
                    Some(name) => self.move_depart(output, name, under.as_deref(), *top, *priority),
                    None => self.move_users(output, users, under.as_deref()),
                }
            }
        }
    }

    fn add(
        &self,
        output: &Output,
        name: &str,
        under: Option<&str>,
        priority: u32,
    ) -> anyhow::Result<()> {
        check_name(name)?;
        let business = self.store.open()?;
        let departs = departs(&business)?;
        let parent_id = under.map(|name| find_depart(&departs, name)).transpose()?;
        let parent_id = parent_id.map_or(0, |depart| depart.id);
        if departs.iter().any(|depart| depart.parent_id == parent_id && depart.name == name) {
            return Err(refused(format!("there is a department {name} in that place already")));
        }
        let now = business.now();
        let id =
            depart_model::insert_depart(&mut *business.master()?, name, parent_id, priority, now)?;
        let value = json!({ "depart_id": id, "name": name, "parent_id": parent_id });
        output.one(&value, &format!("department {id}, {name}, added"))
    }

    fn list(&self, output: &Output) -> anyhow::Result<()> {
        let business = self.store.open()?;
        let departs = departs(&business)?;
        let users = plain(user_model::all_users(&business))?;
        let count = |id: u32| {
            let here = users.iter().map(|user| &user.user_info);
            here.filter(|u| u.department_id == id && u.status != user_model::STATUS_LEFT).count()
        };
        let row = |(depth, depart): (usize, &Depart)| {
            let name = match output.is_json() {
                true => depart.name.clone(),
                false => "  ".repeat(depth) + &depart.name,
            };
            json!({
                "depart_id": depart.id,
                "name": name,
                "parent_id": depart.parent_id,
                "priority": depart.priority,
                "users": count(depart.id),
            })
        };
        let rows: Vec<Value> = as_tree(&departs).into_iter().map(row).collect();
        output.list(&["depart_id", "name", "parent_id", "priority", "users"], &rows)
    }

    fn move_depart(
        &self,
        output: &Output,
        name: &str,
        under: Option<&str>,
        top: bool,
        priority: Option<u32>,
    ) -> anyhow::Result<()> {
        let business = self.store.open()?;
        let departs = departs(&business)?;
        let depart = find_depart(&departs, name)?;
        let parent_id = match under {
            Some(name) => find_depart(&departs, name)?.id,
            None if top => 0,
            None => depart.parent_id,
        };
        if is_within(&departs, parent_id, depart.id) {
            return Err(refused(format!(
                "{} cannot be moved into {}, which is a part of it",
                depart.name,
                depart_name(&departs, parent_id)
            )));
        }
        let priority = priority.unwrap_or(depart.priority);
        let moved = Depart { parent_id, priority, ..depart.clone() };
        plain(depart_model::update_depart(&business, &moved))?;
        let value = json!({
            "depart_id": moved.id,
            "name": moved.name,
            "parent_id": parent_id,
            "priority": priority,
        });
        output.one(&value, &format!("department {}, {}, moved", moved.id, moved.name))
    }

    fn move_users(
        &self,
        output: &Output,
        users: &[String],
        under: Option<&str>,
    ) -> anyhow::Result<()> {
        let business = self.store.open()?;
        let departs = departs(&business)?;
        let depart_id = under.map(|name| find_depart(&departs, name)).transpose()?;
        let depart_id = depart_id.map_or(0, |depart| depart.id);
        let ids = find_users(&business, users)?;
        plain(user_model::update_user_departs(&business, &ids, depart_id))?;
        let value = json!({ "user_ids": ids, "depart_id": depart_id });
        output.one(&value, &format!("{} users moved", ids.len()))
    }
}

/// What may be the name of a department.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    if name.trim().is_empty() || name.trim() != name || name.contains(char::is_control) {
        bail!("a department needs a name without blanks around it");
    }
    if name.chars().count() > DEPART_NAME_CHARS_MAX {
        bail!("the name of a department has at most {DEPART_NAME_CHARS_MAX} characters");
    }
    Ok(())
}

/// Whether `id` is `whole`, or below it.
fn is_within(departs: &[Depart], id: u32, whole: u32) -> bool {
    let mut at = id;
    // Rows of others may form a ring.
    for _ in 0..=departs.len() {
        if at == whole {
            return true;
        }
        match departs.iter().find(|depart| depart.id == at) {
            Some(depart) => at = depart.parent_id,
            None => return false,
        }
    }
    false
}

/// The departments with their depths, each behind the one it belongs to. What belongs to nothing
/// that is there stands at the top.
fn as_tree(departs: &[Depart]) -> Vec<(usize, &Depart)> {
    let mut rows: Vec<(usize, &Depart)> = Vec::with_capacity(departs.len());
    let has_parent = |depart: &Depart| departs.iter().any(|other| other.id == depart.parent_id);
    let mut waiting: Vec<(usize, &Depart)> =
        departs.iter().rev().filter(|depart| !has_parent(depart)).map(|d| (0, d)).collect();
    while let Some((depth, depart)) = waiting.pop() {
        rows.push((depth, depart));
        let below = departs.iter().rev().filter(|other| other.parent_id == depart.id);
        waiting.extend(below.map(|other| (depth + 1, other)));
    }
    // A ring hangs on nothing.
    let missing = departs.iter().filter(|d| !rows.iter().any(|(_, row)| row.id == d.id));
    let missing: Vec<(usize, &Depart)> = missing.map(|depart| (0, depart)).collect();
    rows.extend(missing);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departs(links: &[(u32, u32)]) -> Vec<Depart> {
        let depart = |&(id, parent_id)| Depart { id, parent_id, name: id.to_string(), priority: 0 };
        links.iter().map(depart).collect()
    }

    #[test]
    fn every_department_is_shown_once_even_in_a_ring() {
        let all = departs(&[(1, 0), (2, 1), (3, 0), (4, 2), (5, 99), (6, 7), (7, 6), (8, 8)]);
        let rows: Vec<(usize, u32)> =
            as_tree(&all).iter().map(|(depth, depart)| (*depth, depart.id)).collect();
        assert_eq!(rows, [(0, 1), (1, 2), (2, 4), (0, 3), (0, 5), (0, 6), (0, 7), (0, 8)]);
    }

    #[test]
    fn what_lies_within_is_found_and_a_ring_ends() {
        let all = departs(&[(1, 0), (2, 1), (4, 2), (6, 7), (7, 6)]);
        assert!(is_within(&all, 4, 1) && is_within(&all, 1, 1));
        assert!(!is_within(&all, 1, 4) && !is_within(&all, 0, 1) && !is_within(&all, 6, 1));
    }

    #[test]
    fn names_have_no_blanks_around_them() {
        check_name("销售 部").unwrap();
        for name in ["", " ", " a", "a\n", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
