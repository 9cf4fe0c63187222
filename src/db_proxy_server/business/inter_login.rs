//! Checking a password against the users of this installation.

use super::password::{self, StoredPassword};
use super::user_model::{self, Credentials};
use super::{Business, HandlerError};
use crate::pb::base_define::UserInfo;

/// What a login attempt came to.
#[derive(Debug)]
pub enum LoginOutcome {
    /// Name and password are right.
    Known(Box<UserInfo>),
    /// There is such a user, but this is not his password.
    WrongPassword,
    /// Nobody of this name may log in.
    UnknownName,
}

/// Holds what the client sends against what is stored, if there is such a user.
///
/// C++: db_proxy_server/business/InterLogin.cpp CInterLoginStrategy::doLogin
/// Differs: the password is compared, in constant time, and an unknown name is no login (F3); the
/// form in which it is stored may be a better one (F18).
pub fn do_login(
    business: &Business,
    credentials: Option<Credentials>,
    received: &str,
) -> Result<LoginOutcome, HandlerError> {
    let Some(Credentials { user_info, password: stored }) = credentials else {
        // The same work is done, so that the time tells nothing.
        StoredPassword::of_nobody(business.password_form).matches(received);
        return Ok(LoginOutcome::UnknownName);
    };
    if !stored.matches(received) {
        return Ok(LoginOutcome::WrongPassword);
    }
    if stored.is_outdated(business.password_form) {
        let argon2id = password::argon2id(received).map_err(HandlerError::Password)?;
        user_model::update_password(business, user_info.user_id, &stored, &argon2id)?;
    }
    Ok(LoginOutcome::Known(Box::new(user_info)))
}
