//! The command that validates a login.

use log::{info, warn};

use super::inter_login::{self, LoginOutcome};
use super::login_failures::{self, Failures};
use super::refusal::INTERNAL_ERROR;
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
    let failures = login_failures::of_known(business, name, now).unwrap_or_else(|error| {
        warn!("login failures not counted: {error}");
        Failures::default()
    });
    let origin = login_failures::origin(msg.attach_data.as_deref().unwrap_or_default());
    if failures.are_too_many(origin) || business.unknown_logins.are_too_many(name, origin, now) {
        info!("login refused: too many failures");
        return Ok(Outcome::TooOften);
    }
    match inter_login::do_login(business, name, &msg.password)? {
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
