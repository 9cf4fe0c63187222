//! The limits of a connection and the wishes of a listener.

use super::transport::MakeTransport;
use crate::base::allow_list::AllowList;

/// What one connection may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnLimits {
    /// Longest PDU, or HTTP body, the peer may send. Beyond it the connection is closed.
    pub message_len_max: u32,
    /// Most unsent bytes kept for the peer. Beyond it the connection is closed.
    pub out_len_max: u32,
    /// So many bodies that do not parse are dropped and logged; the next one closes the connection,
    /// so that garbage does not fill the log.
    pub bad_bodies_max: u32,
}

impl ConnLimits {
    /// For clients: 1 MiB in, 8 MiB out, 16 bad bodies.
    pub const CLIENT: Self =
        Self { message_len_max: 1 << 20, out_len_max: 8 << 20, bad_bodies_max: 16 };
    /// Between servers, where user lists and group lists are long: 16 MiB in, 64 MiB out. Bad
    /// bodies are never a reason to close: that would cost everybody's requests in flight.
    pub const SERVER: Self =
        Self { message_len_max: 16 << 20, out_len_max: 64 << 20, bad_bodies_max: u32::MAX };
}

/// How a listener treats what it accepts.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// The limits of each accepted connection.
    pub limits: ConnLimits,
    /// Most connections of this listener at a time. Beyond it a new one is closed at once.
    pub conn_max: usize,
    /// Who may connect. A connection from elsewhere is closed at once.
    pub allow: AllowList,
    /// Makes what lies between socket and framing, such as TLS; `None` for nothing.
    pub transport: Option<MakeTransport>,
}

impl ListenOptions {
    /// Connections of one listener unless the configuration says otherwise.
    pub const CONN_MAX: usize = 1_000_000;

    /// A plain listener with these limits.
    pub fn new(limits: ConnLimits) -> Self {
        let allow = AllowList::default();
        Self { limits, conn_max: Self::CONN_MAX, allow, transport: None }
    }
}
