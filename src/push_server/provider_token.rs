//! The token by which this server proves to Apple whose it is: a JWT, signed with ES256.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use pkcs8::DecodePrivateKey;
use serde_json::json;

/// Seconds until a new one is made. Apple takes one for an hour, and not more than one new one in
/// 20 minutes.
pub const RENEW_S: u32 = 50 * 60;

/// Makes tokens with the key that Apple has given to a team.
#[derive(Clone)]
pub struct ProviderToken {
    key: SigningKey,
    key_id: String,
    team_id: String,
    /// The last one, and when it was made.
    made: Option<(String, u32)>,
}

/// The key must not get into a log.
impl fmt::Debug for ProviderToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_id, team_id, .. } = self;
        write!(f, "ProviderToken key_id={key_id} team_id={team_id}")
    }
}

impl ProviderToken {
    /// `pem` is what is in the file `AuthKey_<key_id>.p8`.
    ///
    /// # Errors
    /// That is no key for ES256.
    pub fn new(pem: &str, key_id: String, team_id: String) -> pkcs8::Result<Self> {
        Ok(Self { key: SigningKey::from_pkcs8_pem(pem)?, key_id, team_id, made: None })
    }

    /// The token to send at this time, in Unix seconds.
    pub fn at(&mut self, now: u32) -> &str {
        let is_fresh = |made: u32| now >= made && now - made < RENEW_S;
        if !self.made.as_ref().is_some_and(|(_, made)| is_fresh(*made)) {
            self.made = Some((self.sign(now), now));
        }
        self.made.as_ref().map_or("", |(token, _)| token)
    }

    /// Apple says that the token is too old: the next one is new.
    pub fn expire(&mut self) {
        self.made = None;
    }

    fn sign(&self, now: u32) -> String {
        let base64 = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = base64(json!({ "alg": "ES256", "kid": self.key_id }));
        let claims = base64(json!({ "iss": self.team_id, "iat": now }));
        let signed = format!("{header}.{claims}");
        let signature: Signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier;
    use serde_json::Value;

    use super::*;
    use crate::push_server::testing::p8;

    fn token() -> ProviderToken {
        ProviderToken::new(&p8(), "KEY1234567".to_owned(), "TEAM123456".to_owned()).unwrap()
    }

    #[test]
    fn a_token_says_whose_it_is_and_its_signature_is_that_of_the_key() {
        let mut token = token();
        let text = token.at(1_700_000_000).to_owned();
        let parts: Vec<_> = text.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("{text}") };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
        assert_eq!(json(header), json!({ "alg": "ES256", "kid": "KEY1234567" }));
        assert_eq!(json(claims), json!({ "iss": "TEAM123456", "iat": 1_700_000_000 }));
        let signature = Signature::from_slice(&decode(signature)).unwrap();
        let key = VerifyingKey::from(&token.key);
        assert!(key.verify(format!("{header}.{claims}").as_bytes(), &signature).is_ok());
    }

    #[test]
    fn a_token_is_renewed_before_an_hour_has_passed_and_when_it_is_called_old() {
        let mut token = token();
        let first = token.at(1000).to_owned();
        assert_eq!(token.at(1000 + RENEW_S - 1), first);
        let second = token.at(1000 + RENEW_S).to_owned();
        assert_ne!(second, first);
        token.expire();
        assert_ne!(token.at(1000 + RENEW_S + 1), second);
        // The clock was set back.
        assert_ne!(token.at(5), second);
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_key_is_not_shown() {
        assert!(ProviderToken::new("no key", String::new(), String::new()).is_err());
        assert_eq!(format!("{:?}", token()), "ProviderToken key_id=KEY1234567 team_id=TEAM123456");
    }
}
