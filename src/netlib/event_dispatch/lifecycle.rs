//! How connections come into being and end.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::Duration;

use log::{debug, info, warn};
use mio::Events;

use super::EventDispatch;
use crate::netlib::base_socket::BaseSocket;
use crate::netlib::im_conn::{CloseReason, ConnState};
use crate::netlib::net_handle::NetHandle;
use crate::netlib::{Cx, Target};

/// How long a connect may take, resolving included. The kernel alone would try for minutes.
pub const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// How long the end of the loop waits for peers to take what is queued for them.
pub const STOP_FLUSH_MS: u64 = 10_000;

impl<S> EventDispatch<S> {
    /// Starts the connects that handlers asked for, and those whose name is resolved by now.
    pub(super) fn open_connects(&mut self, srv: &mut S) {
        for (handle, target) in mem::take(&mut self.net.connect_list) {
            self.connecting.add(handle, self.net.tick());
            match target {
                Target::Addr(addr) => {
                    self.untried.insert(handle, [addr].into());
                    self.connect_next(handle, None, srv);
                }
                Target::Name(host, port) => self.resolver.resolve(handle, host, port),
            }
        }
        for (handle, result) in self.resolver.take() {
            match result {
                Ok(addrs) => {
                    self.untried.insert(handle, addrs.into());
                    self.connect_next(handle, None, srv);
                }
                Err(error) => self.fail(handle, CloseReason::Resolve(error), srv),
            }
        }
    }

    /// Tries the next address of a connecting handle; without one, `last_error` ends it.
    fn connect_next(&mut self, handle: NetHandle, last_error: Option<io::Error>, srv: &mut S) {
        let next = self.untried.get_mut(&handle).and_then(VecDeque::pop_front);
        let Some(addr) = next else {
            let error = last_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
            return self.fail(handle, error.into(), srv);
        };
        let Some(conn) = self.net.open_conn_mut(handle) else {
            self.untried.remove(&handle);
            return;
        };
        conn.peer = Some(addr);
        match BaseSocket::connect(addr, handle, self.poll.registry()) {
            Ok(socket) => self.put_socket(handle, socket),
            Err(error) => self.connect_next(handle, Some(error), srv),
        }
    }

    /// An event on a connecting socket.
    pub(super) fn finish_connect(&mut self, handle: NetHandle, srv: &mut S) {
        let Some(result) = self.socket(handle).and_then(|s| s.connect_result()) else {
            return;
        };
        if let Err(error) = result {
            self.sockets[handle.index()] = None;
            if let Some(conn) = self.net.conn_mut(handle) {
                // The end of that socket is not the end of the next one.
                conn.half_closed = false;
            }
            return self.connect_next(handle, Some(error), srv);
        }
        self.untried.remove(&handle);
        let tick = self.net.tick();
        let Some(conn) = self.net.open_conn_mut(handle) else {
            return;
        };
        conn.state = ConnState::Connected;
        conn.busy = false;
        conn.last_recv_tick = tick;
        let on_confirm = conn.ops.on_confirm;
        // What was queued before goes first.
        self.net.list_write(handle);
        on_confirm(&mut Cx { srv, net: &mut self.net }, handle);
    }

    /// Connections that netlib gave up outside of an event.
    pub(super) fn report_failures(&mut self, srv: &mut S) {
        for (handle, reason) in mem::take(&mut self.net.fail_list) {
            self.fail(handle, reason, srv);
        }
    }

    /// Ends a connection the service still believes in, and tells it.
    pub(super) fn fail(&mut self, handle: NetHandle, reason: CloseReason, srv: &mut S) {
        let Some(conn) = self.net.open_conn_mut(handle) else {
            return;
        };
        let peer = conn.peer;
        if conn.state == ConnState::Connecting || !reason.flushes() {
            conn.out.clear();
        }
        conn.lingers = reason.lingers();
        conn.state = ConnState::Closing;
        let on_close = conn.ops.on_close;
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        match &reason {
            CloseReason::PeerClosed => debug!("conn={handle} peer={peer} closed: {reason}"),
            CloseReason::Io(_) | CloseReason::NotConfigured => {
                info!("conn={handle} peer={peer} closed: {reason}")
            }
            _ => warn!("conn={handle} peer={peer} closed: {reason}"),
        }
        self.net.figures.close(&reason);
        self.net.close_list.push(handle);
        on_close(&mut Cx { srv, net: &mut self.net }, handle);
    }

    /// Frees what was closed and has nothing left to write; the rest gets [`LINGER_MS`].
    ///
    /// [`LINGER_MS`]: crate::netlib::LINGER_MS
    pub(super) fn free_closed(&mut self) {
        for handle in mem::take(&mut self.net.close_list) {
            let Some(conn) = self.net.conn_mut(handle) else {
                continue;
            };
            if conn.state != ConnState::Closing {
                continue;
            }
            if conn.out.is_empty() {
                self.finish_close(handle);
            } else {
                self.lingering.add(handle, self.net.tick());
            }
        }
    }

    /// Everything is written: tells the peer, and frees the socket once the peer has noticed.
    pub(super) fn finish_close(&mut self, handle: NetHandle) {
        let told = self.socket(handle).is_some_and(|socket| socket.shutdown_write().is_ok());
        let tick = self.net.tick();
        let Some(conn) = self.net.conn_mut(handle) else {
            return;
        };
        if !told || !conn.lingers || conn.peer_closed {
            return self.free(handle);
        }
        conn.state = ConnState::Lingering;
        self.lingering.add(handle, tick);
        // Bytes that arrived before raise no new event.
        self.net.list_read(handle);
    }

    /// Gives socket and slot back.
    pub(super) fn free(&mut self, handle: NetHandle) {
        let tick = self.net.tick();
        let Some(conn) = self.net.remove_conn(handle) else {
            return;
        };
        self.untried.remove(&handle);
        // Closing the descriptor takes it out of the poll as well.
        if let Some(socket) = self.sockets.get_mut(handle.index()) {
            *socket = None;
        }
        if let Some(listener) = conn.listener.and_then(|l| self.listeners.get_mut(l as usize)) {
            listener.conn_count -= 1;
        }
        // A descriptor is free again.
        self.accept_paused = self.accept_paused.map(|_| tick);
    }

    /// Connects that took too long, and closed sockets whose peer never noticed.
    pub(super) fn check_deadlines(&mut self, srv: &mut S) {
        let tick = self.net.tick();
        while let Some(handle) = self.connecting.take_due(tick) {
            let conn = self.net.open_conn(handle);
            if conn.is_some_and(|conn| conn.state == ConnState::Connecting) {
                self.fail(handle, CloseReason::ConnectTimeout(CONNECT_TIMEOUT_MS), srv);
            }
        }
        while let Some(handle) = self.lingering.take_due(tick) {
            self.free(handle);
        }
    }

    /// The end of the loop: nothing is accepted or read any more, what is queued is written.
    ///
    /// The C++ just exits.
    pub(super) fn finish(&mut self, events: &mut Events) -> io::Result<()> {
        self.listeners.clear();
        self.signals = None;
        let end = self.net.tick() + self.stop_flush_ms;
        let handles: Vec<NetHandle> = self.net.conns.handles().collect();
        let mut unsent: Vec<NetHandle> = handles.clone();
        loop {
            unsent.retain(|&handle| self.write_last(handle));
            let left = end.saturating_sub(self.net.tick());
            if unsent.is_empty() || left == 0 {
                break;
            }
            self.poll(events, Some(Duration::from_millis(left)))?;
        }
        if !unsent.is_empty() {
            warn!("stopped with unsent output: conns={}", unsent.len());
        }
        for handle in handles {
            self.free(handle);
        }
        Ok(())
    }

    /// Whether a connection that was established has still something to write after one attempt.
    fn write_last(&mut self, handle: NetHandle) -> bool {
        let Some(conn) = self.net.conns.get_mut(handle) else {
            return false;
        };
        let Some(Some(socket)) = self.sockets.get_mut(handle.index()) else {
            return false;
        };
        conn.state != ConnState::Connecting
            && socket.send(&mut conn.out, &mut self.net.pool).is_ok()
            && !conn.out.is_empty()
    }

    pub(super) fn put_socket(&mut self, handle: NetHandle, socket: BaseSocket) {
        let index = handle.index();
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(socket);
    }
}
