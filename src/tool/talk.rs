//! `send` and `listen`: a chat for scripts.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::account::Account;
use super::output::Output;
use crate::client::{Client, ClientError, Event, Message, Session, Update};
use crate::pb::base_define::{UnreadInfo, UserInfo};

/// Sends a message.
#[derive(Args, Debug)]
pub struct Send {
    #[command(flatten)]
    account: Account,

    /// To this user: login name, nickname or id
    #[arg(long, value_name = "USER", required_unless_present = "group")]
    to: Option<String>,

    /// To this group: name or id
    #[arg(long, value_name = "GROUP", conflicts_with = "to")]
    group: Option<String>,

    /// What to say
    text: String,
}

/// Prints messages as they come.
#[derive(Args, Debug)]
pub struct Listen {
    #[command(flatten)]
    account: Account,

    /// Stop after so many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// Leave the messages unread
    #[arg(long)]
    peek: bool,
}

/// How long a message may take to be stored, a restart of servers included.
const SEND_PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing may happen before it is looked whether it is time to give up.
const TURN: Duration = Duration::from_secs(1);

/// How often it is looked whether a mark is set. A look takes longer than setting it.
const LOOKS_MAX: u32 = 100;

impl Send {
    /// Sends it and prints its number.
    ///
    /// # Errors
    /// It is not stored, or nobody knows.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let mut client = self.account.client()?;
        let session = match (&self.to, &self.group) {
            (Some(name), _) => Session::User(find_user(&mut client, name)?),
            (_, Some(name)) => Session::Group(find_group(&mut client, name)?),
            (None, None) => bail!("neither --to nor --group"),
        };
        client.set_timeout(SEND_PATIENCE);
        let msg_id = client.send_text(session, &self.text)?;
        output.one(&json!({ "msg_id": msg_id }), &format!("sent as message {msg_id}"))
    }
}

/// The id of the user with this login name, nickname or id.
///
/// # Errors
/// There is none.
pub fn find_user(client: &mut Client, name: &str) -> anyhow::Result<u32> {
    let (_, users) = client.all_users(0)?;
    let by = |is: &dyn Fn(&UserInfo) -> bool| users.iter().find(|user| is(user));
    let found = by(&|user| user.user_real_name == name)
        .or_else(|| by(&|user| user.user_nick_name == name))
        .or_else(|| by(&|user| name.parse() == Ok(user.user_id)));
    match found {
        Some(user) => Ok(user.user_id),
        None => {
            Err(ClientError::Refused { what: format!("nobody is called {name}"), code: 1 }.into())
        }
    }
}

/// The id of the group with this name or id.
///
/// # Errors
/// The user is in no such group.
pub fn find_group(client: &mut Client, name: &str) -> anyhow::Result<u32> {
    let groups = all_groups(client)?;
    let by_name = groups.into_iter().find(|(_, group)| group == name).map(|(id, _)| id);
    // One in which nobody has talked yet is found by its id alone.
    let mut by_id = || name.parse().ok().and_then(|id| client.group(id).transpose());
    let found = match by_name {
        None => by_id().transpose()?.map(|group| group.group_id),
        found => found,
    };
    match found {
        Some(id) => Ok(id),
        None => {
            Err(ClientError::Refused { what: format!("no group is called {name}"), code: 1 }.into())
        }
    }
}

/// The groups of the user, lasting ones and those somebody has talked in.
fn all_groups(client: &mut Client) -> anyhow::Result<Vec<(u32, String)>> {
    let mut known = client.groups()?;
    for info in client.recent_sessions(0)? {
        if let Session::Group(group_id) = Session::new(info.session_type(), info.session_id) {
            known.push(crate::pb::base_define::GroupVersionInfo { group_id, version: 0 });
        }
    }
    known.iter_mut().for_each(|group| group.version = 0);
    let groups = client.groups_info(&known)?;
    Ok(groups.into_iter().map(|group| (group.group_id, group.group_name)).collect())
}

impl Listen {
    /// Prints messages until it is time to stop.
    ///
    /// # Errors
    /// The login is refused, or too few messages came in time.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let mut user = self.account.session()?;
        user.connect()?;
        let (mut left, mut seconds) = (self.count, self.timeout);
        let (mut me, mut heard) = (0, HashMap::new());
        while left != Some(0) {
            match user.next_update(TURN)? {
                Some(Update::Connected(info)) => me = info.user_id,
                Some(Update::Event(Event::Message(message))) => {
                    output.one(&as_json(&message, me), &as_text(&message, me))?;
                    left = left.map(|left| left - 1);
                    if let Some(client) = user.client().filter(|_| !self.peek) {
                        // It is read again at the next start if this gets lost.
                        let _ = client.mark_read(message.session(me), message.msg_id);
                        heard.insert(message.session(me), message.msg_id);
                    }
                }
                Some(_) => {}
                None => match &mut seconds {
                    Some(0) => bail!("not enough messages in time"),
                    Some(seconds) => *seconds -= 1,
                    None => {}
                },
            }
        }
        if let Some(client) = user.client() {
            wait_until_read(client, &heard)?;
        }
        Ok(())
    }
}

/// A mark has no answer, and who listens next must not hear the same again: it is looked at until
/// it is set.
fn wait_until_read(client: &mut Client, heard: &HashMap<Session, u32>) -> Result<(), ClientError> {
    let is_read = |info: &UnreadInfo| {
        let session = Session::new(info.session_type(), info.session_id);
        let newer = |heard: &u32| info.latest_msg_id.saturating_sub(*heard);
        heard.get(&session).is_none_or(|heard| info.unread_cnt <= newer(heard))
    };
    for _ in 0..LOOKS_MAX {
        if client.unread()?.iter().all(is_read) {
            break;
        }
    }
    Ok(())
}

fn as_json(message: &Message, me: u32) -> Value {
    let (kind, id) = match message.session(me) {
        Session::User(id) => ("user", id),
        Session::Group(id) => ("group", id),
    };
    json!({
        "msg_id": message.msg_id,
        "from": message.from_user_id,
        "session": kind,
        "session_id": id,
        "time": message.create_time,
        "type": message.msg_type,
        "text": message.text(),
    })
}

fn as_text(message: &Message, me: u32) -> String {
    let place = match message.session(me) {
        Session::User(id) => format!("user {id}"),
        Session::Group(id) => format!("group {id}"),
    };
    let text = message.text().unwrap_or("(no text)");
    format!("{place}, {}: {text}", message.from_user_id)
}
