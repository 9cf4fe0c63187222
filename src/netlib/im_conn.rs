//! The transport half of a connection, and what a class of connections does.

use std::any::type_name;
use std::net::SocketAddr;

use thiserror::Error;

use super::Cx;
use super::framing::Framing;
use super::net_handle::NetHandle;
use super::options::ConnLimits;
use super::out_queue::OutQueue;
use super::transport::Transport;
use crate::base::http_parser_wrapper::HttpError;
use crate::base::im_pdu::PduError;

/// What one class of connections does. `this` stands for the C++ `this` pointer.
///
/// C++: base/imconn.h CImConn
pub trait ConnHandler: Sized + 'static {
    /// The state of the service, C++ globals and statics.
    type Server: 'static;
    /// How bytes become messages: [`PduFraming`](super::PduFraming) or
    /// [`HttpFraming`](super::HttpFraming).
    type Framing: Framing<Self>;

    /// A listener accepted this connection.
    ///
    /// C++: base/imconn.h CImConn::OnConnect
    fn on_connect(_cx: &mut Cx<'_, Self::Server>, _this: NetHandle) {}

    /// An outgoing connection is established.
    ///
    /// C++: base/imconn.h CImConn::OnConfirm
    fn on_confirm(_cx: &mut Cx<'_, Self::Server>, _this: NetHandle) {}

    /// The connection ended, and not because the service closed it; called exactly once. The handle
    /// sends nothing any more. Remove the state of the connection, then tell others.
    ///
    /// C++: base/imconn.h CImConn::OnClose
    fn on_close(cx: &mut Cx<'_, Self::Server>, this: NetHandle);

    /// A socket that had been full, or that the service asked about with
    /// [`notify_written`](super::Netlib::notify_written), has taken everything: whoever held data
    /// back may go on.
    ///
    /// C++: base/imconn.h CImConn::OnWriteCompelete
    /// Differs: not called after each send that went out at once, where nobody had to wait.
    fn on_write_complete(_cx: &mut Cx<'_, Self::Server>, _this: NetHandle) {}
}

/// Why netlib ends a connection; each is one log line.
#[derive(Debug, Error)]
pub enum CloseReason {
    /// The peer will send nothing more.
    #[error("peer closed")]
    PeerClosed,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The host name has no address, or none could be looked up.
    #[error("cannot resolve host name: {0}")]
    Resolve(std::io::Error),
    /// No answer to a connect for too long.
    #[error("connect timed out after {0} ms")]
    ConnectTimeout(u64),
    /// Nothing arrived for too long.
    #[error("nothing received for {0} ms")]
    ReceiveTimeout(u64),
    /// One message took too long: a header that never completes, or a peer that drips.
    #[error("message not complete in time, bytes={received}")]
    MessageTimeout {
        /// How much of it had arrived.
        received: usize,
    },
    /// The peer sent what is no PDU, or one it may not send.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// The peer sent what is no HTTP request this server takes.
    #[error("bad http request: {0}")]
    Http(#[from] HttpError),
    /// The peer does not read what it is sent.
    #[error("peer reads too slowly: {queued} bytes queued, {added} more exceed the limit of {max}")]
    OutputFull {
        /// Unsent bytes.
        queued: usize,
        /// Bytes that were to be added.
        added: usize,
        /// The limit of this connection.
        max: u32,
    },
    /// What lies between socket and framing gave up.
    #[error("transport: {0}")]
    Transport(Box<dyn std::error::Error + Send + Sync>),
    /// The peer sent urgent data, which no client of this protocol does.
    #[error("peer sent urgent data")]
    UrgentData,
    /// The configuration that is in effect now does not know this server.
    #[error("its server is no longer configured")]
    NotConfigured,
}

impl CloseReason {
    /// Everything [`Self::label`] gives.
    pub(crate) const LABELS: [&str; 14] = [
        "peer_closed",
        "io",
        "resolve",
        "connect_timeout",
        "receive_timeout",
        "message_timeout",
        "pdu_length",
        "pdu_bodies",
        "pdu_refused",
        "http",
        "output_full",
        "transport",
        "urgent_data",
        "not_configured",
    ];

    /// One word for figures.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::Io(_) => "io",
            Self::Resolve(_) => "resolve",
            Self::ConnectTimeout(_) => "connect_timeout",
            Self::ReceiveTimeout(_) => "receive_timeout",
            Self::MessageTimeout { .. } => "message_timeout",
            Self::Pdu(PduError::BadLength { .. }) => "pdu_length",
            Self::Pdu(PduError::Decode { .. } | PduError::AttachData(_)) => "pdu_bodies",
            Self::Pdu(PduError::Refused { .. }) => "pdu_refused",
            Self::Http(_) => "http",
            Self::OutputFull { .. } => "output_full",
            Self::Transport(_) => "transport",
            Self::UrgentData => "urgent_data",
            Self::NotConfigured => "not_configured",
        }
    }

    /// Whether what is queued for the peer is still worth writing.
    pub(crate) fn flushes(&self) -> bool {
        match self {
            Self::PeerClosed
            | Self::Pdu(_)
            | Self::Http(_)
            | Self::Transport(_)
            | Self::NotConfigured => true,
            Self::Io(_)
            | Self::Resolve(_)
            | Self::ConnectTimeout(_)
            | Self::ReceiveTimeout(_)
            | Self::MessageTimeout { .. }
            | Self::OutputFull { .. }
            | Self::UrgentData => false,
        }
    }

    /// Whether the peer must get to read our last words even if it is still sending.
    pub(crate) fn lingers(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Transport(_))
    }
}

/// Hands input to a class and returns how much of it was used.
type ReadFn<S> = fn(&mut Cx<'_, S>, NetHandle, &[u8]) -> Result<usize, CloseReason>;

/// The functions of one [`ConnHandler`]: a vtable per class, like the C++, and no central list.
pub(crate) struct ConnOps<S: 'static> {
    /// The name of the class, as figures have it.
    pub(crate) class: fn() -> &'static str,
    pub(crate) on_connect: fn(&mut Cx<'_, S>, NetHandle),
    pub(crate) on_confirm: fn(&mut Cx<'_, S>, NetHandle),
    pub(crate) on_read: ReadFn<S>,
    pub(crate) on_write_complete: fn(&mut Cx<'_, S>, NetHandle),
    pub(crate) on_close: fn(&mut Cx<'_, S>, NetHandle),
}

impl<S> ConnOps<S> {
    pub(crate) const fn of<H: ConnHandler<Server = S>>() -> &'static Self {
        &Self {
            class: class_name::<H>,
            on_connect: H::on_connect,
            on_confirm: H::on_confirm,
            on_read: <H::Framing as Framing<H>>::read,
            on_write_complete: H::on_write_complete,
            on_close: H::on_close,
        }
    }
}

/// `MsgConn` of `teamtalk::msg_server::msg_conn::MsgConn`.
fn class_name<H>() -> &'static str {
    let path = type_name::<H>();
    let path = path.split_once('<').map_or(path, |(path, _)| path);
    path.rsplit_once("::").map_or(path, |(_, name)| name)
}

/// Where a connection stands.
///
/// C++: base/BaseSocket.h SOCKET_STATE_*
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConnState {
    /// The socket is not connected yet; sends are queued.
    Connecting,
    /// In use.
    Connected,
    /// Dead for the service. What is queued is written first, if it may be.
    Closing,
    /// Everything is written and the peer knows; its last bytes are read and dropped, because a
    /// socket closed over unread bytes is reset and the peer may lose our last words.
    Lingering,
}

/// What netlib knows of a connection; the service keeps the other half under the same handle.
///
/// C++: base/imconn.h CImConn
pub(crate) struct ImConn<S: 'static> {
    pub(crate) ops: &'static ConnOps<S>,
    pub(crate) transport: Option<Box<dyn Transport>>,
    pub(crate) peer: Option<SocketAddr>,
    /// The start of a message whose end has not arrived, or whole messages while reading is paused.
    pub(crate) in_buf: Vec<u8>,
    pub(crate) out: OutQueue,
    pub(crate) last_send_tick: u64,
    pub(crate) last_recv_tick: u64,
    pub(crate) limits: ConnLimits,
    /// The class, as figures number it.
    pub(crate) class: u8,
    /// The listener that accepted it.
    pub(crate) listener: Option<u16>,
    pub(crate) state: ConnState,
    /// The socket takes no more for now. C++ m_busy
    pub(crate) busy: bool,
    /// The service wants to know when everything is written.
    pub(crate) tell_written: bool,
    pub(crate) write_listed: bool,
    pub(crate) read_listed: bool,
    /// The service wants no messages for now.
    pub(crate) paused: bool,
    /// Messages wait until this tick; 0 for no wait.
    pub(crate) delayed_until: u64,
    /// The socket may hold more than was read, and no event will say so.
    pub(crate) readable: bool,
    /// The poll has announced the end of the stream: read until it is reached.
    pub(crate) half_closed: bool,
    /// The end of the stream was read.
    pub(crate) peer_closed: bool,
    /// `in_buf` holds messages that a pause kept back.
    pub(crate) undelivered: bool,
    /// Since when the rest of the message in `in_buf` is missing.
    pub(crate) partial_since: Option<u64>,
    pub(crate) partial_listed: bool,
    /// Bodies that did not parse.
    pub(crate) bad_bodies: u32,
    /// The socket stays until the peer has noticed the close.
    pub(crate) lingers: bool,
}

impl<S> ImConn<S> {
    pub(crate) fn new(
        ops: &'static ConnOps<S>,
        limits: ConnLimits,
        state: ConnState,
        tick: u64,
    ) -> Self {
        Self {
            ops,
            transport: None,
            peer: None,
            in_buf: Vec::new(),
            out: OutQueue::default(),
            last_send_tick: tick,
            last_recv_tick: tick,
            limits,
            class: 0,
            listener: None,
            state,
            busy: state == ConnState::Connecting,
            tell_written: false,
            write_listed: false,
            read_listed: false,
            paused: false,
            delayed_until: 0,
            readable: false,
            half_closed: false,
            peer_closed: false,
            undelivered: false,
            partial_since: None,
            partial_listed: false,
            bad_bodies: 0,
            lingers: true,
        }
    }

    /// Whether the service still knows it.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, ConnState::Connecting | ConnState::Connected)
    }

    /// Whether messages are kept back.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.paused || self.delayed_until != 0
    }

    /// Whether a handler may be given its next message.
    #[inline]
    pub(crate) fn takes_messages(&self) -> bool {
        self.state == ConnState::Connected && !self.is_held()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn every_reason_has_a_label_of_the_list_and_no_label_is_idle() {
        let refused = PduError::Refused { command_id: 1, reason: "" };
        let source = <() as prost::Message>::decode(&[0xff][..]).unwrap_err();
        let bad_body = PduError::Decode { command_id: 1, source };
        let reasons = [
            CloseReason::PeerClosed,
            CloseReason::Io(ErrorKind::Other.into()),
            CloseReason::Resolve(ErrorKind::Other.into()),
            CloseReason::ConnectTimeout(1),
            CloseReason::ReceiveTimeout(1),
            CloseReason::MessageTimeout { received: 1 },
            CloseReason::Pdu(PduError::BadLength { length: 1, max: 1 }),
            CloseReason::Pdu(bad_body),
            CloseReason::Pdu(refused),
            CloseReason::Http(HttpError::Version),
            CloseReason::OutputFull { queued: 1, added: 1, max: 1 },
            CloseReason::Transport("".into()),
            CloseReason::UrgentData,
            CloseReason::NotConfigured,
        ];
        assert_eq!(reasons.map(|reason| reason.label()), CloseReason::LABELS);
    }

    #[test]
    fn classes_are_known_by_their_last_name() {
        assert_eq!(class_name::<HttpError>(), "HttpError");
        assert_eq!(class_name::<Vec<HttpError>>(), "Vec");
    }
}
