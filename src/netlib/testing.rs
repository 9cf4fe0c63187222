//! A service without a loop, sockets and clock, for the tests of its handlers.

use std::mem;
use std::net::SocketAddr;

use super::im_conn::{CloseReason, ConnOps, ConnState};
use super::net_handle::Slots;
use super::{
    ConnHandler, ConnLimits, Cx, Framing, NetHandle, Netlib, PduHandler, check_loops, timer,
};
use crate::base::im_pdu::{ImPdu, PduError, PduRef};

/// Stands in for the loop: a test says what happens and looks at what was queued.
pub(crate) struct TestBed<S: 'static> {
    pub(crate) srv: S,
    pub(crate) net: Netlib<S>,
}

impl<S> TestBed<S> {
    pub(crate) fn new(srv: S) -> Self {
        Self { srv, net: Netlib::new(0) }
    }

    pub(crate) fn cx(&mut self) -> Cx<'_, S> {
        Cx { srv: &mut self.srv, net: &mut self.net }
    }

    /// A listener accepts a connection of this class.
    pub(crate) fn accept<H: ConnHandler<Server = S>>(&mut self) -> NetHandle {
        let ops = ConnOps::of::<H>();
        let conn = self.net.add_conn(ops, ConnLimits::SERVER, ConnState::Connected);
        let conn = conn.expect("a slot is free");
        H::on_connect(&mut self.cx(), conn);
        conn
    }

    /// A connection of this class that the service has started is established.
    pub(crate) fn confirm<H: ConnHandler<Server = S>>(&mut self, conn: NetHandle) {
        self.net.conn_mut(conn).expect("an open connection").state = ConnState::Connected;
        H::on_confirm(&mut self.cx(), conn);
    }

    /// A PDU arrives.
    pub(crate) fn receive<H: PduHandler<Server = S>>(
        &mut self,
        conn: NetHandle,
        pdu: &ImPdu,
    ) -> Result<(), PduError> {
        assert!(self.net.is_open(conn), "nothing arrives at a closed connection");
        let tick = self.net.tick;
        if let Some(conn) = self.net.conn_mut(conn) {
            conn.last_recv_tick = tick;
        }
        H::handle_pdu(&mut self.cx(), conn, pdu.as_pdu())
    }

    /// Bytes arrive: what netlib hands to the framing of the class.
    pub(crate) fn receive_bytes<H: ConnHandler<Server = S>>(
        &mut self,
        conn: NetHandle,
        bytes: &[u8],
    ) -> Result<usize, CloseReason> {
        assert!(self.net.is_open(conn), "nothing arrives at a closed connection");
        let tick = self.net.tick;
        if let Some(conn) = self.net.conn_mut(conn) {
            conn.last_recv_tick = tick;
        }
        <H::Framing as Framing<H>>::read(&mut self.cx(), conn, bytes)
    }

    /// Where the peer of an accepted connection is.
    pub(crate) fn set_peer(&mut self, conn: NetHandle, ip: &str) {
        let ip = ip.parse().expect("an address");
        self.net.conn_mut(conn).expect("an open connection").peer =
            Some(SocketAddr::new(ip, 40000));
    }

    /// The peer is gone: what netlib does before it tells the class, then that.
    pub(crate) fn lose(&mut self, conn: NetHandle) {
        let lost = self.net.open_conn_mut(conn).expect("an open connection");
        lost.state = ConnState::Closing;
        let on_close = lost.ops.on_close;
        on_close(&mut self.cx(), conn);
        self.net.remove_conn(conn);
    }

    /// Time passes, then timers and loop callbacks run, and connections that failed are told.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.net.set_tick(self.net.tick + ms);
        timer::check_timers(&mut self.cx());
        check_loops(&mut self.cx());
        for (conn, _) in mem::take(&mut self.net.fail_list) {
            if self.net.is_open(conn) {
                self.lose(conn);
            }
        }
    }

    /// What was queued for this connection since the last look.
    pub(crate) fn sent_bytes(&mut self, conn: NetHandle) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(conn) = self.net.conns.get_mut(conn) {
            let written = conn.out.write_to(&mut bytes, &mut self.net.pool);
            written.expect("a Vec takes everything");
        }
        bytes
    }

    /// The PDUs that were queued for this connection since the last look, in order.
    pub(crate) fn sent(&mut self, conn: NetHandle) -> Vec<ImPdu> {
        let bytes = self.sent_bytes(conn);
        let mut rest = &bytes[..];
        let mut pdus = Vec::new();
        while let Some(pdu) = PduRef::parse(rest, u32::MAX).expect("whole PDUs") {
            rest = &rest[pdu.as_bytes().len()..];
            pdus.push(pdu.to_owned());
        }
        assert!(rest.is_empty(), "half a PDU was queued");
        pdus
    }
}

/// Different handles, for state that only compares them.
pub(crate) fn handles<const N: usize>() -> [NetHandle; N] {
    let mut slots = Slots::new();
    [(); N].map(|()| slots.insert((), 0).expect("a slot is free"))
}
