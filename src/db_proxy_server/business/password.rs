//! How passwords are kept, and how one that came is held against that.
//!
//! The original keeps md5(md5(password) + salt) with a salt of four digits, in two columns, and
//! clients send md5(password). Who needs no original server and no PHP administration beside may
//! have this replaced by Argon2id over what the client sends, in a column of its own, at each
//! user's next login. A user whose password the administration sets anew has the old form again,
//! which then counts, until the login after that.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, password_hash};
use uuid::Uuid;

use crate::base::config_value::ConfigValue;
use crate::base::md5::{constant_time_eq, md5_hex};

/// `PasswordHash`: in which form passwords are kept from the next login on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PasswordForm {
    /// As the original keeps them.
    #[default]
    Md5,
    /// Argon2id with its default costs: 19 MiB and about 20 ms for each login.
    Argon2id,
}

impl ConfigValue for PasswordForm {
    const EXPECTED: &str = "md5 or argon2id";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "md5" => Some(Self::Md5),
            "argon2id" => Some(Self::Argon2id),
            _ => None,
        }
    }
}

/// What is stored of a password.
#[derive(Clone, Debug, Default)]
pub struct StoredPassword {
    /// md5(md5(password) + salt) in lower-case hex, or nothing.
    pub md5: String,
    /// The salt of it.
    pub salt: String,
    /// Argon2id in PHC form, or nothing.
    pub argon2id: String,
}

impl StoredPassword {
    /// What is to be stored of what the client sends, md5(password) in hex, with a new salt.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new(received: &str, form: PasswordForm) -> Result<Self, password_hash::Error> {
        match form {
            PasswordForm::Md5 => {
                // As many digits as its column has always had.
                let salt = format!("{:04}", Uuid::new_v4().as_u128() % 10_000);
                let md5 = md5_hex(format!("{received}{salt}").as_bytes());
                Ok(Self { md5, salt, argon2id: String::new() })
            }
            PasswordForm::Argon2id => Ok(Self { argon2id: argon2id(received)?, ..Self::default() }),
        }
    }

    /// Something that no password matches and that takes as long to compare as a real one.
    pub fn of_nobody(form: PasswordForm) -> Self {
        match form {
            PasswordForm::Md5 => {
                Self { md5: "0".repeat(32), salt: "0000".to_owned(), argon2id: String::new() }
            }
            PasswordForm::Argon2id => Self {
                argon2id: "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA\
                           $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                    .to_owned(),
                ..Self::default()
            },
        }
    }

    /// Whether this is what the client sends, md5(password) in hex. The time tells nothing.
    pub fn matches(&self, received: &str) -> bool {
        if !self.md5.is_empty() {
            let salted = md5_hex(format!("{received}{}", self.salt).as_bytes());
            return constant_time_eq(salted.as_bytes(), self.md5.as_bytes());
        }
        PasswordHash::new(&self.argon2id).is_ok_and(|stored| {
            Argon2::default().verify_password(received.as_bytes(), &stored).is_ok()
        })
    }

    /// Whether it is kept in another form than wanted. There is no way back to md5.
    pub fn is_outdated(&self, form: PasswordForm) -> bool {
        form == PasswordForm::Argon2id && !self.md5.is_empty()
    }
}

/// Argon2id of what the client sends, with a salt of its own.
///
/// # Errors
/// There is not enough memory.
pub fn argon2id(received: &str) -> Result<String, password_hash::Error> {
    let salt = SaltString::encode_b64(Uuid::new_v4().as_bytes())?;
    Ok(Argon2::default().hash_password(received.as_bytes(), &salt)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f18_both_forms_match_their_password_alone() {
        let received = md5_hex(b"secret");
        let md5 = StoredPassword {
            md5: md5_hex(format!("{received}1234").as_bytes()),
            salt: "1234".to_owned(),
            argon2id: String::new(),
        };
        let argon2id = argon2id(&received).unwrap();
        assert!(argon2id.starts_with("$argon2id$") && argon2id.len() <= 255, "{argon2id}");
        let argon2id = StoredPassword { argon2id, ..StoredPassword::default() };
        for stored in [&md5, &argon2id] {
            assert!(stored.matches(&received));
            assert!(!stored.matches(&md5_hex(b"Secret")) && !stored.matches(""));
        }
        assert!(md5.is_outdated(PasswordForm::Argon2id) && !md5.is_outdated(PasswordForm::Md5));
        assert!(!argon2id.is_outdated(PasswordForm::Argon2id));
    }

    #[test]
    fn a_new_password_is_stored_in_the_wanted_form() {
        let received = md5_hex(b"secret");
        for form in [PasswordForm::Md5, PasswordForm::Argon2id] {
            let stored = StoredPassword::new(&received, form).unwrap();
            assert!(stored.matches(&received) && !stored.matches(&md5_hex(b"other")));
            assert!(!stored.is_outdated(form));
            assert_eq!(stored.md5.is_empty(), form == PasswordForm::Argon2id);
            assert_eq!(stored.salt.len(), if form == PasswordForm::Md5 { 4 } else { 0 });
        }
    }

    #[test]
    fn nobody_has_no_password() {
        for form in [PasswordForm::Md5, PasswordForm::Argon2id] {
            assert!(!StoredPassword::of_nobody(form).matches(&md5_hex(b"")));
        }
        assert!(!StoredPassword::default().matches(""), "nor has a row without one");
        let nobody = StoredPassword::of_nobody(PasswordForm::Argon2id);
        assert!(PasswordHash::new(&nobody.argon2id).is_ok(), "it is computed, not passed over");
    }
}
