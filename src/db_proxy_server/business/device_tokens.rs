//! Where a user's phone is told about messages: tokens of push services, kept in the cache.

use std::collections::{HashMap, HashSet};

use log::warn;

use super::quiet_hours::is_quiet;
use super::{Business, HandlerError, unread, user_model};
use crate::base::limits::IDS_PER_STATEMENT_MAX;
use crate::pb::base_define::{ClientType, UserTokenInfo};
use crate::storage::cache_pool::TOKEN;
use crate::storage::{CacheCmd, CacheManager};

/// The longest token that is kept. Those of Apple have 64 characters, those of others up to a few
/// hundred.
pub const TOKEN_LEN_MAX: usize = 512;

/// `push_type`: the phone may make a sound.
const PUSH_TYPE_NORMAL: u32 = 1;

fn user_key(user_id: u32) -> String {
    format!("device_{user_id}")
}

/// Whose a token is. A name of its own: the original uses `device_<token>`, so that a token equal
/// to the id of a user takes his place.
fn token_key(token: &str) -> String {
    format!("device_token_{token}")
}

/// Where the original says whose a token is. Under a number it keeps the token of that user.
fn original_key(token: &str) -> String {
    if token.parse::<u32>().is_ok() { token_key(token) } else { format!("device_{token}") }
}

fn is_token(token: &str) -> bool {
    token.len() <= TOKEN_LEN_MAX && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Remembers the token of a user; an empty one means that he has none any more. A token that moves
/// is taken from its previous owner, and what cannot be a token is ignored. User 0 is nobody: a
/// token that moves to him has no owner any more.
pub fn set(
    business: &Business,
    user_id: u32,
    token: &str,
    client_type: Option<i32>,
) -> Result<(), HandlerError> {
    if !is_token(token) {
        warn!("user={user_id} device token ignored: bytes={}", token.len());
        return Ok(());
    }
    let value = match client_type.map(ClientType::try_from) {
        _ if token.is_empty() => String::new(),
        Some(Ok(ClientType::Ios)) => format!("ios:{token}"),
        Some(Ok(ClientType::Android)) => format!("android:{token}"),
        _ => token.to_owned(),
    };
    let mut cache = business.cache.cache_conn(TOKEN)?;
    let before = cache.mget(&[user_key(user_id), token_key(token), original_key(token)])?;
    let mut cmds = Vec::new();
    if let Some(old) = before[0].as_deref().and_then(token_of)
        && old != token
    {
        cmds.push(CacheCmd::Del { key: token_key(old) });
    }
    let owner = before[1].as_ref().or(before[2].as_ref());
    let previous: Option<u32> = owner.and_then(|owner| owner.parse().ok());
    if let Some(previous) = previous
        && previous != user_id
        && cache.get(&user_key(previous))?.as_deref().and_then(token_of) == Some(token)
    {
        cmds.push(CacheCmd::Set { key: user_key(previous), value: String::new() });
    }
    if user_id == 0 {
        cmds.extend([token_key(token), original_key(token)].map(|key| CacheCmd::Del { key }));
    } else {
        cmds.push(CacheCmd::Set { key: user_key(user_id), value });
    }
    if !token.is_empty() && user_id != 0 {
        cmds.push(CacheCmd::Set { key: token_key(token), value: user_id.to_string() });
    }
    cache.pipeline(&cmds)?;
    Ok(())
}

/// Copies the tokens of these users from another installation, and gives how many there were. The
/// original leaves a token with its previous owner as well; only the present one gets it.
pub fn copy(from: &CacheManager, to: &Business, user_ids: &[u32]) -> Result<usize, HandlerError> {
    let mut copied = 0;
    for ids in user_ids.chunks(IDS_PER_STATEMENT_MAX) {
        let keys: Vec<String> = ids.iter().map(|&id| user_key(id)).collect();
        let values = from.cache_conn(TOKEN)?.mget(&keys)?;
        for (&user_id, value) in ids.iter().zip(&values) {
            let Some((kind, token)) = value.as_deref().and_then(parse) else { continue };
            let owners = from.cache_conn(TOKEN)?.mget(&[token_key(token), original_key(token)])?;
            let owner = owners.iter().flatten().find_map(|owner| owner.parse::<u32>().ok());
            if owner.is_none_or(|owner| owner == user_id) {
                set(to, user_id, token, Some(kind.into()))?;
                copied += 1;
            }
        }
    }
    Ok(copied)
}

/// The token of what is stored for a user, `ios:<token>` or `android:<token>`.
fn token_of(value: &str) -> Option<&str> {
    value.split_once(':').map(|(_, token)| token)
}

/// Where these users are told, except who has no token, and on iOS who is not to be disturbed at
/// this hour; Android phones know that themselves. One round trip for all tokens, and a handful of
/// queries for all counts.
pub fn tokens(business: &Business, user_ids: &[u32]) -> Result<Vec<UserTokenInfo>, HandlerError> {
    let mut asked = HashSet::new();
    let user_ids: Vec<u32> = user_ids.iter().copied().filter(|id| asked.insert(*id)).collect();
    let mut known: Vec<(u32, ClientType, String)> = Vec::new();
    for ids in user_ids.chunks(IDS_PER_STATEMENT_MAX) {
        let keys: Vec<String> = ids.iter().map(|&id| user_key(id)).collect();
        let values = business.cache.cache_conn(TOKEN)?.mget(&keys)?;
        for (&user_id, value) in ids.iter().zip(values) {
            let Some((client_type, token)) = value.as_deref().and_then(parse) else { continue };
            known.push((user_id, client_type, token.to_owned()));
        }
    }
    let mut conn = business.master()?;
    if is_quiet(business.quiet_hours, &business.zone, business.now()) {
        let phones = known.iter().filter(|(_, client_type, _)| *client_type == ClientType::Ios);
        let ids: Vec<u32> = phones.map(|(user_id, ..)| *user_id).collect();
        let quiet = user_model::shielded(&mut *conn, &ids)?;
        known.retain(|(user_id, kind, _)| *kind != ClientType::Ios || !quiet.contains(user_id));
    }
    let ids: Vec<u32> = known.iter().map(|(user_id, ..)| *user_id).collect();
    let unread: HashMap<u32, u32> = unread::unread(business, &mut *conn, &ids)?
        .into_iter()
        .map(|(user_id, unread)| (user_id, unread.iter().map(|unread| unread.count).sum()))
        .collect();
    let info = |(user_id, client_type, token): (u32, ClientType, String)| UserTokenInfo {
        user_id,
        user_type: client_type.into(),
        token,
        push_count: unread.get(&user_id).copied().unwrap_or(0),
        push_type: PUSH_TYPE_NORMAL,
    };
    Ok(known.into_iter().map(info).collect())
}

fn parse(value: &str) -> Option<(ClientType, &str)> {
    let (kind, token) = value.split_once(':')?;
    let client_type = match kind {
        "ios" => ClientType::Ios,
        "android" => ClientType::Android,
        _ => return None,
    };
    (!token.is_empty()).then_some((client_type, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f12_what_cannot_be_a_token_is_none() {
        assert!(is_token("") && is_token("a1B2-_:.") && is_token(&"a".repeat(TOKEN_LEN_MAX)));
        let too_long = "a".repeat(TOKEN_LEN_MAX + 1);
        assert!(!["a b", "a\n", "a\0", "é", too_long.as_str()].into_iter().any(is_token));
        assert_eq!(parse("ios:abc"), Some((ClientType::Ios, "abc")));
        assert_eq!(["abc", "ios:", "", "wp:x"].map(parse), [None; 4]);
    }
}
