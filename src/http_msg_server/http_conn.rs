//! The HTTP connections of those who ask.

use log::{debug, warn};

use super::http_pdu::{pack_refusal, pack_send_result};
use super::http_query::{HttpErrorCode, Interface, dispatch_query};
use super::{Cx, HttpMsgServer, db_serv_conn};
use crate::base::http_parser_wrapper::{HttpError, HttpRequest};
use crate::netlib::{ConnHandler, HttpFraming, HttpHandler, NetHandle};

/// A connection is closed after so much silence.
///
/// C++: http_msg_server/HttpConn.h HTTP_CONN_TIMEOUT
pub const HTTP_CONN_TIMEOUT_MS: u64 = 60_000;

/// Who has asked waits so long for db_proxy_server.
pub const QUERY_TIMEOUT_MS: u64 = 15_000;

/// How often time-outs are looked at.
const TIMER_MS: u64 = 1_000;

/// A connection has one query at a time: it reads no further until that one is answered, so the
/// answers keep the order of the requests.
///
/// C++: http_msg_server/HttpConn.h CHttpConn
/// Differs: serves one request after the other; the original closes after the first.
#[derive(Debug, Default)]
pub struct HttpConn {
    /// Of the last query. An answer that comes too late carries an older one.
    seq_num: u16,
    waiting: Option<Waiting>,
}

/// A query whose answer has not come yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    interface: Interface,
    /// Whom it was sent to.
    db: NetHandle,
    since: u64,
    keep_alive: bool,
}

impl ConnHandler for HttpConn {
    type Server = HttpMsgServer;
    type Framing = HttpFraming;

    /// C++: http_msg_server/HttpConn.cpp CHttpConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        cx.srv.http_conns.insert(this, Self::default());
    }

    /// C++: http_msg_server/HttpConn.cpp CHttpConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl HttpHandler for HttpConn {
    /// C++: http_msg_server/HttpConn.cpp CHttpConn::OnRead
    /// Differs: what cannot be served is answered, not hung up on (F128).
    fn handle_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError> {
        if let Err(refusal) = dispatch_query(cx, this, request) {
            let keep_alive = request.keep_alive() && !cx.srv.stopping;
            Self::send(cx, this, &pack_refusal(refusal, keep_alive), keep_alive);
        }
        Ok(())
    }
}

impl HttpConn {
    /// Whether a query waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The number of the next query of this connection.
    pub(super) fn next_seq_num(cx: &mut Cx<'_>, this: NetHandle) -> u16 {
        cx.srv.http_conns.get_mut(this).map_or(0, |conn| {
            conn.seq_num = conn.seq_num.wrapping_add(1);
            conn.seq_num
        })
    }

    /// A query is on its way to db_proxy_server: nothing more is read until it is answered.
    pub(super) fn wait(
        cx: &mut Cx<'_>,
        this: NetHandle,
        db: NetHandle,
        interface: Interface,
        keep_alive: bool,
    ) {
        let since = cx.net.tick();
        if let Some(conn) = cx.srv.http_conns.get_mut(this) {
            conn.waiting = Some(Waiting { interface, db, since, keep_alive });
            cx.net.pause_read(this);
        }
    }

    /// Answers the query of this number with what `pack` makes, unless nobody waits for it any
    /// more: the connection is gone, or its answer came too late.
    ///
    /// C++: http_msg_server/HttpConn.cpp FindHttpConnByHandle
    /// Differs: an answer finds its query, not just its connection, so that one that is late is
    /// nobody's.
    pub(super) fn answer(
        cx: &mut Cx<'_>,
        this: NetHandle,
        interface: Interface,
        seq_num: u16,
        pack: impl FnOnce(bool) -> Vec<u8>,
    ) {
        let waits = cx.srv.http_conns.get(this).is_some_and(|conn| {
            conn.seq_num == seq_num && conn.waiting.is_some_and(|w| w.interface == interface)
        });
        if waits {
            Self::answer_now(cx, this, pack);
        } else {
            debug!("conn={this} answer dropped: nobody waits for it");
        }
    }

    fn answer_now(cx: &mut Cx<'_>, this: NetHandle, pack: impl FnOnce(bool) -> Vec<u8>) {
        let Some(conn) = cx.srv.http_conns.get_mut(this) else { return };
        let Some(waiting) = conn.waiting.take() else { return };
        db_serv_conn::end_of_query(cx, waiting.db);
        let keep_alive = waiting.keep_alive && !cx.srv.stopping;
        Self::send(cx, this, &pack(keep_alive), keep_alive);
        HttpMsgServer::stop_if_done(cx);
    }

    /// Those who wait for this db_proxy_server wait in vain.
    pub(super) fn fail_waiting(cx: &mut Cx<'_>, db: NetHandle) {
        let conns = cx.srv.http_conns.iter();
        let waits_for_it = |conn: &Self| conn.waiting.is_some_and(|waiting| waiting.db == db);
        let lost: Vec<_> =
            conns.filter(|(_, conn)| waits_for_it(conn)).map(|(handle, _)| handle).collect();
        for this in lost {
            Self::answer_now(cx, this, |keep_alive| {
                pack_send_result(HttpErrorCode::ServerException, keep_alive)
            });
        }
    }

    /// C++: http_msg_server/HttpConn.cpp CHttpConn::Send
    fn send(cx: &mut Cx<'_>, this: NetHandle, answer: &[u8], keep_alive: bool) {
        cx.net.send(this, answer);
        if keep_alive {
            cx.net.resume_read(this);
        } else {
            Self::close(cx, this);
        }
    }

    /// C++: http_msg_server/HttpConn.cpp CHttpConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        let Some(conn) = cx.srv.http_conns.remove(this) else { return };
        if let Some(waiting) = conn.waiting {
            db_serv_conn::end_of_query(cx, waiting.db);
        }
        cx.net.close(this);
        HttpMsgServer::stop_if_done(cx);
    }

    /// C++: http_msg_server/HttpConn.cpp CHttpConn::OnTimer
    /// Differs: who has asked is answered in time, whatever db_proxy_server does (F129).
    fn on_timer(cx: &mut Cx<'_>, this: NetHandle) {
        let tick = cx.net.tick();
        let Some(conn) = cx.srv.http_conns.get(this) else { return };
        match conn.waiting {
            Some(waiting) if tick >= waiting.since + QUERY_TIMEOUT_MS => {
                warn!("conn={this} no answer from db_proxy_server conn={}", waiting.db);
                Self::answer_now(cx, this, |keep_alive| {
                    pack_send_result(HttpErrorCode::ServerException, keep_alive)
                });
            }
            Some(_) => {}
            None => {
                // Pipelined queries may have waited for their turn longer than that.
                let last = cx.net.last_recv_tick(this).max(cx.net.last_send_tick(this));
                if tick > last + HTTP_CONN_TIMEOUT_MS {
                    debug!("conn={this} closed: idle");
                    Self::close(cx, this);
                }
            }
        }
    }
}

/// C++: http_msg_server/HttpConn.cpp init_http_conn
pub(super) fn init_http_conn(cx: &mut Cx<'_>) {
    cx.net.register_timer(http_conn_timer_callback, TIMER_MS);
}

/// C++: http_msg_server/HttpConn.cpp http_conn_timer_callback
fn http_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.http_conns.handles().collect::<Vec<_>>() {
        HttpConn::on_timer(cx, conn);
    }
}
