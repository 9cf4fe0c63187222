//! What an original db_proxy_server, running beside this one, wants to find in the cache.
//!
//! The original keeps unread counters, the members of groups and their settings in Redis alone.
//! Here the database has them all, and the cache may be lost. So that both servers can work on one
//! installation while it is moved, the keys of the original are written as well: after the commit,
//! and a failure costs no request its answer. They are read only for rows that the original made,
//! which the database knows nothing more about. Nobody shares an embedded cache, so nothing is
//! written there.

use log::warn;

use super::msg_ids::Conversation;
use super::{Business, HandlerError};
use crate::storage::cache_pool::{GROUP_MEMBER, GROUP_SET, UNREAD};
use crate::storage::{CacheCmd, CacheManager, CacheReply};

/// The field of the hashes that count messages of groups.
const COUNT: &str = "count";

/// Keys that are copied in one round trip.
const COPIED_AT_ONCE: usize = 1000;

/// What happened to the unread messages of somebody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counted {
    /// A message of the first for the second.
    Single(u32, u32),
    /// A message of this user to this group.
    Group(u32, u32),
    /// The first has read everything of the second.
    SingleRead(u32, u32),
    /// This user has read everything of this group.
    GroupRead(u32, u32),
}

/// Counts what is unread now.
///
/// C++: db_proxy_server/business/GroupMessageModel.cpp CGroupMessageModel::incMessageCount
/// Differs: one pipeline for many messages, and a failure is no failure of the messages, which
/// are counted in the database (F95, S4).
pub fn count(business: &Business, happened: &[Counted]) {
    if happened.is_empty() || !business.cache.is_shared(UNREAD) {
        return;
    }
    if let Err(error) = try_count(business, happened) {
        warn!("unread messages not counted for an original server beside: {error}");
    }
}

fn try_count(business: &Business, happened: &[Counted]) -> Result<(), HandlerError> {
    let cmd = |counted: &Counted| match *counted {
        Counted::Single(from_id, to_id) => {
            CacheCmd::HIncrBy { key: unread_key(to_id), field: from_id.to_string(), by: 1 }
        }
        Counted::Group(_, group_id) => {
            CacheCmd::HIncrBy { key: sent_key(group_id), field: COUNT.to_owned(), by: 1 }
        }
        Counted::SingleRead(user_id, peer_id) => {
            CacheCmd::HDel { key: unread_key(user_id), fields: vec![peer_id.to_string()] }
        }
        Counted::GroupRead(_, group_id) => {
            CacheCmd::HGet { key: sent_key(group_id), field: COUNT.to_owned() }
        }
    };
    let cmds: Vec<CacheCmd> = happened.iter().map(cmd).collect();
    let mut cache = business.cache.cache_conn(UNREAD)?;
    let replies = cache.pipeline(&cmds)?;
    // Who writes to a group has seen everything before: what it counts then is what he has seen.
    let seen = |(counted, reply): (&Counted, CacheReply)| {
        let (Counted::Group(user_id, group_id) | Counted::GroupRead(user_id, group_id)) = *counted
        else {
            return None;
        };
        let sent = match reply {
            CacheReply::Int(count) => count.to_string(),
            CacheReply::Text(Some(count)) => count,
            _ => return None,
        };
        Some(CacheCmd::HSet {
            key: seen_key(user_id, group_id),
            field: COUNT.to_owned(),
            value: sent,
        })
    };
    let cmds: Vec<CacheCmd> = happened.iter().zip(replies).filter_map(seen).collect();
    if !cmds.is_empty() {
        cache.pipeline(&cmds)?;
    }
    Ok(())
}

/// How many messages of these sessions the original counts as unread: peers first, then groups.
pub fn unread(
    cache: &CacheManager,
    user_id: u32,
    peers: &[u32],
    groups: &[u32],
) -> Result<Vec<u32>, HandlerError> {
    let mut cmds = Vec::new();
    for peer_id in peers {
        cmds.push(CacheCmd::HGet { key: unread_key(user_id), field: peer_id.to_string() });
    }
    for &group_id in groups {
        for key in [sent_key(group_id), seen_key(user_id, group_id)] {
            cmds.push(CacheCmd::HGet { key, field: COUNT.to_owned() });
        }
    }
    if cmds.is_empty() || !cache.is_shared(UNREAD) {
        return Ok(vec![0; peers.len() + groups.len()]);
    }
    let replies = cache.cache_conn(UNREAD)?.pipeline(&cmds)?;
    let number = |reply: CacheReply| -> Result<u32, HandlerError> {
        Ok(reply.into_text()?.and_then(|text| text.parse().ok()).unwrap_or(0))
    };
    let numbers: Vec<u32> = replies.into_iter().map(number).collect::<Result<_, _>>()?;
    let (singles, counts) = numbers.split_at(peers.len());
    let mut unread = singles.to_vec();
    // A difference of its own for each group, and never below nothing.
    unread.extend(counts.chunks_exact(2).map(|pair| pair[0].saturating_sub(pair[1])));
    Ok(unread)
}

/// Tells who is in a group now, and who is not any more.
pub fn set_members(business: &Business, group_id: u32, joined: &[u32], left: &[u32], now: u32) {
    if !business.cache.is_shared(GROUP_MEMBER) {
        return;
    }
    let key = || members_key(group_id);
    let fields = joined.iter().map(|id| (id.to_string(), now.to_string())).collect();
    let cmds = [
        CacheCmd::HMSet { key: key(), fields },
        CacheCmd::HDel { key: key(), fields: left.iter().map(u32::to_string).collect() },
    ];
    let told = business.cache.cache_conn(GROUP_MEMBER).and_then(|mut cache| cache.pipeline(&cmds));
    if let Err(error) = told {
        warn!("group={group_id} members not told to an original server beside: {error}");
    }
    // Who joins has nothing to catch up with.
    let caught_up: Vec<Counted> =
        joined.iter().map(|&user_id| Counted::GroupRead(user_id, group_id)).collect();
    count(business, &caught_up);
}

/// The field of the hash of a group that says whether a member shields himself from its pushes.
fn shield_field(user_id: u32) -> String {
    const IM_GROUP_SETTING_PUSH: u32 = 1;
    format!("{user_id}_{IM_GROUP_SETTING_PUSH}")
}

/// Tells whether a member shields himself from the pushes of a group.
pub fn set_shield(business: &Business, group_id: u32, user_id: u32, shield_status: u32) {
    if !business.cache.is_shared(GROUP_SET) {
        return;
    }
    let (key, field) = (settings_key(group_id), shield_field(user_id));
    let told = business
        .cache
        .cache_conn(GROUP_SET)
        .and_then(|mut cache| cache.hset(&key, &field, &shield_status.to_string()));
    if let Err(error) = told {
        warn!("group={group_id} shield not told to an original server beside: {error}");
    }
}

/// Whether these members shield themselves from the pushes of a group, as the original knows it.
pub fn shields(
    cache: &CacheManager,
    group_id: u32,
    user_ids: &[u32],
) -> Result<Vec<u32>, HandlerError> {
    if user_ids.is_empty() || !cache.is_shared(GROUP_SET) {
        return Ok(vec![0; user_ids.len()]);
    }
    let fields = user_ids.iter().map(|&user_id| shield_field(user_id)).collect();
    let cmd = CacheCmd::HMGet { key: settings_key(group_id), fields };
    let texts = cache.cache_conn(GROUP_SET)?.command(cmd)?.into_texts()?;
    let status = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(texts.into_iter().map(status).collect())
}

/// Copies what the original keeps of an installation into another cache that originals share.
/// `members` are pairs of group and user.
pub fn copy(
    from: &CacheManager,
    to: &CacheManager,
    users: &[u32],
    relations: &[u32],
    groups: &[u32],
    members: &[(u32, u32)],
) -> Result<(), HandlerError> {
    let hash = |key: String| (UNREAD, CacheCmd::HGetAll { key });
    let string = |key: String| (UNREAD, CacheCmd::Get { key });
    let mut wanted: Vec<(&str, CacheCmd)> = Vec::new();
    wanted.extend(users.iter().map(|&id| hash(unread_key(id))));
    wanted.extend(relations.iter().map(|&id| string(Conversation::Single(id).key())));
    for &id in groups {
        wanted.push(string(Conversation::Group(id).key()));
        wanted.push(hash(sent_key(id)));
        wanted.push((GROUP_MEMBER, CacheCmd::HGetAll { key: members_key(id) }));
        wanted.push((GROUP_SET, CacheCmd::HGetAll { key: settings_key(id) }));
    }
    wanted.extend(members.iter().map(|&(group, user)| hash(seen_key(user, group))));
    for pool in [UNREAD, GROUP_MEMBER, GROUP_SET] {
        let cmds: Vec<CacheCmd> = wanted
            .iter()
            .filter(|(of, _)| *of == pool && from.is_shared(pool) && to.is_shared(pool))
            .map(|(_, cmd)| cmd.clone())
            .collect();
        for cmds in cmds.chunks(COPIED_AT_ONCE) {
            let replies = from.cache_conn(pool)?.pipeline(cmds)?;
            let found = cmds.iter().zip(replies).filter_map(|(cmd, reply)| stored(cmd, reply));
            let writes: Vec<CacheCmd> = found.collect();
            if !writes.is_empty() {
                to.cache_conn(pool)?.pipeline(&writes)?;
            }
        }
    }
    Ok(())
}

/// What stores again what a command has read, if there was something.
fn stored(cmd: &CacheCmd, reply: CacheReply) -> Option<CacheCmd> {
    match (cmd, reply) {
        (CacheCmd::Get { key }, CacheReply::Text(Some(value))) => {
            Some(CacheCmd::Set { key: key.clone(), value })
        }
        (CacheCmd::HGetAll { key }, CacheReply::Map(fields)) if !fields.is_empty() => {
            Some(CacheCmd::HMSet { key: key.clone(), fields: fields.into_iter().collect() })
        }
        _ => None,
    }
}

fn members_key(group_id: u32) -> String {
    format!("group_member_{group_id}")
}

fn settings_key(group_id: u32) -> String {
    format!("group_set_{group_id}")
}

fn unread_key(user_id: u32) -> String {
    format!("unread_{user_id}")
}

fn sent_key(group_id: u32) -> String {
    format!("{group_id}_im_group_msg")
}

fn seen_key(user_id: u32, group_id: u32) -> String {
    format!("{user_id}_{group_id}_im_user_group")
}
