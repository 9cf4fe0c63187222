//! Heartbeats and time-outs, the same for every class of connections.

use super::Cx;
use super::im_conn::{CloseReason, ConnHandler};
use super::net_handle::NetHandle;
use crate::base::im_pdu::PduHeader;

/// Between servers: a heartbeat after this much silence of our own.
///
/// C++: base/imconn.h SERVER_HEARTBEAT_INTERVAL
pub const SERVER_HEARTBEAT_INTERVAL_MS: u64 = 5_000;

/// Between servers: the peer is given up after this much silence.
///
/// C++: base/imconn.h SERVER_TIMEOUT
pub const SERVER_TIMEOUT_MS: u64 = 30_000;

/// What clients are told to do; servers do not use it.
///
/// C++: base/imconn.h CLIENT_HEARTBEAT_INTERVAL
pub const CLIENT_HEARTBEAT_INTERVAL_MS: u64 = 30_000;

/// A PC client, or one that has not logged in, is given up after this much silence.
///
/// C++: base/imconn.h CLIENT_TIMEOUT
pub const CLIENT_TIMEOUT_MS: u64 = 120_000;

/// A mobile client is given up after this much silence.
///
/// C++: base/imconn.h MOBILE_CLIENT_TIMEOUT
pub const MOBILE_CLIENT_TIMEOUT_MS: u64 = 300_000;

/// A heartbeat, exactly 16 bytes.
const HEARTBEAT: PduHeader = PduHeader::new(7, 0x0701, 0);

/// Sends a heartbeat when nothing was sent for longer than `interval_ms`.
pub fn send_heartbeat<S>(cx: &mut Cx<'_, S>, this: NetHandle, interval_ms: u64) {
    if cx.net.tick() > cx.net.last_send_tick(this) + interval_ms {
        cx.net.send_msg(this, HEARTBEAT, &());
    }
}

/// Whether nothing has arrived for longer than `timeout_ms`; then the connection is ended, and
/// `on_close` of its class comes before the next poll.
pub fn check_timeout<S>(cx: &mut Cx<'_, S>, this: NetHandle, timeout_ms: u64) -> bool {
    let late = cx.net.is_open(this) && cx.net.tick() > cx.net.last_recv_tick(this) + timeout_ms;
    if late {
        cx.net.fail_later(this, CloseReason::ReceiveTimeout(timeout_ms));
    }
    late
}

/// What every connection between servers does once a second: both of the above.
///
/// C++: route_server/RouteConn.cpp CRouteConn::OnTimer
pub fn on_server_timer<H: ConnHandler>(cx: &mut Cx<'_, H::Server>, this: NetHandle) {
    send_heartbeat(cx, this, SERVER_HEARTBEAT_INTERVAL_MS);
    check_timeout(cx, this, SERVER_TIMEOUT_MS);
}
