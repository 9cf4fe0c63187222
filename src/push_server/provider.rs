//! What a push service is to this server.
//!
//! A provider says what to ask for a notification, and what an answer means. Connections, retries
//! and time-outs are the business of the [`sender`](super::sender), so a provider is one file.

use std::path::PathBuf;
use std::time::Duration;

use super::notification::Notification;

/// A push service, as its sender's thread knows it.
pub trait Provider: Send {
    /// For logs.
    fn name(&self) -> &'static str;

    /// Whom it trusts, and how it proves who it is.
    fn tls(&self) -> &Tls;

    /// The request for this notification. `now` is in Unix seconds.
    ///
    /// # Errors
    /// The notification cannot be sent, and why.
    fn request(&mut self, notification: &Notification, now: u32) -> Result<HttpRequest, String>;

    /// What an answer means for the notification.
    fn verdict(&mut self, answer: &HttpAnswer) -> Verdict;
}

/// Whom a provider trusts, and how it proves who it is.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM file of certificate authorities; those of the system without.
    pub ca_file: Option<PathBuf>,
    /// PEM files of a certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A POST.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpRequest {
    /// The whole address.
    pub url: String,
    /// `name: value`
    pub headers: Vec<String>,
    /// JSON.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpAnswer {
    /// 200 and so on.
    pub status: u32,
    /// `Retry-After` in seconds.
    pub retry_after: Option<Duration>,
    /// Up to [`ANSWER_LEN_MAX`](super::sender::ANSWER_LEN_MAX) bytes.
    pub body: Vec<u8>,
}

/// What becomes of a notification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The provider has it.
    Accepted,
    /// The provider will never deliver it, because of this.
    Refused(String),
    /// No phone has this token any more.
    TokenDead(String),
    /// Not now, because of this; perhaps later, and not before so much time has passed.
    Retry(String, Option<Duration>),
}
