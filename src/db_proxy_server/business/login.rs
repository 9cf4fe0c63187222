//! The command that validates a login, and how often it may fail.

use std::collections::HashMap;

use log::{info, warn};
use parking_lot::Mutex;

use super::inter_login::{self, LoginOutcome};
use super::refusal::INTERNAL_ERROR;
use super::{Answer, Business, HandlerError, reply};
use crate::base::im_pdu::PduRef;
use crate::pb::base_define::{ResultType, UserInfo};
use crate::pb::cmd::{CID_OTHER_VALIDATE_RSP, SID_OTHER};
use crate::pb::server::{ImValidateReq, ImValidateRsp};
use crate::storage::cache_pool::TOKEN;

/// So many failures within [`FAILURE_WINDOW_S`] are forgiven; then nothing is checked any more.
pub const FAILURES_MAX: usize = 10;

/// How long a failure counts.
pub const FAILURE_WINDOW_S: u32 = 30 * 60;

/// Names nobody has are counted in this process alone, and no more of them than this.
pub const UNKNOWN_NAMES_MAX: usize = 10_000;

/// The longest name that is looked up, in bytes; the column takes 64 characters.
const NAME_LEN_MAX: usize = 64 * 4;

/// C++: db_proxy_server/business/Login.cpp doLogin
/// Differs: a failing database is an internal error (2) and counts for nobody (F11); what does not
/// parse is dropped, because without attach data nobody can pass an answer on (F105).
pub fn do_login(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImValidateReq = pdu.decode()?;
    let outcome = match check(business, &msg) {
        Ok(outcome) => outcome,
        Err(error) => {
            warn!("login not checked: {error}");
            Outcome::InternalError
        }
    };
    validated(pdu, msg, outcome)
}

enum Outcome {
    Welcome(Box<UserInfo>),
    Wrong,
    TooOften,
    InternalError,
}

fn check(business: &Business, msg: &ImValidateReq) -> Result<Outcome, HandlerError> {
    let name = msg.user_name.as_str();
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.contains('\0') {
        return Ok(Outcome::Wrong);
    }
    let now = business.now();
    // A cache that is away must not lock anybody out; it is tried again with each login.
    let failures = known_failures(business, name, now).unwrap_or_else(|error| {
        warn!("login failures not counted: {error}");
        0
    });
    if failures > FAILURES_MAX || business.unknown_logins.count(name, now) > FAILURES_MAX {
        info!("login refused: too many failures");
        return Ok(Outcome::TooOften);
    }
    match inter_login::do_login(business, name, &msg.password)? {
        LoginOutcome::Known(user_info) => {
            if failures > 0 {
                business.cache.cache_conn(TOKEN)?.del(&failures_key(name))?;
            }
            info!("user={} logged in", user_info.user_id);
            Ok(Outcome::Welcome(user_info))
        }
        LoginOutcome::WrongPassword => {
            if let Err(error) = add_known_failure(business, name, now) {
                warn!("login failure not counted: {error}");
            }
            Ok(Outcome::Wrong)
        }
        LoginOutcome::UnknownName => {
            business.unknown_logins.add(name, now);
            Ok(Outcome::Wrong)
        }
    }
}

fn validated(pdu: PduRef<'_>, msg: ImValidateReq, outcome: Outcome) -> Answer {
    let (result_code, text, user_info) = match outcome {
        // Clients show the status of a colleague, not their own.
        Outcome::Welcome(user) => {
            (ResultType::RefuseReasonNone as u32, "成功", Some(UserInfo { status: 0, ..*user }))
        }
        Outcome::Wrong => (1, "用户名/密码错误", None),
        Outcome::InternalError => (INTERNAL_ERROR.0, INTERNAL_ERROR.1, None),
        Outcome::TooOften => (6, "用户名/密码错误次数太多", None),
    };
    let answer = ImValidateRsp {
        user_name: msg.user_name,
        result_code,
        result_string: Some(text.to_owned()),
        user_info,
        attach_data: msg.attach_data,
    };
    reply(SID_OTHER, CID_OTHER_VALIDATE_RSP, pdu, &answer)
}

/// A hash of minutes and how many failures each of them saw. All processes share it.
fn failures_key(name: &str) -> String {
    format!("login_failures_{name}")
}

const MINUTE_S: u32 = 60;

fn known_failures(business: &Business, name: &str, now: u32) -> Result<usize, HandlerError> {
    let minutes = business.cache.cache_conn(TOKEN)?.hget_all(&failures_key(name))?;
    let counts = |(minute, count): (&String, &String)| {
        let minute: u32 = minute.parse().ok()?;
        let fresh = now.saturating_sub(minute.saturating_mul(MINUTE_S)) <= FAILURE_WINDOW_S;
        fresh.then(|| count.parse().unwrap_or(0))
    };
    Ok(minutes.iter().filter_map(counts).sum())
}

/// Counts a failure and forgets the minutes that no longer count.
fn add_known_failure(business: &Business, name: &str, now: u32) -> Result<(), HandlerError> {
    let key = failures_key(name);
    let mut cache = business.cache.cache_conn(TOKEN)?;
    let minute = now / MINUTE_S;
    cache.hincr_by(&key, &minute.to_string(), 1)?;
    let oldest = minute.saturating_sub(FAILURE_WINDOW_S / MINUTE_S);
    for old in cache.hget_all(&key)?.into_keys() {
        if old.parse().is_ok_and(|minute: u32| minute < oldest) {
            cache.hdel(&key, &old)?;
        }
    }
    Ok(())
}

/// When logins under names that nobody has were tried. They are refused like those of a known
/// name, so that the difference tells nobody which names exist.
#[derive(Debug, Default)]
pub struct UnknownLogins {
    by_name: Mutex<HashMap<String, Vec<u32>>>,
}

impl UnknownLogins {
    fn count(&self, name: &str, now: u32) -> usize {
        let by_name = self.by_name.lock();
        by_name.get(name).map_or(0, |times| times.iter().filter(|&&at| is_fresh(at, now)).count())
    }

    fn add(&self, name: &str, now: u32) {
        let mut by_name = self.by_name.lock();
        if by_name.len() >= UNKNOWN_NAMES_MAX && !by_name.contains_key(name) {
            by_name.retain(|_, times| times.iter().any(|&at| is_fresh(at, now)));
            if by_name.len() >= UNKNOWN_NAMES_MAX {
                by_name.clear();
            }
        }
        let times = by_name.entry(name.to_owned()).or_default();
        times.retain(|&at| is_fresh(at, now));
        if times.len() <= FAILURES_MAX {
            times.push(now);
        }
    }
}

fn is_fresh(at: u32, now: u32) -> bool {
    now.saturating_sub(at) <= FAILURE_WINDOW_S
}
