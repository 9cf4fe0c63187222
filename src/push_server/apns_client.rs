//! Apple's push service, by its provider API: one POST over HTTP/2 for each notification.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use rustix::fd::{AsRawFd, OwnedFd};
use serde_json::Value;

use super::apns_msg;
use super::notification::Notification;
use super::provider::{HttpAnswer, HttpRequest, Provider, Tls, Verdict};
use super::provider_token::ProviderToken;
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::Secret;

/// Where apps from the store are reached, and where those that are being developed are.
///
/// C++: push_server/apns_client.h s_apn_servers
/// Differs: the provider API; the gateway of the original is switched off (F130).
const HOSTS: [(&str, bool); 2] =
    [("api.push.apple.com:443", false), ("api.sandbox.push.apple.com:443", true)];

/// The password of the key that the original ships for everybody to see.
const SAMPLE_PASSWORD: &str = "tt@mogujie";

/// A certificate is shown, or a token sent.
#[derive(Clone)]
enum Auth {
    Token(Box<ProviderToken>),
    /// Keeps what the key was decrypted into, if it was.
    Certificate(#[expect(dead_code, reason = "held open, read by its path")] Option<Arc<OwnedFd>>),
}

/// Speaks to Apple for one app.
///
/// C++: push_server/apns_client.h CAPNSClient
/// Differs: a connection is opened when there is something to send, so that Apple's absence never
/// hinders a start (F132), and the chain and the name of its certificate are checked (F20).
#[derive(Clone)]
pub struct ApnsClient {
    /// Up to the token.
    url: String,
    /// The bundle id of the app. A certificate that stands for one app alone implies it.
    topic: Option<String>,
    sound: String,
    /// Whether a notification takes the place of the last one of its conversation.
    collapse: bool,
    auth: Auth,
    tls: Tls,
}

/// Keys must not get into a log.
impl fmt::Debug for ApnsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApnsClient url={} topic={:?}", self.url, self.topic)
    }
}

impl ApnsClient {
    /// Reads `SandBox`, the keys that begin with `Apns`, and `CertPath`, `KeyPath`, `KeyPassword`.
    ///
    /// # Errors
    /// A key is missing, its value is wrong, or a file cannot be used.
    ///
    /// C++: push_server/push_app.cpp CPushApp::Init
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let sandbox = config.get_or("SandBox", false)?;
        let host = HOSTS.iter().find(|(_, is_sandbox)| *is_sandbox == sandbox);
        let host = host.map_or("", |(host, _)| host).to_owned();
        let host = config.get_or("ApnsHost", host)?;
        if host.is_empty() || host.contains(|c: char| !c.is_ascii_graphic() || c == '/') {
            return Err(config.bad_value("ApnsHost", "a host name, or one and a port"));
        }
        let ca_file = config.get_opt::<String>("ApnsCaPath")?.map(PathBuf::from);
        let topic = config.get_opt::<String>("ApnsTopic")?;
        let (auth, identity) = match config.get_opt::<String>("ApnsKeyPath")? {
            Some(path) => {
                let topic: Option<String> = topic.clone();
                if topic.is_none() {
                    config.get::<String>("ApnsTopic")?;
                }
                (Auth::Token(Box::new(read_token(config, &path)?)), None)
            }
            None => read_certificate(config)?,
        };
        Ok(Self {
            url: format!("https://{host}/3/device/"),
            topic,
            sound: config.get_or("ApnsSound", apns_msg::SOUND.to_owned())?,
            collapse: config.get_or("ApnsCollapse", false)?,
            auth,
            tls: Tls { ca_file, identity },
        })
    }
}

fn read_token(config: &mut ConfigFileReader, path: &str) -> Result<ProviderToken, ConfigError> {
    let (key_id, team_id) = (config.get("ApnsKeyId")?, config.get("ApnsTeamId")?);
    let pem = fs::read_to_string(path);
    let pem = pem.map_err(|error| config.bad_value("ApnsKeyPath", &readable(&error)))?;
    ProviderToken::new(&pem, key_id, team_id)
        .map_err(|_| config.bad_value("ApnsKeyPath", "the .p8 file of a key for ES256"))
}

type Certificate = (Auth, Option<(PathBuf, PathBuf)>);

/// C++: push_server/push_app.cpp CPushApp::Init
/// Differs: the password that the original ships is refused (F21).
fn read_certificate(config: &mut ConfigFileReader) -> Result<Certificate, ConfigError> {
    let certificate = PathBuf::from(config.get::<String>("CertPath")?);
    let key = PathBuf::from(config.get::<String>("KeyPath")?);
    let password = config.get_opt::<Secret>("KeyPassword")?.map(|secret| secret.0);
    if password.as_deref() == Some(SAMPLE_PASSWORD) {
        let expected = "another password: this one is known to everybody; encrypt the key anew";
        return Err(config.bad_value("KeyPassword", expected));
    }
    let pem = fs::read_to_string(&certificate);
    let pem = pem.map_err(|error| config.bad_value("CertPath", &readable(&error)))?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(config.bad_value("CertPath", "a PEM file of a certificate"));
    }
    let pem = fs::read_to_string(&key);
    let pem = pem.map_err(|error| config.bad_value("KeyPath", &readable(&error)))?;
    if pem.contains("Proc-Type: 4,ENCRYPTED") {
        let expected = "a key in PKCS#8; `openssl pkcs8 -topk8 -in OLD -out NEW` makes one";
        return Err(config.bad_value("KeyPath", expected));
    }
    if !pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        if !pem.contains("PRIVATE KEY-----") {
            return Err(config.bad_value("KeyPath", "a PEM file of a key"));
        }
        return Ok((Auth::Certificate(None), Some((certificate, key))));
    }
    let decrypted = decrypt(&pem, password.as_deref().unwrap_or_default())
        .ok_or_else(|| config.bad_value("KeyPassword", "the password of the key in KeyPath"))?;
    let file = in_memory(decrypted.as_bytes())
        .map_err(|error| config.bad_value("KeyPath", &readable(&error)))?;
    let key = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok((Auth::Certificate(Some(Arc::new(file))), Some((certificate, key))))
}

fn readable(error: &io::Error) -> String {
    format!("a file that can be read ({error})")
}

/// The key as PEM; `None` if this is not its password.
fn decrypt(pem: &str, password: &str) -> Option<String> {
    let (_, encrypted) = pkcs8::SecretDocument::from_pem(pem).ok()?;
    let encrypted = pkcs8::EncryptedPrivateKeyInfoRef::try_from(encrypted.as_bytes()).ok()?;
    let key = encrypted.decrypt(password).ok()?;
    Some(key.to_pem("PRIVATE KEY", pkcs8::LineEnding::LF).ok()?.to_string())
}

/// A file without a name: what was decrypted never gets on a disk.
fn in_memory(contents: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("key", rustix::fs::MemfdFlags::CLOEXEC)?;
    io::Write::write_all(&mut fs::File::from(file.try_clone()?), contents)?;
    Ok(file)
}

impl Provider for ApnsClient {
    fn name(&self) -> &'static str {
        "apns"
    }

    fn tls(&self) -> &Tls {
        &self.tls
    }

    /// A silent notification changes the badge and does nothing else, which for Apple is an alert
    /// that may wait; what Apple calls a background push would wake the app.
    ///
    /// C++: push_server/apns_client.cpp CAPNSClient::SendPushMsgToGateway
    fn request(&mut self, notification: &Notification, now: u32) -> Result<HttpRequest, String> {
        if !apns_msg::is_token(&notification.token) {
            return Err("its token is none of Apple".to_owned());
        }
        let body = apns_msg::build_payload(notification, &self.sound);
        let body = body.ok_or("its data is too long")?;
        let mut headers = vec![
            "Content-Type: application/json".to_owned(),
            "apns-push-type: alert".to_owned(),
            format!("apns-priority: {}", if notification.silent { 5 } else { 10 }),
            format!("apns-expiration: {}", notification.expiration),
            format!("apns-id: {}", notification.id),
        ];
        headers.extend(self.topic.iter().map(|topic| format!("apns-topic: {topic}")));
        let collapse_id = match notification.silent {
            true => Some("badge".to_owned()),
            false if self.collapse => apns_msg::collapse_id(&notification.data),
            false => None,
        };
        headers.extend(collapse_id.map(|id| format!("apns-collapse-id: {id}")));
        if let Auth::Token(token) = &mut self.auth {
            headers.push(format!("authorization: bearer {}", token.at(now)));
        }
        let url = [&self.url, notification.token.as_str()].concat();
        Ok(HttpRequest { url, headers, body })
    }

    /// C++: push_server/apns_client_handler.cpp CAPNSClientHandler::OnRecvData
    /// Differs: every notification has its own answer, and the number of none is lost (F130).
    fn verdict(&mut self, answer: &HttpAnswer) -> Verdict {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let reason = body["reason"].as_str().unwrap_or_default();
        let text = format!("{} {reason}", answer.status);
        match (answer.status, reason) {
            (200, _) => Verdict::Accepted,
            (410, _) | (400, "BadDeviceToken") => Verdict::TokenDead(text),
            (403, "ExpiredProviderToken") => {
                if let Auth::Token(token) = &mut self.auth {
                    token.expire();
                }
                Verdict::Retry(text, Some(Duration::ZERO))
            }
            (408 | 429 | 500..=599, _) | (400, "IdleTimeout") => {
                Verdict::Retry(text, answer.retry_after)
            }
            _ => Verdict::Refused(text),
        }
    }
}

#[cfg(test)]
mod tests;
