//! Reading and writing, once per connection and turn.

use std::mem;

use super::EventDispatch;
use crate::netlib::Cx;
use crate::netlib::base_socket::ReadResult;
use crate::netlib::im_conn::{CloseReason, ConnState};
use crate::netlib::net_handle::NetHandle;
use crate::netlib::out_queue::Written;

/// Most bytes one connection reads in one turn, so that a busy peer never starves the others.
pub const READ_BUDGET: usize = 64 * 1024;

/// How long a message may take from its first to its last byte. It is looked at as often as that,
/// so a peer is given up after one to two of these.
pub const MESSAGE_TIME_MS: u64 = 60_000;

/// A long message may take longer, as long as it comes at this speed.
const SLOWEST_BYTES_PER_MS: u64 = 4;

/// The start of a message that is shorter than this is put in front of the next read, so that the
/// messages of that read can be handled in place; a longer one grows in the connection's own
/// buffer.
const KEPT_IN_FRONT_MAX: usize = 32 * 1024;

pub(super) const READ_BUF_SIZE: usize = KEPT_IN_FRONT_MAX + READ_BUDGET;

impl<S> EventDispatch<S> {
    /// Something may be readable.
    ///
    /// A short read empties the socket, so no second read has to say so: bytes that arrive later
    /// raise a new event. Only a known end of the stream makes the next turn read on.
    ///
    /// C++: base/imconn.cpp CImConn::OnRead
    /// Differs: the end of the stream is noticed behind the last data (F33).
    pub(super) fn on_read(&mut self, handle: NetHandle, srv: &mut S) {
        let Some(conn) = self.net.conn_mut(handle) else {
            return;
        };
        match conn.state {
            ConnState::Connected if !conn.is_held() => self.read_socket(handle, srv),
            ConnState::Connected => conn.readable = true,
            ConnState::Lingering => self.drop_last_bytes(handle),
            // Its bytes are dropped once everything is written.
            ConnState::Connecting | ConnState::Closing => {}
        }
    }

    /// Goes on where a budget or a pause had ended a read, for the `count` oldest of the list.
    pub(super) fn resume_reads(&mut self, count: usize, srv: &mut S) {
        for at in 0..count {
            let handle = self.net.read_list[at];
            let Some(conn) = self.net.conn_mut(handle) else {
                continue;
            };
            conn.read_listed = false;
            if conn.undelivered {
                self.deliver_kept(handle, srv);
            }
            let Some(conn) = self.net.conn_mut(handle) else {
                continue;
            };
            if conn.readable || conn.state == ConnState::Lingering {
                self.on_read(handle, srv);
            }
            self.report_end(handle, srv);
        }
        self.net.read_list.drain(..count);
    }

    /// One write per connection and turn, however many PDUs were queued.
    pub(super) fn flush_writes(&mut self, srv: &mut S) {
        let count = self.net.write_list.len();
        for at in 0..count {
            let handle = self.net.write_list[at];
            self.write_data(handle, srv);
        }
        self.net.write_list.drain(..count);
    }

    /// C++: base/imconn.cpp CImConn::OnWrite
    /// Differs: an error closes the connection instead of passing for a full socket (F24).
    pub(super) fn write_data(&mut self, handle: NetHandle, srv: &mut S) {
        let Some(conn) = self.net.conns.get_mut(handle) else {
            return;
        };
        conn.write_listed = false;
        let Some(socket) = self.sockets.get_mut(handle.index()).and_then(Option::as_mut) else {
            return;
        };
        let was_busy = conn.busy;
        let closing = conn.state == ConnState::Closing;
        match socket.send(&mut conn.out, &mut self.net.pool) {
            Ok(Written::Blocked) => conn.busy = true,
            Ok(Written::All) => {
                conn.busy = false;
                let tell = mem::take(&mut conn.tell_written) || was_busy;
                let on_write_complete = conn.ops.on_write_complete;
                if closing {
                    self.finish_close(handle);
                } else if tell {
                    on_write_complete(&mut Cx { srv, net: &mut self.net }, handle);
                }
            }
            Err(_) if closing => self.free(handle),
            Err(error) => self.fail(handle, error.into(), srv),
        }
    }

    fn read_socket(&mut self, handle: NetHandle, srv: &mut S) {
        // Out of its place while handlers work on what lies in it.
        let mut buf = mem::take(&mut self.read_buf);
        let result = self.read_and_deliver(handle, &mut buf, srv);
        self.read_buf = buf;
        if let Err(reason) = result {
            return self.fail(handle, reason, srv);
        }
        if self.net.conn_mut(handle).is_some_and(|conn| conn.readable && !conn.is_held()) {
            self.net.list_read(handle);
        }
        self.report_end(handle, srv);
    }

    fn read_and_deliver(
        &mut self,
        handle: NetHandle,
        buf: &mut [u8],
        srv: &mut S,
    ) -> Result<(), CloseReason> {
        let tick = self.net.tick();
        let Some(conn) = self.net.conns.get_mut(handle) else {
            return Ok(());
        };
        let Some(socket) = self.sockets.get_mut(handle.index()).and_then(Option::as_mut) else {
            return Ok(());
        };
        let kept = conn.in_buf.len();
        let in_front = kept <= KEPT_IN_FRONT_MAX && conn.transport.is_none();
        let start = if in_front { kept } else { 0 };
        buf[..start].copy_from_slice(&conn.in_buf[..start]);
        let n = match socket.recv(&mut buf[start..start + READ_BUDGET])? {
            ReadResult::Bytes(n) => n,
            ReadResult::WouldBlock => {
                conn.readable = false;
                return Ok(());
            }
            ReadResult::End => {
                conn.readable = false;
                conn.peer_closed = true;
                return Ok(());
            }
        };
        conn.readable = n == READ_BUDGET || conn.half_closed;
        conn.last_recv_tick = tick;
        self.net.figures.stats.bytes_in += n as u64;
        if let Some(transport) = &mut conn.transport {
            let mut reply = self.net.pool.take();
            let result = transport.receive(&buf[..n], &mut conn.in_buf, &mut reply);
            conn.out.append(&mut self.net.pool, |tail| tail.extend_from_slice(&reply));
            self.net.pool.give(reply);
            self.net.list_write(handle);
            self.deliver_kept(handle, srv);
            return result.map_err(CloseReason::Transport);
        }
        if !in_front {
            conn.in_buf.extend_from_slice(&buf[..n]);
            self.deliver_kept(handle, srv);
            return Ok(());
        }
        conn.in_buf = Vec::new();
        let input = &buf[..start + n];
        let used = self.deliver(handle, input, srv)?;
        self.keep(handle, input[used..].to_vec(), used);
        Ok(())
    }

    /// Hands over what the connection's own buffer holds.
    fn deliver_kept(&mut self, handle: NetHandle, srv: &mut S) {
        let Some(conn) = self.net.conn_mut(handle) else {
            return;
        };
        let input = mem::take(&mut conn.in_buf);
        match self.deliver(handle, &input, srv) {
            Ok(0) => self.keep(handle, input, 0),
            Ok(used) => self.keep(handle, input[used..].to_vec(), used),
            Err(reason) => self.fail(handle, reason, srv),
        }
    }

    fn deliver(
        &mut self,
        handle: NetHandle,
        input: &[u8],
        srv: &mut S,
    ) -> Result<usize, CloseReason> {
        let Some(conn) = self.net.open_conn_mut(handle) else {
            return Ok(input.len());
        };
        let on_read = conn.ops.on_read;
        on_read(&mut Cx { srv, net: &mut self.net }, handle, input)
    }

    /// Keeps what no handler has taken, in a buffer of just that size, and notes since when the
    /// rest of that message is missing.
    fn keep(&mut self, handle: NetHandle, rest: Vec<u8>, used: usize) {
        let tick = self.net.tick();
        let Some(conn) = self.net.open_conn_mut(handle) else {
            return;
        };
        conn.undelivered = conn.is_held() && !rest.is_empty();
        conn.in_buf = rest;
        if conn.in_buf.is_empty() {
            conn.partial_since = None;
            return;
        }
        if used > 0 || conn.partial_since.is_none() {
            conn.partial_since = Some(tick);
        }
        if !conn.partial_listed {
            conn.partial_listed = true;
            self.partial.add(handle, tick);
        }
    }

    /// Ends connections that have been sending one message for too long.
    pub(super) fn check_partials(&mut self, srv: &mut S) {
        let tick = self.net.tick();
        while let Some(handle) = self.partial.take_due(tick) {
            let Some(conn) = self.net.open_conn_mut(handle) else {
                continue;
            };
            conn.partial_listed = false;
            if conn.is_held() {
                // It waits for us, not we for it.
                conn.partial_since = conn.partial_since.map(|_| tick);
            }
            let Some(since) = conn.partial_since else {
                continue;
            };
            let received = conn.in_buf.len();
            if tick - since >= self.message_time_ms + received as u64 / SLOWEST_BYTES_PER_MS {
                self.fail(handle, CloseReason::MessageTimeout { received }, srv);
            } else {
                conn.partial_listed = true;
                self.partial.add(handle, tick);
            }
        }
    }

    /// Reports the end of the stream once every whole message before it was handled.
    fn report_end(&mut self, handle: NetHandle, srv: &mut S) {
        let conn = self.net.open_conn(handle);
        if conn.is_some_and(|conn| conn.peer_closed && !conn.undelivered) {
            self.fail(handle, CloseReason::PeerClosed, srv);
        }
    }

    /// Reads what a peer still sends on a connection that is over.
    fn drop_last_bytes(&mut self, handle: NetHandle) {
        let mut buf = mem::take(&mut self.read_buf);
        let result = self.socket(handle).map(|socket| socket.recv(&mut buf[..READ_BUDGET]));
        self.read_buf = buf;
        match result {
            Some(Ok(ReadResult::WouldBlock)) => {}
            Some(Ok(ReadResult::Bytes(n))) => {
                let half_closed = self.net.conn_mut(handle).is_some_and(|c| c.half_closed);
                if n == READ_BUDGET || half_closed {
                    self.net.list_read(handle);
                }
            }
            Some(Ok(ReadResult::End) | Err(_)) | None => self.free(handle),
        }
    }
}
