//! Checking a password against the users of this installation.

use super::user_model::{self, Credentials};
use super::{Business, HandlerError};
use crate::base::md5::{constant_time_eq, md5_hex};
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

/// Compares md5(received + salt) with what is stored.
///
/// C++: db_proxy_server/business/InterLogin.cpp CInterLoginStrategy::doLogin
/// Differs: the password is compared, in constant time, and an unknown name is no login (F3).
pub fn do_login(
    business: &Business,
    name: &str,
    password: &str,
) -> Result<LoginOutcome, HandlerError> {
    let found = user_model::credentials(business, name)?;
    // For an unknown name the same work is done, so that the time tells nothing.
    let (salt, stored) = match &found {
        Some(Credentials { salt, password, .. }) => (salt.as_str(), password.as_str()),
        None => ("0000", "00000000000000000000000000000000"),
    };
    let received = md5_hex(format!("{password}{salt}").as_bytes());
    let matches = constant_time_eq(received.as_bytes(), stored.as_bytes());
    Ok(match found {
        Some(credentials) if matches => LoginOutcome::Known(Box::new(credentials.user_info)),
        Some(_) => LoginOutcome::WrongPassword,
        None => LoginOutcome::UnknownName,
    })
}
