//! Any other push service: a program of the company that takes notifications by HTTP.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::apns_msg;
use super::notification::Notification;
use super::provider::{HttpAnswer, HttpRequest, Provider, Tls, Verdict};
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::Secret;
use crate::pb::base_define::ClientType;

/// Posts each notification as JSON: `push_id`, `platform` (`ios` or `android`), `user_id`, `token`,
/// `expiration`, `silent`, and `payload`, which is what Apple would get.
#[derive(Clone)]
pub struct Webhook {
    url: String,
    secret: Option<String>,
    tls: Tls,
}

/// The secret must not get into a log.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook url={}", self.url)
    }
}

impl Webhook {
    /// Reads `WebhookUrl`, `WebhookSecret` and `WebhookCaPath`.
    ///
    /// # Errors
    /// A key is missing, or its value is wrong.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let url: String = config.get("WebhookUrl")?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if rest.is_none_or(str::is_empty) || url.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(config.bad_value("WebhookUrl", "https:// or http:// and a host"));
        }
        let secret = config.get_opt::<Secret>("WebhookSecret")?.map(|secret| secret.0);
        if secret.as_ref().is_some_and(|secret| secret.contains(|c: char| !c.is_ascii_graphic())) {
            return Err(config.bad_value("WebhookSecret", "letters, digits and signs of ASCII"));
        }
        let ca_file = config.get_opt::<String>("WebhookCaPath")?.map(PathBuf::from);
        Ok(Self { url, secret, tls: Tls { ca_file, identity: None } })
    }
}

impl Provider for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn tls(&self) -> &Tls {
        &self.tls
    }

    fn request(&mut self, notification: &Notification, _now: u32) -> Result<HttpRequest, String> {
        let payload = apns_msg::build_payload(notification, apns_msg::SOUND)
            .and_then(|payload| serde_json::from_slice::<Value>(&payload).ok())
            .ok_or("its data is too long")?;
        let platform = match notification.client_type {
            ClientType::Ios => "ios",
            _ => "android",
        };
        let body = json!({
            "push_id": notification.id.to_string(),
            "platform": platform,
            "user_id": notification.user_id,
            "token": notification.token,
            "expiration": notification.expiration,
            "silent": notification.silent,
            "payload": payload,
        });
        let mut headers = vec!["Content-Type: application/json".to_owned()];
        headers.extend(self.secret.iter().map(|s| format!("Authorization: Bearer {s}")));
        let body = body.to_string().into_bytes();
        Ok(HttpRequest { url: self.url.clone(), headers, body })
    }

    fn verdict(&mut self, answer: &HttpAnswer) -> Verdict {
        match answer.status {
            200..=299 => Verdict::Accepted,
            410 => Verdict::TokenDead("410".to_owned()),
            status @ (408 | 429 | 500..=599) => {
                Verdict::Retry(status.to_string(), answer.retry_after)
            }
            status => Verdict::Refused(status.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::push_server::testing::notification;

    fn read(text: &str) -> Result<Webhook, ConfigError> {
        Webhook::read(&mut ConfigFileReader::parse(Path::new("x.conf"), text.as_bytes()))
    }

    #[test]
    fn a_notification_is_posted_whole() {
        let mut webhook = read("WebhookUrl=https://push.example/in\nWebhookSecret=abc\n").unwrap();
        let push = notification(5);
        let request = webhook.request(&push, 0).unwrap();
        assert_eq!(request.url, "https://push.example/in");
        let headers = ["Content-Type: application/json", "Authorization: Bearer abc"];
        assert_eq!(request.headers, headers);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["push_id"], push.id.to_string());
        let payload = apns_msg::build_payload(&push, apns_msg::SOUND).unwrap();
        assert_eq!(body["payload"], serde_json::from_slice::<Value>(&payload).unwrap());
        assert_eq!(
            (&body["platform"], &body["user_id"], &body["token"]),
            (&json!("ios"), &json!(5), &json!(push.token))
        );
        let android = Notification { client_type: ClientType::Android, ..push };
        let body = webhook.request(&android, 0).unwrap().body;
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["platform"], "android");
        assert!(!format!("{webhook:?}").contains("abc"));
    }

    #[test]
    fn the_status_decides() {
        let mut webhook = read("WebhookUrl=http://127.0.0.1:1/\n").unwrap();
        let mut verdict = |status| {
            let retry_after = Some(Duration::from_secs(9));
            webhook.verdict(&HttpAnswer { status, retry_after, body: Vec::new() })
        };
        for status in [200, 202, 204] {
            assert_eq!(verdict(status), Verdict::Accepted);
        }
        for status in [408, 429, 500, 503] {
            let expected = Verdict::Retry(status.to_string(), Some(Duration::from_secs(9)));
            assert_eq!(verdict(status), expected);
        }
        assert_eq!(verdict(410), Verdict::TokenDead("410".to_owned()));
        for status in [301, 400, 401, 404] {
            assert_eq!(verdict(status), Verdict::Refused(status.to_string()));
        }
    }

    #[test]
    fn what_is_no_address_or_no_secret_is_refused() {
        for wrong in
            ["", "WebhookUrl=ftp://x\n", "WebhookUrl=https://\n", "WebhookUrl=http://x y\n"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("WebhookUrl=http://x\nWebhookSecret=a b\n").is_err());
    }
}
