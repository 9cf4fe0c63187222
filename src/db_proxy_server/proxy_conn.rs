//! The connection of another server, and the way of its requests through the workers.

use log::{debug, info, warn};

use super::handler_map;
use super::proxy_task::{ProxyTask, ResponsePdu};
use super::{Cx, DbProxyServer};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler, keepalive};
use crate::pb::cmd::*;
use crate::pb::server::ImStopReceivePacket;

/// How often heartbeats and time-outs are looked at.
const TIMER_MS: u64 = 1_000;

/// Workers that answer nothing for so long are stuck. Whatever they wait for ends before: a
/// connection after 2 s, a command after a few more.
pub const STUCK_MS: u64 = 20_000;

/// Stopping: how often it is looked at whether all is done …
const STOP_CHECK_MS: u64 = 50;
/// … how long requests that are on their way are waited for …
const STOP_GRACE_MS: u64 = 500;
/// … and after how long requests that are not done are given up.
pub const STOP_MAX_MS: u64 = 10_000;

/// Nothing is kept of a connection but that it is there.
///
/// C++: db_proxy_server/ProxyConn.h CProxyConn
/// Differs: no `m_uuid`: a handle never leads to another connection (F81).
#[derive(Debug, Default)]
pub struct ProxyConn;

impl ConnHandler for ProxyConn {
    type Server = DbProxyServer;
    type Framing = PduFraming;

    /// C++: db_proxy_server/ProxyConn.cpp CProxyConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(peer) = cx.net.peer_addr(this) {
            info!("conn={this} peer={peer} connected");
        }
        cx.srv.proxy_conns.insert(this, Self);
    }

    /// C++: db_proxy_server/ProxyConn.cpp CProxyConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for ProxyConn {
    /// C++: db_proxy_server/ProxyConn.cpp CProxyConn::HandlePduBuf
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        let command_id = pdu.command_id();
        if command_id == CID_OTHER_HEARTBEAT {
            // Its arrival is all there is to it.
            return Ok(());
        }
        match handler_map::handler(command_id) {
            Some(handler) => add_task(cx, ProxyTask { conn: this, handler, pdu: pdu.to_owned() }),
            None => debug!("conn={this} cmd={command_id:#06x} ignored: no handler"),
        }
        Ok(())
    }
}

impl ProxyConn {
    /// C++: db_proxy_server/ProxyConn.cpp CProxyConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if cx.srv.proxy_conns.remove(this).is_none() {
            return;
        }
        info!("conn={this} lost conns={}", cx.srv.proxy_conns.len());
        cx.net.close(this);
    }
}

/// Registers the timer and the loop callback of all connections.
///
/// C++: db_proxy_server/ProxyConn.cpp init_proxy_conn
pub(super) fn init_proxy_conn(net: &mut Netlib<DbProxyServer>) {
    net.register_timer(proxy_timer_callback, TIMER_MS);
    net.add_loop(proxy_loop_callback);
}

/// C++: db_proxy_server/ProxyConn.cpp proxy_timer_callback
/// Differs: no heartbeats while the workers are stuck, so that msg_servers go elsewhere (F86).
fn proxy_timer_callback(cx: &mut Cx<'_>) {
    let now = cx.net.tick();
    if cx.srv.in_flight == 0 {
        cx.srv.progress_tick = now;
    }
    let stuck = now.saturating_sub(cx.srv.progress_tick) >= STUCK_MS;
    if stuck {
        warn!("no worker answered for {STUCK_MS} ms: requests={}", cx.srv.in_flight);
    }
    let conns: Vec<NetHandle> = cx.srv.proxy_conns.handles().collect();
    for conn in conns {
        if !stuck {
            keepalive::send_heartbeat(cx, conn, keepalive::SERVER_HEARTBEAT_INTERVAL_MS);
        }
        keepalive::check_timeout(cx, conn, keepalive::SERVER_TIMEOUT_MS);
    }
}

/// Sends what the workers have answered, and gives them what they had no room for.
///
/// C++: db_proxy_server/ProxyConn.cpp CProxyConn::SendResponsePduList
fn proxy_loop_callback(cx: &mut Cx<'_>) {
    for ResponsePdu { conn, pdu } in cx.srv.responses.take() {
        cx.srv.in_flight -= 1;
        cx.srv.progress_tick = cx.net.tick();
        if let Some(pdu) = pdu {
            cx.net.send_pdu(conn, &pdu);
        }
    }
    if cx.srv.room.take().is_empty() {
        return;
    }
    for task in std::mem::take(&mut cx.srv.refused) {
        let conn = task.conn;
        add_task(cx, task);
        // It is paused again if the queue is full again.
        if !cx.srv.refused.iter().any(|refused| refused.conn == conn) {
            cx.net.resume_read(conn);
        }
    }
}

/// Hands a request to the workers; while their queue is full its sender is not read from.
fn add_task(cx: &mut Cx<'_>, task: ProxyTask) {
    let conn = task.conn;
    let key = cx.srv.lanes.order_key(task.pdu.as_pdu());
    match cx.srv.workers.try_add_task(Some(key), task) {
        Ok(()) => cx.srv.in_flight += 1,
        Err(error) => {
            cx.srv.refused.push_back(error.into_task());
            cx.net.pause_read(conn);
        }
    }
}

/// Tells everybody to send no more, and ends the loop when the last request is done.
///
/// C++: db_proxy_server/ProxyConn.cpp sig_handler
/// Differs: runs in the loop, not in a signal handler (F46), and ends when nothing is left to do
/// instead of after four seconds (F48).
pub(super) fn stop(cx: &mut Cx<'_>) {
    if cx.srv.stop_tick.is_some() {
        return;
    }
    cx.srv.stop_tick = Some(cx.net.tick());
    let header = PduHeader::new(SID_OTHER, CID_OTHER_STOP_RECV_PACKET, 0);
    let pdu = ImPdu::encode_with(header, &ImStopReceivePacket { result: 0 });
    for conn in cx.srv.proxy_conns.handles() {
        cx.net.send_pdu(conn, &pdu);
    }
    cx.net.register_timer(exit_callback, STOP_CHECK_MS);
}

/// C++: db_proxy_server/ProxyConn.cpp exit_callback
fn exit_callback(cx: &mut Cx<'_>) {
    let Some(stop_tick) = cx.srv.stop_tick else { return };
    let waited = cx.net.tick().saturating_sub(stop_tick);
    let idle = cx.srv.in_flight == 0 && cx.srv.refused.is_empty();
    if waited >= STOP_MAX_MS {
        warn!("stopped with unfinished requests: {}", cx.srv.in_flight + cx.srv.refused.len());
        cx.net.stop_event();
    } else if idle && waited >= STOP_GRACE_MS {
        cx.net.stop_event();
    }
}
