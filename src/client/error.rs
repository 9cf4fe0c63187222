//! What can go wrong on the way to a server and back.

use std::io;

use thiserror::Error;

use crate::base::enc_dec::AesError;
use crate::base::http_client::HttpClientError;
use crate::base::im_pdu::PduError;
use crate::pb::base_define::KickReasonType;

/// Why something did not happen.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The connection could not be made, or broke.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The server has ended the connection.
    #[error("the server has closed the connection")]
    Closed,
    /// The answer did not come in time. The connection may go on being used: a late answer is
    /// passed over.
    #[error("no answer to command {command_id:#06x} in time")]
    TimedOut {
        /// What was asked.
        command_id: u16,
    },
    /// The server said no.
    #[error("refused: {what} (code {code})")]
    Refused {
        /// What was asked, or what the server says about it.
        what: String,
        /// The result code.
        code: u32,
    },
    /// The user logged in somewhere else, or was sent away.
    #[error("sent away by the server: {reason:?}")]
    Kicked {
        /// Why.
        reason: KickReasonType,
    },
    /// The server sent something that is not the protocol.
    #[error("not understood: {0}")]
    Protocol(#[from] PduError),
    /// The text is empty, or a text that came cannot be read with this key.
    #[error("text: {0}")]
    Text(#[from] AesError),
    /// login_server could not be asked.
    #[error("login_server: {0}")]
    LoginServer(#[from] HttpClientError),
    /// The answer of login_server is not what it should be.
    #[error("login_server: {0} is missing in its answer")]
    NoSuchKey(&'static str),
    /// The certificates to trust cannot be read, or the name of the server is none.
    #[error("TLS: {0}")]
    Tls(String),
    /// A transferred file is not what was announced.
    #[error("file: {0}")]
    File(&'static str),
}

impl ClientError {
    /// Whether the connection is of no more use.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Closed | Self::Kicked { .. } | Self::Protocol(_))
    }
}
