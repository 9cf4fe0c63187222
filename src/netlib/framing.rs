//! From bytes to messages: PDUs for the protocol, requests for HTTP.

use log::warn;

use super::Cx;
use super::im_conn::{CloseReason, ConnHandler};
use super::net_handle::NetHandle;
use crate::base::http_parser_wrapper::{Coming, HttpError, HttpLimits, HttpRequest};
use crate::base::http_response::{HTTP_CONTINUE, HttpResponse};
use crate::base::im_pdu::{PduError, PduRef};

/// Splits what a connection receives into messages and hands them to the class `H`.
///
/// Chosen by the class, so a listener gets the framing of the class it accepts.
pub trait Framing<H: ConnHandler> {
    /// Hands over every whole message at the start of `input`, as long as the connection is open
    /// and not paused, and returns how many bytes those were. The rest is offered again, with more
    /// behind it.
    ///
    /// # Errors
    /// The connection is closed after what is queued for it has been written.
    fn read(
        cx: &mut Cx<'_, H::Server>,
        this: NetHandle,
        input: &[u8],
    ) -> Result<usize, CloseReason>;
}

/// A class of connections that speaks PDUs.
pub trait PduHandler: ConnHandler<Framing = PduFraming> {
    /// One PDU has arrived. After [`PduError::Decode`] the connection lives on, as often as its
    /// [`ConnLimits`](super::ConnLimits) allow, and after [`PduError::AttachData`] always; after
    /// any other error it is closed.
    ///
    /// # Errors
    /// See [`PduError`].
    ///
    /// C++: base/imconn.h CImConn::HandlePdu
    fn handle_pdu(
        cx: &mut Cx<'_, Self::Server>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError>;
}

/// The framing of the TeamTalk protocol: a length in front.
#[derive(Debug)]
pub struct PduFraming;

impl<H: PduHandler> Framing<H> for PduFraming {
    /// C++: base/imconn.cpp CImConn::OnRead
    /// Differs: a handler that closes or pauses the connection ends the batch (F25).
    fn read(
        cx: &mut Cx<'_, H::Server>,
        this: NetHandle,
        input: &[u8],
    ) -> Result<usize, CloseReason> {
        let mut used = 0;
        // Looked up afresh for each PDU: the last handler may have closed the connection.
        while let Some(len_max) = cx.net.message_len_max(this) {
            let Some(pdu) = PduRef::parse(&input[used..], len_max)? else {
                break;
            };
            let length = pdu.as_bytes().len();
            used += length;
            cx.net.figures.pdus_in.count(pdu.command_id(), length);
            match H::handle_pdu(cx, this, pdu) {
                Ok(()) => {}
                Err(error) if is_forgiven(cx, this, &error) => {
                    warn!("conn={this} pdu dropped: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(used)
    }
}

/// Whether the connection goes on with its next PDU.
fn is_forgiven<S>(cx: &mut Cx<'_, S>, this: NetHandle, error: &PduError) -> bool {
    match error {
        PduError::Decode { .. } => {
            cx.net.figures.drop_bad_body();
            cx.net.count_bad_body(this)
        }
        PduError::AttachData(_) => {
            cx.net.figures.drop_bad_attach_data();
            true
        }
        PduError::BadLength { .. } | PduError::Refused { .. } => false,
    }
}

/// A class of connections that answers HTTP requests.
pub trait HttpHandler: ConnHandler<Framing = HttpFraming> {
    /// One request has arrived. A handler that answers later pauses the connection until then, so
    /// that answers keep the order of the requests.
    ///
    /// # Errors
    /// The error is answered with its status, then the connection is closed.
    ///
    /// C++: login_server/HttpConn.cpp CHttpConn::OnRead
    fn handle_request(
        cx: &mut Cx<'_, Self::Server>,
        this: NetHandle,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError>;

    /// More of a request has arrived whose body is not complete yet. A class that cannot take all
    /// the bodies that fit its limits refuses here, before it holds them.
    ///
    /// # Errors
    /// As above.
    fn handle_coming(
        _cx: &mut Cx<'_, Self::Server>,
        _this: NetHandle,
        _coming: &Coming<'_>,
    ) -> Result<(), HttpError> {
        Ok(())
    }

    /// The answer to a request that is refused; the connection closes after it. A class whose
    /// clients expect more than a status says it here.
    fn refusal(error: &HttpError) -> Vec<u8> {
        HttpResponse::error(error).to_bytes()
    }
}

/// The framing of HTTP/1.x requests.
#[derive(Debug)]
pub struct HttpFraming;

impl<H: HttpHandler> Framing<H> for HttpFraming {
    fn read(
        cx: &mut Cx<'_, H::Server>,
        this: NetHandle,
        input: &[u8],
    ) -> Result<usize, CloseReason> {
        let mut used = 0;
        while let Some(len_max) = cx.net.message_len_max(this) {
            let limits = HttpLimits { body_bytes_max: len_max as usize, ..HttpLimits::default() };
            let result = match HttpRequest::parse(&input[used..], &limits) {
                Ok(None) => match HttpRequest::coming(&input[used..], &limits) {
                    Some(coming) => match H::handle_coming(cx, this, &coming) {
                        Ok(()) => {
                            if coming.awaits_continue {
                                cx.net.send(this, HTTP_CONTINUE);
                            }
                            break;
                        }
                        Err(error) => Err(error),
                    },
                    None => break,
                },
                Ok(Some((request, length))) => {
                    used += length;
                    cx.net.figures.http_requests += 1;
                    H::handle_request(cx, this, &request)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                // F128: a bad request is told so before the connection ends.
                cx.net.send(this, &H::refusal(&error));
                return Err(error.into());
            }
        }
        Ok(used)
    }
}
