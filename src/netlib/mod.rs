//! The reactor: one thread, one loop, every socket of a process. C++ `base/netlib.h` and what lies
//! under it.
//!
//! A connection is split in two under one [`NetHandle`]: netlib owns the transport half (buffers,
//! ticks, limits), the service owns the business half in a [`ConnMap`]. A handler gets both through
//! [`Cx`] and names connections by handle, so nothing is borrowed across a call and any connection
//! may close any other at any moment.
//!
//! [`Netlib`] is sans-io: handlers change its state, and [`EventDispatch`] does what that state
//! asks for. A unit test needs no socket and no clock.
//!
//! # Rules of the loop
//!
//! 1. A turn is: report failures, connect, flush, free, poll, events, resumed reads and accepts,
//!    signals, deadlines, timers, loop callbacks. The loop sleeps until the next time that matters,
//!    for ever when there is none, and never while one of its lists is non-empty.
//! 2. `send` appends and lists the handle; it cannot fail and cannot call back. To a dead handle it
//!    does nothing.
//! 3. The `close` of a class removes its state first, tells others second, calls [`Netlib::close`]
//!    last, and may run twice. The handle is dead for look-ups at once; the socket lives on until
//!    what was queued is written and the peer has taken notice, [`LINGER_MS`] at most.
//! 4. `on_close` comes only for ends the service did not ask for (peer gone, refused connect, bad
//!    PDU, full queue), exactly once, and never from inside a `send`.
//! 5. After any call that takes `cx`, look the connection up again. The borrow checker insists.
//! 6. A read takes at most [`READ_BUDGET`] bytes a turn; what is left is read next turn without
//!    waiting for an event. The end of the stream is reported after the last whole message.
//! 7. A generation advances on every removal, so a stale handle finds nothing, and no handle comes
//!    back within ten minutes.
//! 8. Only [`event_dispatch`], `base_socket` and `listener` touch sockets, and only the first reads
//!    the clock: once a turn, passed down as [`Netlib::tick`]. Handlers never block; what blocks
//!    goes to a worker and comes back through a [`ResponseList`].
//! 9. An idle connection holds no buffer: input buffers exist only around an incomplete message,
//!    output buffers only while something is unsent.

pub mod admin;
pub mod conn_map;
pub mod event_dispatch;
pub mod framing;
pub mod im_conn;
pub mod keepalive;
pub mod net_handle;
pub mod open_files;
pub mod options;
pub mod peers;
pub mod resolver;
pub mod response_list;
pub mod serv_conns;
pub mod serv_info;
pub mod timer;
pub mod tls;
pub mod transport;

mod base_socket;
mod deadlines;
mod listener;
mod net_stats;
mod out_queue;
#[cfg(test)]
pub(crate) mod testing;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use prost::Message;

pub use admin::Health;
pub use conn_map::ConnMap;
pub use event_dispatch::{EventDispatch, READ_BUDGET, Stopper};
pub use framing::{Framing, HttpFraming, HttpHandler, PduFraming, PduHandler};
pub use im_conn::{CloseReason, ConnHandler};
pub use net_handle::NetHandle;
pub use net_stats::NetStats;
pub use options::{ConnLimits, ListenOptions};
pub use response_list::ResponseList;
pub use serv_conns::ServConns;
pub use serv_info::ServList;
pub use timer::Callback;
pub use transport::{MakeTransport, Transport};

use crate::base::im_pdu::{self, ImPdu, PduHeader, PduRef};
use admin::AdminConns;
use im_conn::{ConnOps, ConnState, ImConn};
use net_handle::Slots;
use net_stats::Figures;
use out_queue::{BufPool, OutQueue};
use timer::{TimerId, Timers};

/// How long a socket that the service closed may take to get rid of what was queued for it.
pub const LINGER_MS: u64 = 5_000;

/// Everything a callback may touch: the service's own state and the network.
#[derive(Debug)]
pub struct Cx<'a, S: 'static> {
    /// The service: C++ globals and statics.
    pub srv: &'a mut S,
    /// The network.
    pub net: &'a mut Netlib<S>,
}

/// Where an outgoing connection leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Addr(SocketAddr),
    Name(String, u16),
}

/// All connections, timers and pending work of a loop. No sockets: see [`EventDispatch`].
///
/// C++: base/netlib.h netlib_*
pub struct Netlib<S: 'static> {
    conns: Slots<ImConn<S>>,
    pool: BufPool,
    tick: u64,
    timers: Timers<S>,
    loops: Vec<Callback<S>>,
    /// Has unsent bytes and a socket that may take them, each at most once.
    write_list: Vec<NetHandle>,
    close_list: Vec<NetHandle>,
    connect_list: Vec<(NetHandle, Target)>,
    /// Has bytes that no event will announce, each at most once.
    read_list: Vec<NetHandle>,
    fail_list: Vec<(NetHandle, CloseReason)>,
    /// When a delayed connection may go on.
    delays: BinaryHeap<Reverse<(u64, NetHandle)>>,
    figures: Figures,
    admin_conns: AdminConns,
    /// What lies under the connections that are made from here.
    outgoing: Option<MakeTransport>,
    running: bool,
}

impl<S> std::fmt::Debug for Netlib<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlib")
            .field("conns", &self.conns.len())
            .field("tick", &self.tick)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<S> Netlib<S> {
    /// A network without connections, at a time of the caller's choice.
    pub fn new(tick: u64) -> Self {
        Self {
            conns: Slots::new(),
            pool: BufPool::default(),
            tick,
            timers: Timers::new(),
            loops: Vec::new(),
            write_list: Vec::new(),
            close_list: Vec::new(),
            connect_list: Vec::new(),
            read_list: Vec::new(),
            fail_list: Vec::new(),
            delays: BinaryHeap::new(),
            figures: Figures::new(),
            admin_conns: AdminConns::default(),
            outgoing: None,
            running: true,
        }
    }

    /// Starts a connection of class `H`. Success is reported through `on_confirm`, failure through
    /// `on_close`, never from inside this call. `None` when the process has too many connections.
    ///
    /// C++: base/netlib.cpp netlib_connect
    /// Differs: failures the kernel reports at once take the same road as late ones (F36).
    pub fn connect<H>(&mut self, addr: SocketAddr, limits: ConnLimits) -> Option<NetHandle>
    where
        H: ConnHandler<Server = S>,
    {
        self.add_outgoing::<H>(Target::Addr(addr), limits)
    }

    /// What lies between socket and framing of every connection that is made from here on; all of
    /// them lead to other servers.
    pub fn set_outgoing_transport(&mut self, transport: Option<MakeTransport>) {
        self.outgoing = transport;
    }

    /// The same with a host name, which a helper thread resolves; an address in text form is used
    /// as it is.
    ///
    /// C++: base/BaseSocket.cpp CBaseSocket::_SetAddr
    /// Differs: the loop never waits for a resolver, and a name that has no address fails (F39).
    pub fn connect_host<H>(
        &mut self,
        host: &str,
        port: u16,
        limits: ConnLimits,
    ) -> Option<NetHandle>
    where
        H: ConnHandler<Server = S>,
    {
        let target = match host.parse() {
            Ok(ip) => Target::Addr(SocketAddr::new(ip, port)),
            Err(_) => Target::Name(host.to_owned(), port),
        };
        self.add_outgoing::<H>(target, limits)
    }

    /// Queues bytes.
    ///
    /// C++: base/imconn.cpp CImConn::Send
    /// Differs: the queue has a limit, beyond which the connection ends (F24).
    pub fn send(&mut self, handle: NetHandle, bytes: &[u8]) {
        self.queue(handle, bytes.len(), |conn, pool| match &mut conn.transport {
            None => conn.out.append(pool, |tail| tail.extend_from_slice(bytes)),
            Some(transport) => conn.out.append(pool, |tail| transport.send(bytes, tail)),
        });
    }

    /// Queues a PDU that was just received, as it is.
    pub fn send_received(&mut self, handle: NetHandle, pdu: PduRef<'_>) {
        let bytes = pdu.as_bytes();
        let queued = self.queue(handle, bytes.len(), |conn, pool| match &mut conn.transport {
            None => conn.out.append(pool, |tail| tail.extend_from_slice(bytes)),
            Some(transport) => conn.out.append(pool, |tail| transport.send(bytes, tail)),
        });
        if queued {
            self.figures.pdus_out.count(pdu.command_id(), bytes.len());
        }
    }

    /// Queues a PDU that several connections may share: nothing is copied per connection.
    ///
    /// C++: base/imconn.h CImConn::SendPdu
    pub fn send_pdu(&mut self, handle: NetHandle, pdu: &ImPdu) {
        let bytes = pdu.bytes();
        let queued = self.queue(handle, bytes.len(), |conn, pool| match &mut conn.transport {
            None => conn.out.push_shared(pool, bytes),
            Some(transport) => conn.out.append(pool, |tail| transport.send(bytes, tail)),
        });
        if queued {
            self.figures.pdus_out.count(pdu.as_pdu().command_id(), bytes.len());
        }
    }

    /// Encodes a PDU for one connection right behind what is queued for it: no PDU is built.
    ///
    /// C++: base/im_conn_util.cpp SendMessageLite
    pub fn send_msg(&mut self, handle: NetHandle, header: PduHeader, msg: &impl Message) {
        let length = im_pdu::pdu_len(msg);
        let queued = self.queue(handle, length, |conn, pool| match &mut conn.transport {
            None => conn.out.append(pool, |tail| im_pdu::append_pdu(tail, header, msg)),
            Some(transport) => {
                let mut plain = pool.take();
                im_pdu::append_pdu(&mut plain, header, msg);
                conn.out.append(pool, |tail| transport.send(&plain, tail));
                pool.give(plain);
            }
        });
        if queued {
            self.figures.pdus_out.count(header.command_id, length);
        }
    }

    /// Ends a connection for the service at once; what is queued is still written.
    ///
    /// C++: base/netlib.cpp netlib_close
    /// Differs: queued bytes are not thrown away (F58), and a second close is harmless.
    pub fn close(&mut self, handle: NetHandle) {
        let Some(conn) = self.conns.get_mut(handle).filter(|c| c.is_open()) else {
            return;
        };
        if conn.state == ConnState::Connecting {
            // Nothing can be written: there never was a peer.
            conn.out.clear();
        } else if let Some(transport) = &mut conn.transport {
            conn.out.append(&mut self.pool, |tail| transport.close(tail));
            if !conn.write_listed && !conn.busy {
                conn.write_listed = true;
                self.write_list.push(handle);
            }
        }
        conn.state = ConnState::Closing;
        self.close_list.push(handle);
        self.figures.close_by_service();
    }

    /// Gives the connection no more messages until [`Self::resume_read`]: what arrives stays with
    /// the kernel, so a peer that sends too much is slowed down, not dropped.
    pub fn pause_read(&mut self, handle: NetHandle) {
        if let Some(conn) = self.open_conn_mut(handle) {
            conn.paused = true;
        }
    }

    /// Ends a pause. Messages that waited are delivered in the next turn.
    pub fn resume_read(&mut self, handle: NetHandle) {
        let Some(conn) = self.open_conn_mut(handle).filter(|c| c.paused) else {
            return;
        };
        conn.paused = false;
        if !conn.is_held() {
            self.list_read(handle);
        }
    }

    /// Like a pause that ends by itself after `wait_ms`, unless one that waits longer is running.
    /// Together with a [`TokenBucket`](crate::base::token_bucket::TokenBucket) it slows down a peer
    /// that asks too fast.
    pub fn delay_read(&mut self, handle: NetHandle, wait_ms: u64) {
        let until = self.tick + wait_ms;
        let Some(conn) = self.open_conn_mut(handle).filter(|c| c.delayed_until < until) else {
            return;
        };
        if wait_ms > 0 {
            conn.delayed_until = until;
            self.delays.push(Reverse((until, handle)));
            self.figures.delayed += 1;
        }
    }

    /// Ends the delays that are over.
    pub(crate) fn end_delays(&mut self) {
        while let Some(&Reverse((until, handle))) = self.delays.peek() {
            if until > self.tick {
                return;
            }
            self.delays.pop();
            // A longer delay may have replaced this one.
            let conn = self.open_conn_mut(handle).filter(|c| c.delayed_until == until);
            if let Some(conn) = conn {
                conn.delayed_until = 0;
                if !conn.is_held() {
                    self.list_read(handle);
                }
            }
        }
    }

    /// When the next delay is over.
    pub(crate) fn next_delay(&self) -> Option<u64> {
        self.delays.peek().map(|Reverse((until, _))| *until)
    }

    /// Whether the service may still use this handle.
    pub fn is_open(&self, handle: NetHandle) -> bool {
        self.open_conn(handle).is_some()
    }

    /// Whether it is established, and the service may still use it.
    pub fn is_connected(&self, handle: NetHandle) -> bool {
        self.open_conn(handle).is_some_and(|conn| conn.state == ConnState::Connected)
    }

    /// The address of the other side, once known.
    pub fn peer_addr(&self, handle: NetHandle) -> Option<SocketAddr> {
        self.conns.get(handle)?.peer
    }

    /// When something was last sent, 0 for a dead handle.
    pub fn last_send_tick(&self, handle: NetHandle) -> u64 {
        self.open_conn(handle).map_or(0, |conn| conn.last_send_tick)
    }

    /// When something last arrived, 0 for a dead handle.
    pub fn last_recv_tick(&self, handle: NetHandle) -> u64 {
        self.open_conn(handle).map_or(0, |conn| conn.last_recv_tick)
    }

    /// Bytes queued and not yet with the kernel.
    pub fn out_len(&self, handle: NetHandle) -> usize {
        self.open_conn(handle).map_or(0, |conn| conn.out.len())
    }

    /// Calls `on_write_complete` once what is queued now is with the kernel, even if the socket
    /// takes it at once: for a service that sends something long piece by piece. If nothing is
    /// queued, nothing will be told.
    pub fn notify_written(&mut self, handle: NetHandle) {
        if let Some(conn) = self.open_conn_mut(handle) {
            conn.tell_written = true;
        }
    }

    /// Changes the limits of one connection, for instance after a login.
    pub fn set_limits(&mut self, handle: NetHandle, limits: ConnLimits) {
        if let Some(conn) = self.open_conn_mut(handle) {
            conn.limits = limits;
        }
    }

    /// Calls `callback` every `interval_ms`, first after one interval. Registering the same
    /// function again replaces the interval and restarts the delay.
    ///
    /// C++: base/netlib.cpp netlib_register_timer
    pub fn register_timer<F>(&mut self, callback: F, interval_ms: u64)
    where
        F: FnMut(&mut Cx<'_, S>) + Send + 'static,
    {
        self.timers.add(callback, interval_ms, self.tick);
    }

    /// Forgets the timer of this function.
    ///
    /// C++: base/netlib.cpp netlib_delete_timer
    pub fn delete_timer<F>(&mut self, _callback: F)
    where
        F: FnMut(&mut Cx<'_, S>) + Send + 'static,
    {
        self.timers.remove(TimerId::of::<F>());
    }

    /// Calls `callback` at the end of every turn.
    ///
    /// C++: base/netlib.cpp netlib_add_loop
    pub fn add_loop(&mut self, callback: Callback<S>) {
        self.loops.push(callback);
    }

    /// Ends the loop after this turn: listeners close, what is queued is written, then all
    /// connections close without a callback.
    ///
    /// C++: base/netlib.cpp netlib_stop_event
    pub fn stop_event(&mut self) {
        self.running = false;
    }

    /// C++: base/netlib.cpp netlib_is_running
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Milliseconds of a clock that only goes forward, the same during a whole turn.
    ///
    /// C++: base/util.cpp get_tick_count
    /// Differs: a step of the wall clock expires nothing and freezes nothing (F38).
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// Moves the time of a network without a loop; tests and simulations drive it.
    pub fn set_tick(&mut self, tick: u64) {
        debug_assert!(self.tick <= tick);
        self.tick = tick;
    }

    /// Connections that are not freed yet, closing ones included.
    pub fn conn_count(&self) -> usize {
        self.conns.len()
    }

    /// What has happened so far.
    pub fn stats(&self) -> NetStats {
        self.figures.totals()
    }

    /// Ends a connection on behalf of netlib: `on_close` comes before the next poll.
    pub(crate) fn fail_later(&mut self, handle: NetHandle, reason: CloseReason) {
        self.fail_list.push((handle, reason));
    }

    /// The limit for the next message, or `None` when the connection takes none now.
    #[inline]
    pub(crate) fn message_len_max(&self, handle: NetHandle) -> Option<u32> {
        let conn = self.conns.get(handle).filter(|c| c.takes_messages())?;
        Some(conn.limits.message_len_max)
    }

    /// Counts a body that does not parse; false when it was one too many.
    pub(crate) fn count_bad_body(&mut self, handle: NetHandle) -> bool {
        let Some(conn) = self.open_conn_mut(handle) else {
            return false;
        };
        conn.bad_bodies = conn.bad_bodies.saturating_add(1);
        conn.bad_bodies <= conn.limits.bad_bodies_max
    }

    pub(crate) fn add_conn(
        &mut self,
        ops: &'static ConnOps<S>,
        limits: ConnLimits,
        state: ConnState,
    ) -> Option<NetHandle> {
        let handle = self.conns.insert(ImConn::new(ops, limits, state, self.tick), self.tick)?;
        let class = self.figures.add_conn((ops.class)());
        if let Some(conn) = self.conns.get_mut(handle) {
            conn.class = class;
        }
        Some(handle)
    }

    /// Forgets a connection, socket or not.
    pub(crate) fn remove_conn(&mut self, handle: NetHandle) -> Option<ImConn<S>> {
        let conn = self.conns.remove(handle, self.tick)?;
        self.figures.remove_conn(conn.class);
        Some(conn)
    }

    pub(crate) fn conn_mut(&mut self, handle: NetHandle) -> Option<&mut ImConn<S>> {
        self.conns.get_mut(handle)
    }

    pub(crate) fn list_read(&mut self, handle: NetHandle) {
        let Some(conn) = self.conns.get_mut(handle).filter(|c| !c.read_listed) else {
            return;
        };
        conn.read_listed = true;
        self.read_list.push(handle);
    }

    pub(crate) fn list_write(&mut self, handle: NetHandle) {
        let Some(conn) = self.conns.get_mut(handle) else {
            return;
        };
        if !conn.write_listed && !conn.busy && !conn.out.is_empty() {
            conn.write_listed = true;
            self.write_list.push(handle);
        }
    }

    /// Whether the next turn has work that no event announces.
    pub(crate) fn has_pending(&self) -> bool {
        !(self.connect_list.is_empty()
            && self.write_list.is_empty()
            && self.close_list.is_empty()
            && self.read_list.is_empty()
            && self.fail_list.is_empty())
    }

    fn add_outgoing<H>(&mut self, target: Target, limits: ConnLimits) -> Option<NetHandle>
    where
        H: ConnHandler<Server = S>,
    {
        let handle = self.add_conn(ConnOps::of::<H>(), limits, ConnState::Connecting)?;
        if let Some(conn) = self.conns.get_mut(handle) {
            conn.transport = self.outgoing.as_ref().map(MakeTransport::make);
        }
        self.connect_list.push((handle, target));
        Some(handle)
    }

    fn open_conn(&self, handle: NetHandle) -> Option<&ImConn<S>> {
        self.conns.get(handle).filter(|c| c.is_open())
    }

    fn open_conn_mut(&mut self, handle: NetHandle) -> Option<&mut ImConn<S>> {
        self.conns.get_mut(handle).filter(|c| c.is_open())
    }

    /// Appends to an open connection through `put`, unless that would exceed its limit. Says
    /// whether it did.
    #[inline]
    fn queue(
        &mut self,
        handle: NetHandle,
        added: usize,
        put: impl FnOnce(&mut ImConn<S>, &mut BufPool),
    ) -> bool {
        let Some(conn) = self.conns.get_mut(handle).filter(|c| c.is_open()) else {
            return false;
        };
        let (queued, max) = (conn.out.len(), conn.limits.out_len_max);
        if queued + added > max as usize {
            // The queue is emptied now, so that a flood of sends in this turn costs nothing more,
            // and the connection is reported as closed before the next poll.
            conn.out = OutQueue::default();
            conn.limits.out_len_max = 0;
            if max != 0 {
                self.fail_list.push((handle, CloseReason::OutputFull { queued, added, max }));
            }
            return false;
        }
        conn.last_send_tick = self.tick;
        put(conn, &mut self.pool);
        self.figures.stats.bytes_out += added as u64;
        if !conn.write_listed && !conn.busy {
            conn.write_listed = true;
            self.write_list.push(handle);
        }
        true
    }
}

/// C++: base/EventDispatch.cpp CEventDispatch::_CheckLoop
pub(crate) fn check_loops<S>(cx: &mut Cx<'_, S>) {
    for at in 0..cx.net.loops.len() {
        let callback = cx.net.loops[at];
        callback(cx);
    }
}
