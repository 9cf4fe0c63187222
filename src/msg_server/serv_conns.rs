//! The connections to all servers of one kind.

use super::MsgServer;
use crate::base::im_pdu::ImPdu;
use crate::netlib::{ConnHandler, ConnMap, NetHandle, Netlib, ServList};

/// One connection to a server.
#[derive(Debug)]
pub(super) struct ServConn<T> {
    /// Which of the configured servers, from 0 on.
    pub(super) at: usize,
    /// Established, and the server wants to be used.
    pub(super) open: bool,
    /// What this kind of servers needs besides.
    pub(super) state: T,
}

/// Servers of one kind: where they are, and the connections to them.
#[derive(Debug)]
pub(super) struct ServConns<T> {
    list: ServList,
    conns: ConnMap<ServConn<T>>,
}

impl<T: Default> ServConns<T> {
    pub(super) fn new(addrs: impl IntoIterator<Item = (String, u16)>) -> Self {
        Self { list: ServList::new(addrs), conns: ConnMap::default() }
    }

    /// Connects to every server that has no connection and is due.
    pub(super) fn check_reconnect<H>(&mut self, net: &mut Netlib<MsgServer>)
    where
        H: ConnHandler<Server = MsgServer>,
    {
        for (at, conn) in self.list.check_reconnect::<H>(net) {
            self.conns.insert(conn, ServConn { at, open: false, state: T::default() });
        }
    }

    /// The connection is established.
    pub(super) fn confirm(&mut self, this: NetHandle) {
        if let Some(conn) = self.conns.get_mut(this) {
            conn.open = true;
            self.list.confirm(conn.at);
        }
    }

    /// The connection has ended; another one follows after the usual delay.
    pub(super) fn remove(&mut self, this: NetHandle, tick: u64) -> Option<ServConn<T>> {
        let conn = self.conns.remove(this)?;
        self.list.reset(conn.at, tick);
        Some(conn)
    }

    pub(super) fn get(&self, this: NetHandle) -> Option<&ServConn<T>> {
        self.conns.get(this)
    }

    pub(super) fn get_mut(&mut self, this: NetHandle) -> Option<&mut ServConn<T>> {
        self.conns.get_mut(this)
    }

    /// All connections, established or not.
    pub(super) fn handles(&self) -> Vec<NetHandle> {
        self.conns.handles().collect()
    }

    /// Open connections, in the order of the configuration.
    pub(super) fn open(&self) -> impl Iterator<Item = (NetHandle, &ServConn<T>)> {
        let conns = self.list.servers().iter().filter_map(|server| server.conn);
        conns
            .filter_map(|handle| Some((handle, self.conns.get(handle)?)))
            .filter(|(_, conn)| conn.open)
    }

    /// The handles of [`Self::open`].
    pub(super) fn open_handles(&self) -> Vec<NetHandle> {
        self.open().map(|(handle, _)| handle).collect()
    }

    pub(super) fn is_available(&self) -> bool {
        self.open().next().is_some()
    }

    pub(super) fn send_to_all(&self, net: &mut Netlib<MsgServer>, pdu: &ImPdu) {
        for (conn, _) in self.open() {
            net.send_pdu(conn, pdu);
        }
    }
}
