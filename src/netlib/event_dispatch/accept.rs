//! Accepting, within limits.

use std::io;
use std::net::SocketAddr;

use log::{info, warn};
use mio::net::TcpStream;

use super::EventDispatch;
use crate::netlib::Cx;
use crate::netlib::base_socket::BaseSocket;
use crate::netlib::im_conn::ConnState;
use crate::netlib::net_stats::Refusal;

/// Most connections one listener accepts in one turn.
const ACCEPT_BUDGET: usize = 256;

/// How long accepting pauses when no descriptor is left; a connection that ends cuts it short.
const ACCEPT_PAUSE_MS: u64 = 1_000;

/// At most one log line about refused connections in this time.
const REFUSED_LOG_MS: u64 = 60_000;

impl<S> EventDispatch<S> {
    /// C++: base/BaseSocket.cpp CBaseSocket::_AcceptNewSocket
    /// Differs: without a free descriptor it tries again by itself, and says so once (F35).
    pub(super) fn accept_new_sockets(&mut self, at: usize, srv: &mut S) {
        for _ in 0..ACCEPT_BUDGET {
            let Some(listener) = self.listeners.get_mut(at) else {
                return;
            };
            match listener.accept() {
                Ok(Some((stream, peer))) => self.add_accepted(at, stream, peer, srv),
                Ok(None) => {
                    listener.pending = false;
                    if listener.starved {
                        listener.starved = false;
                        info!("accepting again: nobody waits any more");
                    }
                    return;
                }
                Err(error) => return self.pause_accepting(at, &error),
            }
        }
        if let Some(listener) = self.listeners.get_mut(at) {
            listener.pending = true;
        }
    }

    /// Goes on where a budget or a pause had ended accepting.
    pub(super) fn resume_accepts(&mut self, srv: &mut S) {
        match self.accept_paused {
            Some(until) if self.net.tick() < until => return,
            _ => self.accept_paused = None,
        }
        for at in 0..self.listeners.len() {
            if self.listeners[at].pending && self.accept_paused.is_none() {
                self.accept_new_sockets(at, srv);
            }
        }
    }

    fn add_accepted(&mut self, at: usize, stream: TcpStream, peer: SocketAddr, srv: &mut S) {
        let listener = &mut self.listeners[at];
        let (ops, limits, transport) =
            (listener.ops, listener.options.limits, listener.options.transport.clone());
        if !listener.options.allow.allows(peer.ip()) {
            return self.refuse(at, peer, Refusal::NotAllowed);
        }
        if listener.is_full() {
            return self.refuse(at, peer, Refusal::ConnMax);
        }
        let Some(handle) = self.net.add_conn(ops, limits, ConnState::Connected) else {
            return self.refuse(at, peer, Refusal::NoHandle);
        };
        match BaseSocket::register(stream, handle, self.poll.registry()) {
            Ok(socket) => self.put_socket(handle, socket),
            Err(error) => {
                self.net.remove_conn(handle);
                warn!("peer={peer} not accepted: {error}");
                return;
            }
        }
        self.listeners[at].conn_count += 1;
        self.net.figures.stats.accepted += 1;
        if let Some(conn) = self.net.conn_mut(handle) {
            conn.peer = Some(peer);
            conn.listener = Some(at as u16);
            conn.transport = transport.map(|transport| transport.make());
        }
        (ops.on_connect)(&mut Cx { srv, net: &mut self.net }, handle);
    }

    /// The new connection was dropped: its peer sees it closed at once, everybody else goes on.
    fn refuse(&mut self, at: usize, peer: SocketAddr, refusal: Refusal) {
        let tick = self.net.tick();
        self.net.figures.refuse(refusal);
        let listener = &mut self.listeners[at];
        listener.refused += 1;
        if listener.refused_log_tick <= tick {
            warn!("peer={peer} refused: {}, refused={}", refusal.text(), listener.refused);
            listener.refused_log_tick = tick + REFUSED_LOG_MS;
        }
    }

    fn pause_accepting(&mut self, at: usize, error: &io::Error) {
        let tick = self.net.tick();
        self.net.figures.stats.accept_paused += 1;
        self.accept_paused = Some(tick + ACCEPT_PAUSE_MS);
        let listener = &mut self.listeners[at];
        listener.pending = true;
        if !listener.starved {
            listener.starved = true;
            warn!("accepting pauses: {error}; conns={}", self.net.conn_count());
        }
        // Sockets that only wait for a farewell are the cheapest to give up.
        while let Some(handle) = self.lingering.take_oldest() {
            self.free(handle);
        }
    }
}
