//! What the workers do with a request: one function per command, above the models.
//!
//! A handler runs on a worker, may block, and gives back the answer. It never holds two connections
//! of one pool, and what it writes to the database is one transaction.

pub mod audio_model;
pub mod depart_action;
pub mod depart_model;
pub mod device_tokens;
pub mod file_action;
pub mod file_model;
pub mod group_action;
pub mod group_model;
pub mod imported;
pub mod inter_login;
pub mod login;
pub mod login_failures;
pub mod message_batch;
pub mod message_content;
pub mod message_counter;
pub mod message_model;
pub mod msg_ids;
pub mod original_cache;
pub mod password;
pub mod quiet_hours;
pub mod recent_session;
pub mod refusal;
pub mod regist;
pub mod relation_model;
pub mod session_model;
pub mod sync_center;
pub mod unread;
pub mod user_action;
pub mod user_model;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod reading_tests;
#[cfg(test)]
mod tests;

use std::fmt;

use anyhow::Context;
use prost::Message;
use thiserror::Error;

use super::DbProxyServerConfig;
use crate::base::enc_dec::Aes;
use crate::base::http_client::{HttpClient, HttpClientError};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::storage::db_pool::{DbGuard, TEAMTALK_MASTER, TEAMTALK_SLAVE};
use crate::storage::{CacheError, CacheManager, DbConn, DbError, DbManager};
use password::PasswordForm;
use quiet_hours::{QuietHours, Zone};

/// What handlers work with, shared by all workers.
pub struct Business {
    /// The pools of database connections.
    pub db: DbManager,
    /// The pools of cache connections.
    pub cache: CacheManager,
    /// Failed logins under names that nobody has.
    pub unknown_logins: login_failures::UnknownLogins,
    /// Longest message that is stored, in bytes; a longer one is refused.
    pub msg_len_max: usize,
    /// The cipher of message texts.
    pub aes: Aes,
    /// Where voice messages are kept: `http://host:port/`.
    pub msfs_site: String,
    /// Fetches and stores them.
    pub http: HttpClient,
    /// What was fetched already.
    pub sounds: audio_model::Sounds,
    /// The numbers of relations.
    pub relations: relation_model::Relations,
    /// The numbers of messages.
    pub msg_ids: msg_ids::MsgIds,
    /// Unix seconds.
    pub clock: fn() -> u32,
    /// When phones do not ring …
    pub quiet_hours: QuietHours,
    /// … and where.
    pub zone: Zone,
    /// In which form passwords are kept.
    pub password_form: PasswordForm,
}

impl Business {
    /// What a configuration makes of it. Nothing is connected to yet.
    ///
    /// # Errors
    /// The key of message texts is not one.
    pub fn new(config: DbProxyServerConfig, clock: fn() -> u32) -> anyhow::Result<Self> {
        Ok(Self {
            // Not a value of the configuration file: its error would print the key.
            aes: Aes::new(config.aes_key.as_bytes()).context("aesKey")?,
            db: config.db,
            cache: config.cache,
            unknown_logins: Default::default(),
            msg_len_max: config.msg_len_max,
            msfs_site: config.msfs_site,
            http: HttpClient::default().with_upload_secret(config.msfs_upload_secret),
            sounds: Default::default(),
            relations: Default::default(),
            msg_ids: Default::default(),
            clock,
            quiet_hours: config.quiet_hours,
            zone: config.zone,
            password_form: config.password_form,
        })
    }

    /// A connection for everything that writes, and for reading what was just written.
    pub fn master(&self) -> Result<DbGuard<'_>, DbError> {
        self.db.db_conn(TEAMTALK_MASTER)
    }

    /// A connection for reading what may be a moment old.
    pub fn slave(&self) -> Result<DbGuard<'_>, DbError> {
        self.db.db_conn(TEAMTALK_SLAVE)
    }

    /// Reads from the replica, and from the primary if the replica is late, so that nobody misses
    /// what he has been told of.
    fn read_whole<T>(
        &self,
        read: impl Fn(&mut dyn DbConn) -> Result<T, HandlerError>,
        is_whole: impl FnOnce(&T) -> bool,
    ) -> Result<T, HandlerError> {
        let found = read(&mut *self.slave()?)?;
        let is_one = self.db.target(TEAMTALK_SLAVE)? == self.db.target(TEAMTALK_MASTER)?;
        if is_one || is_whole(&found) { Ok(found) } else { read(&mut *self.master()?) }
    }

    /// Unix seconds.
    pub fn now(&self) -> u32 {
        (self.clock)()
    }
}

impl fmt::Debug for Business {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Business").field("db", &self.db).finish_non_exhaustive()
    }
}

/// Why a request got no regular answer. It is logged, and refused where the protocol can.
#[derive(Debug, Error)]
pub enum HandlerError {
    /// The database failed.
    #[error("database: {0}")]
    Db(#[from] DbError),
    /// The cache failed.
    #[error("cache: {0}")]
    Cache(#[from] CacheError),
    /// The request does not parse.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// Voice messages cannot be stored or fetched.
    #[error("msfs: {0}")]
    Msfs(#[from] HttpClientError),
    /// The cache gave a number that cannot be one of a message.
    #[error("the cache counts messages wrongly")]
    NoMsgId,
    /// The database has no more ids that fit the protocol.
    #[error("the id of the new group does not fit 32 bits")]
    NoGroupId,
    /// A password cannot be hashed.
    #[error("password: {0}")]
    Password(argon2::password_hash::Error),
}

/// The answer to a request, if it has one.
pub type Answer = Result<Option<ImPdu>, HandlerError>;

/// Answers a request, in its service and with its sequence number.
fn reply(service_id: u16, command_id: u16, request: PduRef<'_>, answer: &impl Message) -> Answer {
    let header = PduHeader::new(service_id, command_id, request.seq_num());
    Ok(Some(ImPdu::encode_with(header, answer)))
}

/// The answer to a question: that of the last one, if it was the same.
fn same_or_ask<Q: PartialEq, A>(
    last: &mut Option<(Q, A)>,
    question: Q,
    ask: impl FnOnce(&Q) -> Result<A, HandlerError>,
) -> Result<&A, HandlerError> {
    let (_, answer) = match last.take_if(|(asked, _)| *asked == question) {
        Some(same) => last.insert(same),
        None => {
            let answer = ask(&question)?;
            last.insert((question, answer))
        }
    };
    Ok(answer)
}

/// The `result_code` of most answers.
fn done_code(done: bool) -> u32 {
    u32::from(!done)
}
