//! The command that validates a login.
//!
//! Logins that wait for a worker are checked together: one round trip to the cache and one query
//! for all of them.

use std::collections::HashMap;

use log::{info, warn};

use super::inter_login::{self, LoginOutcome};
use super::login_failures::{self, Failures};
use super::refusal::INTERNAL_ERROR;
use super::user_model::{self, Credentials};
use super::{Answer, Business, HandlerError, reply};
use crate::base::im_pdu::PduRef;
use crate::pb::base_define::{ResultType, UserInfo};
use crate::pb::cmd::{CID_OTHER_VALIDATE_RSP, SID_OTHER};
use crate::pb::server::{ImValidateReq, ImValidateRsp};

/// The longest name that is looked up, in bytes; the column takes 64 characters.
const NAME_LEN_MAX: usize = 64 * 4;

/// C++: db_proxy_server/business/Login.cpp doLogin
/// Differs: a failing database is an internal error (2) and counts for nobody (F11); what does not
/// parse is dropped, because without attach data nobody can pass an answer on (F105).
pub fn do_login(business: &Business, pdu: PduRef<'_>) -> Answer {
    do_logins(business, &[pdu]).pop().unwrap_or(Ok(None))
}

/// What [`do_login`] does, for several requests.
pub fn do_logins(business: &Business, pdus: &[PduRef<'_>]) -> Vec<Answer> {
    let msgs: Vec<_> = pdus.iter().map(|pdu| pdu.decode::<ImValidateReq>()).collect();
    let names = msgs.iter().flatten().map(|msg| msg.user_name.as_str());
    let mut known = look_up(business, names);
    if let Err(error) = &known {
        warn!("logins not checked: {error}");
    }
    let answers = pdus.iter().zip(&msgs).map(|(pdu, msg)| {
        let msg = msg.as_ref().map_err(Clone::clone)?;
        let outcome = known.as_mut().map_or(Outcome::InternalError, |known| {
            outcome(business, msg, known.remove(msg.user_name.as_str()))
        });
        validated(*pdu, msg, outcome)
    });
    answers.collect()
}

fn outcome(business: &Business, msg: &ImValidateReq, known: Option<Known>) -> Outcome {
    let check = || {
        let name = msg.user_name.as_str();
        // The second login under a name is checked after the failure of the first one.
        let known = match known {
            Some(known) => known,
            None => look_up(business, [name].into_iter())?.remove(name).unwrap_or_default(),
        };
        check(business, msg, known)
    };
    check().unwrap_or_else(|error| {
        warn!("login not checked: {error}");
        Outcome::InternalError
    })
}

enum Outcome {
    Welcome(Box<UserInfo>),
    Wrong,
    TooOften,
    InternalError,
}

/// What is known about a name.
#[derive(Debug, Default)]
struct Known {
    failures: Failures,
    credentials: Option<Credentials>,
}

/// What is known about these names.
fn look_up<'a>(
    business: &Business,
    names: impl Iterator<Item = &'a str>,
) -> Result<HashMap<&'a str, Known>, HandlerError> {
    let mut known: HashMap<&str, Known> =
        names.filter(|name| is_name(name)).map(|name| (name, Known::default())).collect();
    let names: Vec<&str> = known.keys().copied().collect();
    // A cache that is away must not lock anybody out; it is tried again with each login.
    let failures = login_failures::of_known(business, &names, business.now())
        .inspect_err(|error| warn!("login failures not counted: {error}"));
    for (name, failures) in names.iter().zip(failures.unwrap_or_default()) {
        known.entry(name).or_default().failures = failures;
    }
    for credentials in user_model::credentials(business, &names)? {
        if let Some(known) = known.get_mut(credentials.user_info.user_real_name.as_str()) {
            known.credentials = Some(credentials);
        }
    }
    Ok(known)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_LEN_MAX && !name.contains('\0')
}

fn check(
    business: &Business,
    msg: &ImValidateReq,
    Known { failures, credentials }: Known,
) -> Result<Outcome, HandlerError> {
    let name = msg.user_name.as_str();
    if !is_name(name) {
        return Ok(Outcome::Wrong);
    }
    let now = business.now();
    let origin = login_failures::origin(msg.attach_data.as_deref().unwrap_or_default());
    if failures.are_too_many(origin) || business.unknown_logins.are_too_many(name, origin, now) {
        info!("login refused: too many failures");
        return Ok(Outcome::TooOften);
    }
    match inter_login::do_login(business, credentials, &msg.password)? {
        LoginOutcome::Known(user_info) => {
            if !failures.is_empty() {
                login_failures::forgive_known(business, name, origin)?;
            }
            info!("user={} logged in", user_info.user_id);
            Ok(Outcome::Welcome(user_info))
        }
        LoginOutcome::WrongPassword => {
            if let Err(error) = login_failures::add_known(business, name, origin, now) {
                warn!("login failure not counted: {error}");
            }
            Ok(Outcome::Wrong)
        }
        LoginOutcome::UnknownName => {
            business.unknown_logins.add(name, origin, now);
            Ok(Outcome::Wrong)
        }
    }
}

fn validated(pdu: PduRef<'_>, msg: &ImValidateReq, outcome: Outcome) -> Answer {
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
        user_name: msg.user_name.clone(),
        result_code,
        result_string: Some(text.to_owned()),
        user_info,
        attach_data: msg.attach_data.clone(),
    };
    reply(SID_OTHER, CID_OTHER_VALIDATE_RSP, pdu, &answer)
}
