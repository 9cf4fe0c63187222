//! How often logins under a name failed, and from where.
//!
//! A failure counts for the class of address it came from, as msg_server tells it: whoever guesses
//! passwords locks out himself and not the owner of the name. All failures together count as well,
//! with a higher limit, against those who guess from many places.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use super::{Business, HandlerError};
use crate::base::attach_data::PduAttachData;
use crate::storage::cache_conn::CacheCmd;
use crate::storage::cache_pool::TOKEN;

/// So many failures from one class of address within [`FAILURE_WINDOW_S`] are forgiven; then
/// nothing is checked any more.
pub const FAILURES_MAX: usize = 10;

/// So many are forgiven from everywhere together.
pub const FAILURES_PER_NAME_MAX: usize = 100;

/// How long a failure counts.
pub const FAILURE_WINDOW_S: u32 = 30 * 60;

/// Names nobody has are counted in this process alone, and no more of them than this.
pub const UNKNOWN_NAMES_MAX: usize = 10_000;

/// The longest class of address that is taken for one.
const CLASS_LEN_MAX: usize = 64;

const MINUTE_S: u32 = 60;

/// Where a login comes from: the class of address that msg_server attached. An msg_server of the
/// original attaches none; all its logins come from one place.
pub(super) fn origin(attach_data: &[u8]) -> &str {
    let class = PduAttachData::parse(attach_data).ok().and_then(|data| {
        std::str::from_utf8(data.pdu).ok().filter(|class| class.len() <= CLASS_LEN_MAX)
    });
    class.unwrap_or_default()
}

/// Failures by minute and origin.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<(u32, String), usize>);

impl Failures {
    /// Whether another attempt from there is not even looked at.
    pub(super) fn are_too_many(&self, origin: &str) -> bool {
        self.count_from(origin) > FAILURES_MAX
            || self.0.values().sum::<usize>() > FAILURES_PER_NAME_MAX
    }

    /// How many there are from one place.
    fn count_from(&self, origin: &str) -> usize {
        self.0.iter().filter(|((_, from), _)| from == origin).map(|(_, count)| count).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn forget_old(&mut self, now: u32) {
        self.0.retain(|(minute, _), _| is_fresh(*minute, now));
    }
}

fn is_fresh(minute: u32, now: u32) -> bool {
    now.saturating_sub(minute.saturating_mul(MINUTE_S)) <= FAILURE_WINDOW_S
}

/// A hash of minutes with origins, and how many failures each of them saw. All processes share it.
fn key(name: &str) -> String {
    format!("login_failures_{name}")
}

/// The same for attempts to register, which all count under one name.
const REGISTRATIONS: &str = "registrations";

fn field(minute: u32, origin: &str) -> String {
    format!("{minute} {origin}").trim_end().to_owned()
}

fn parse(field: &str) -> Option<(u32, String)> {
    let (minute, origin) = field.split_once(' ').unwrap_or((field, ""));
    Some((minute.parse().ok()?, origin.to_owned()))
}

/// The failures of names that somebody has, in their order.
pub(super) fn of_known(
    business: &Business,
    names: &[&str],
    now: u32,
) -> Result<Vec<Failures>, HandlerError> {
    let keys: Vec<String> = names.iter().map(|name| key(name)).collect();
    counted(business, &keys, now)
}

fn counted(business: &Business, keys: &[String], now: u32) -> Result<Vec<Failures>, HandlerError> {
    let cmds: Vec<CacheCmd> =
        keys.iter().map(|key| CacheCmd::HGetAll { key: key.clone() }).collect();
    let replies = business.cache.cache_conn(TOKEN)?.pipeline(&cmds)?;
    let failures = replies.into_iter().map(|reply| {
        let fields = reply.into_map()?;
        let count = |(field, count): (&String, &String)| {
            Some((parse(field)?, count.parse().unwrap_or_default()))
        };
        let mut failures = Failures(fields.iter().filter_map(count).collect());
        failures.forget_old(now);
        Ok(failures)
    });
    failures.collect()
}

/// Counts a failure and forgets the minutes that no longer count.
pub(super) fn add_known(
    business: &Business,
    name: &str,
    origin: &str,
    now: u32,
) -> Result<(), HandlerError> {
    add(business, &key(name), origin, now)
}

/// Counts an attempt to register, and tells how many there were from the same place.
pub(super) fn count_registration(
    business: &Business,
    origin: &str,
    now: u32,
) -> Result<usize, HandlerError> {
    add(business, REGISTRATIONS, origin, now)?;
    let counted = counted(business, &[REGISTRATIONS.to_owned()], now)?;
    Ok(counted.iter().map(|attempts| attempts.count_from(origin)).sum())
}

fn add(business: &Business, key: &str, origin: &str, now: u32) -> Result<(), HandlerError> {
    let mut cache = business.cache.cache_conn(TOKEN)?;
    cache.hincr_by(key, &field(now / MINUTE_S, origin), 1)?;
    drop(cache);
    forget(business, key, |minute, _| !is_fresh(minute, now))
}

/// A login from there succeeded. What failed elsewhere still counts: its owner may be somebody
/// else.
pub(super) fn forgive_known(
    business: &Business,
    name: &str,
    origin: &str,
) -> Result<(), HandlerError> {
    forget_known(business, name, |_, from| from == origin)
}

/// All failures of a name are forgiven: its owner has a new password.
pub fn forgive_all(business: &Business, name: &str) -> Result<(), HandlerError> {
    forget_known(business, name, |_, _| true)
}

fn forget_known(
    business: &Business,
    name: &str,
    which: impl Fn(u32, &str) -> bool,
) -> Result<(), HandlerError> {
    forget(business, &key(name), which)
}

fn forget(
    business: &Business,
    key: &str,
    which: impl Fn(u32, &str) -> bool,
) -> Result<(), HandlerError> {
    let mut cache = business.cache.cache_conn(TOKEN)?;
    for field in cache.hget_all(key)?.into_keys() {
        if parse(&field).is_none_or(|(minute, origin)| which(minute, &origin)) {
            cache.hdel(key, &field)?;
        }
    }
    Ok(())
}

/// Failures under names that nobody has. They are refused like those of a known name, so that the
/// difference tells nobody which names exist.
#[derive(Debug, Default)]
pub struct UnknownLogins {
    by_name: Mutex<HashMap<String, Failures>>,
}

impl UnknownLogins {
    pub(super) fn are_too_many(&self, name: &str, origin: &str, now: u32) -> bool {
        let mut by_name = self.by_name.lock();
        by_name.get_mut(name).is_some_and(|failures| {
            failures.forget_old(now);
            failures.are_too_many(origin)
        })
    }

    pub(super) fn add(&self, name: &str, origin: &str, now: u32) {
        let mut by_name = self.by_name.lock();
        if by_name.len() >= UNKNOWN_NAMES_MAX && !by_name.contains_key(name) {
            by_name.retain(|_, failures| {
                failures.forget_old(now);
                !failures.0.is_empty()
            });
            if by_name.len() >= UNKNOWN_NAMES_MAX {
                by_name.clear();
            }
        }
        // No more than the limits are ever counted: then nothing is checked any more.
        let failures = by_name.entry(name.to_owned()).or_default();
        *failures.0.entry((now / MINUTE_S, origin.to_owned())).or_default() += 1;
    }
}
