//! The seam between the socket's bytes and the framing above them.
//!
//! A listener without a transport passes bytes through at no cost. TLS and WebSocket are
//! transports: they turn the bytes of the wire into plain bytes and back, may speak to the peer on
//! their own (handshake, ping), and know nothing of sockets, PDUs or handlers.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// One connection's state between the wire and the plain bytes. Sans-io.
pub trait Transport: Send + 'static {
    /// `wire` has arrived: appends what it carries to `plain`, and to `reply` what the peer must be
    /// sent before anything else, such as the next step of a handshake together with the plain
    /// bytes that waited for it.
    ///
    /// # Errors
    /// The connection is closed with the error in its log line; `reply` is still sent.
    fn receive(
        &mut self,
        wire: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Wraps one whole message; keeps it until a `reply` can carry it if the handshake still runs.
    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>);

    /// The last words before an orderly close.
    fn close(&mut self, wire: &mut Vec<u8>);
}

/// Makes the transport of each new connection of a listener.
#[derive(Clone)]
pub struct MakeTransport(Arc<dyn Fn() -> Box<dyn Transport> + Send + Sync>);

impl MakeTransport {
    /// By calling `make`.
    pub fn new(make: impl Fn() -> Box<dyn Transport> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self) -> Box<dyn Transport> {
        (self.0)()
    }
}

impl fmt::Debug for MakeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MakeTransport")
    }
}
