//! The administration port: `/healthz` and `/metrics`, in the loop of the server itself.
//!
//! ```text
//! GET /healthz    200 ok, or 503 with one reason per line
//! GET /metrics    all figures, as Prometheus reads them
//! ```
//!
//! There is no port unless the key `MetricsListen` names one. Whoever reaches it may ask: it has no
//! authentication, tells nothing about single users, and changes nothing. What a peer can cost is
//! bounded by [`CONN_MAX`], [`REQUEST_TIME_MS`], [`IDLE_MS`], the limits of
//! [`HttpLimits`](crate::base::http_parser_wrapper::HttpLimits) for the head of a request, no body
//! at all, and one answer at a time.
//!
//! # A server gets its port by
//!
//! 1. a field `metrics_listen: Option<SocketAddr>` of its configuration, read by
//!    `config.get_opt("MetricsListen")?`;
//! 2. [`Health`] for its state;
//! 3. `dispatch.listen_for_admin(config.metrics_listen)?` beside its other listeners.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;

use log::{debug, info, warn};

use super::{ConnHandler, ConnLimits, Cx, EventDispatch, ListenOptions, NetHandle, Netlib};
use super::{HttpFraming, HttpHandler};
use crate::base::http_parser_wrapper::{HttpError, HttpRequest};
use crate::base::http_response::{HttpResponse, HttpStatus};
use crate::base::metrics_text::{self, MetricsText};
use crate::base::{command_line, process_stats};

/// Most connections at a time: some Prometheus servers, and people who look.
pub const CONN_MAX: usize = 16;

/// How long a request may take from its first to its last byte. It is answered with 408 then.
pub const REQUEST_TIME_MS: u64 = 5_000;

/// How long a connection may stay without a request, or without taking its answer. Longer than the
/// usual minute between two scrapes.
pub const IDLE_MS: u64 = 90_000;

/// A request has no body, and an answer is always shorter than this.
const LIMITS: ConnLimits = ConnLimits { message_len_max: 0, ..ConnLimits::CLIENT };

/// How often times are looked at.
const TIMER_MS: u64 = 1_000;

const TEXT: &str = "text/plain; charset=utf-8";

/// What a server tells about itself.
pub trait Health: Sized + 'static {
    /// Its name, e.g. `msg_server`.
    const PROGRAM: &'static str;

    /// Its own figures; those of the network and of the process are written already.
    fn write_metrics(&self, text: &mut MetricsText);

    /// Why it cannot do its work now, in plain words; nothing if it can.
    fn not_ready(&self) -> Vec<String>;
}

/// The connections of the port, each with the tick of its last answer. There are a few.
pub(super) type AdminConns = Vec<(NetHandle, u64)>;

/// A connection to the administration port of the server `S`.
#[derive(Debug)]
struct AdminConn<S>(PhantomData<S>);

impl<S: Health> ConnHandler for AdminConn<S> {
    type Server = S;
    type Framing = HttpFraming;

    fn on_connect(cx: &mut Cx<'_, S>, this: NetHandle) {
        let tick = cx.net.tick();
        cx.net.admin_conns.push((this, tick));
    }

    fn on_close(cx: &mut Cx<'_, S>, this: NetHandle) {
        Self::close(cx, this);
    }

    fn on_write_complete(cx: &mut Cx<'_, S>, this: NetHandle) {
        let tick = cx.net.tick();
        if let Some((_, since)) = cx.net.admin_conns.iter_mut().find(|(conn, _)| *conn == this) {
            *since = tick;
        }
        cx.net.resume_read(this);
    }
}

impl<S: Health> HttpHandler for AdminConn<S> {
    fn handle_request(
        cx: &mut Cx<'_, S>,
        this: NetHandle,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError> {
        let keep_alive = request.keep_alive();
        let answer = answer(cx, request, keep_alive);
        cx.net.send(this, &answer);
        if keep_alive {
            // The next request waits until this answer is with the kernel: whoever asks often and
            // reads slowly makes nothing pile up.
            cx.net.pause_read(this);
            cx.net.notify_written(this);
        } else {
            Self::close(cx, this);
        }
        Ok(())
    }
}

impl<S: Health> AdminConn<S> {
    fn close(cx: &mut Cx<'_, S>, this: NetHandle) {
        cx.net.admin_conns.retain(|(conn, _)| *conn != this);
        cx.net.close(this);
    }

    fn on_timer(cx: &mut Cx<'_, S>) {
        let tick = cx.net.tick();
        for (this, since) in cx.net.admin_conns.clone() {
            if cx.net.partial_since(this).is_some_and(|begun| tick >= begun + REQUEST_TIME_MS) {
                debug!("conn={this} closed: its request took too long");
                let answer = HttpResponse::new(HttpStatus::RequestTimeout);
                cx.net.send(this, &answer.to_bytes());
                Self::close(cx, this);
            } else if tick >= since + IDLE_MS {
                debug!("conn={this} closed: idle");
                Self::close(cx, this);
            }
        }
    }
}

fn answer<S: Health>(cx: &Cx<'_, S>, request: &HttpRequest<'_>, keep_alive: bool) -> Vec<u8> {
    let path = request.target.split_once('?').map_or(request.target, |(path, _)| path);
    let body;
    let response = match (path, request.method) {
        ("/healthz" | "/metrics", method) if !matches!(method, "GET" | "HEAD") => {
            HttpResponse::new(HttpStatus::MethodNotAllowed).header("Allow", "GET, HEAD")
        }
        ("/healthz", _) => {
            let reasons = cx.srv.not_ready();
            let status =
                if reasons.is_empty() { HttpStatus::Ok } else { HttpStatus::ServiceUnavailable };
            body = if reasons.is_empty() { "ok\n".to_owned() } else { reasons.join("\n") + "\n" };
            HttpResponse::new(status).body(TEXT, body.as_bytes())
        }
        ("/metrics", _) => {
            body = metrics(cx);
            HttpResponse::new(HttpStatus::Ok).body(metrics_text::CONTENT_TYPE, body.as_bytes())
        }
        _ => {
            body = "there are /healthz and /metrics\n".to_owned();
            HttpResponse::new(HttpStatus::NotFound).body(TEXT, body.as_bytes())
        }
    };
    let response = response.keep_alive(keep_alive).header("Cache-Control", "no-store");
    let mut bytes = response.to_bytes();
    if request.method == "HEAD" {
        // The head is that of the GET, its length included.
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        bytes.truncate(end.map_or(bytes.len(), |end| end + 4));
    }
    bytes
}

/// All figures of a server.
fn metrics<S: Health>(cx: &Cx<'_, S>) -> String {
    let mut text = MetricsText::default();
    let labels =
        [("program", S::PROGRAM), ("version", env!("CARGO_PKG_VERSION")), command_line::build()];
    text.gauge("teamtalk_build_info", "Always 1; its labels say what runs.").sample(&labels, 1);
    let uptime = cx.net.tick() as f64 / 1000.0;
    text.gauge("teamtalk_uptime_seconds", "Time since the start of the loop.").value(uptime);
    let ready = u8::from(cx.srv.not_ready().is_empty());
    text.gauge("teamtalk_ready", "Whether /healthz answers 200.").value(ready);
    process_stats::write(&mut text);
    cx.net.figures.write(&mut text);
    cx.srv.write_metrics(&mut text);
    text.into_string()
}

impl<S> Netlib<S> {
    /// Since when the rest of a message is missing.
    fn partial_since(&self, handle: NetHandle) -> Option<u64> {
        self.open_conn(handle)?.partial_since
    }
}

impl<S: Health> EventDispatch<S> {
    /// Opens the administration port if there is to be one, and says so in the log.
    ///
    /// # Errors
    /// As [`Self::listen`].
    pub fn listen_for_admin(&mut self, addr: Option<SocketAddr>) -> io::Result<()> {
        let Some(addr) = addr else { return Ok(()) };
        let options = ListenOptions { conn_max: CONN_MAX, ..ListenOptions::new(LIMITS) };
        let addr = self.listen::<AdminConn<S>>(addr, options)?;
        self.net().register_timer(AdminConn::<S>::on_timer, TIMER_MS);
        self.set_admin_addr(addr);
        info!("listening addr={addr} for=metrics");
        if !addr.ip().is_loopback() {
            warn!("MetricsListen={addr}: everybody who reaches this address can read the metrics");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
