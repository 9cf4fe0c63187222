//! The connections to all servers of one kind.

use super::im_conn::CloseReason;
use super::{ConnHandler, ConnMap, NetHandle, Netlib, ServList};
use crate::base::im_pdu::ImPdu;

/// A server that was away takes over from the current master only after this long: by then every
/// other service has found it again, however long its pauses between attempts had become.
pub const MASTER_SETTLE_MS: u64 = 90_000;

/// A server that is no longer configured has this long to answer what it was asked, and to pass on
/// what comes from those who have not read their configuration again.
pub const LET_GO_MS: u64 = 20_000;

/// The place of a server that is no longer configured: behind all others.
const NO_PLACE: usize = usize::MAX;

/// One connection to a server.
#[derive(Debug)]
pub struct ServConn<T> {
    /// Which of the configured servers, from 0 on.
    pub at: usize,
    /// Established, and the server wants to be used.
    pub open: bool,
    /// When it was established.
    pub confirm_tick: u64,
    /// What this kind of servers needs besides.
    pub state: T,
}

/// Servers of one kind: where they are, and the connections to them.
#[derive(Debug)]
pub struct ServConns<T> {
    list: ServList,
    conns: ConnMap<ServConn<T>>,
    /// To servers that are no longer configured, and until when they are kept.
    leaving: Vec<(NetHandle, u64)>,
}

impl<T: Default> ServConns<T> {
    /// Servers by host and port, all due at once.
    pub fn new(addrs: impl IntoIterator<Item = (String, u16)>) -> Self {
        Self { list: ServList::new(addrs), conns: ConnMap::default(), leaving: Vec::new() }
    }

    /// Replaces the list of servers. New ones are connected to by the next
    /// [`Self::check_reconnect`]. What was asked of those that are gone can still be answered, for
    /// [`LET_GO_MS`]; they are asked no more as soon as there is another.
    pub fn set_servers<S>(
        &mut self,
        net: &mut Netlib<S>,
        addrs: impl IntoIterator<Item = (String, u16)>,
    ) {
        for gone in self.list.set_servers(addrs) {
            if let Some(conn) = self.conns.get_mut(gone) {
                conn.at = NO_PLACE;
            }
            if net.is_connected(gone) {
                self.leaving.push((gone, net.tick() + LET_GO_MS));
            } else {
                net.fail_later(gone, CloseReason::NotConfigured);
            }
        }
        for (at, server) in self.list.servers().iter().enumerate() {
            if let Some(conn) = server.conn.and_then(|conn| self.conns.get_mut(conn)) {
                conn.at = at;
            }
        }
        self.relieve();
    }

    /// Servers that are leaving are asked no more if there is another.
    fn relieve(&mut self) {
        if self.open().any(|(_, conn)| conn.at != NO_PLACE) {
            self.retire(|_| true);
        }
    }

    fn retire(&mut self, is_due: impl Fn(u64) -> bool) {
        for (conn, until) in &self.leaving {
            if is_due(*until)
                && let Some(conn) = self.conns.get_mut(*conn)
            {
                conn.open = false;
            }
        }
    }

    /// Connects to every server that has no connection and is due, and ends the connections to
    /// those that had time to leave.
    pub fn check_reconnect<H: ConnHandler>(&mut self, net: &mut Netlib<H::Server>) {
        for (at, conn) in self.list.check_reconnect::<H>(net) {
            let serv_conn = ServConn { at, open: false, confirm_tick: 0, state: T::default() };
            self.conns.insert(conn, serv_conn);
        }
        let tick = net.tick();
        self.retire(|until| tick >= until);
        for (conn, _) in self.leaving.extract_if(.., |(_, until)| tick >= *until) {
            net.fail_later(conn, CloseReason::NotConfigured);
        }
    }

    /// The connection is established.
    pub fn confirm(&mut self, this: NetHandle, tick: u64) {
        if let Some(conn) = self.conns.get_mut(this) {
            conn.open = true;
            conn.confirm_tick = tick;
            // Only configured servers are ever connected to.
            self.list.confirm(conn.at);
        }
        self.relieve();
    }

    /// The connection has ended; another one follows after the usual delay, if the server is still
    /// configured.
    pub fn remove(&mut self, this: NetHandle, tick: u64) -> Option<ServConn<T>> {
        let conn = self.conns.remove(this)?;
        if conn.at == NO_PLACE {
            self.leaving.retain(|(leaving, _)| *leaving != this);
        } else {
            self.list.reset(conn.at, tick);
        }
        Some(conn)
    }

    /// What is known of a connection, established or not.
    pub fn get(&self, this: NetHandle) -> Option<&ServConn<T>> {
        self.conns.get(this)
    }

    /// What is known of a connection, established or not.
    pub fn get_mut(&mut self, this: NetHandle) -> Option<&mut ServConn<T>> {
        self.conns.get_mut(this)
    }

    /// All connections, established or not.
    pub fn handles(&self) -> Vec<NetHandle> {
        self.conns.handles().collect()
    }

    /// Open connections, in the order of the configuration.
    pub fn open(&self) -> impl Iterator<Item = (NetHandle, &ServConn<T>)> {
        let conns = self.list.servers().iter().filter_map(|server| server.conn);
        conns
            .chain(self.leaving.iter().map(|(conn, _)| *conn))
            .filter_map(|handle| Some((handle, self.conns.get(handle)?)))
            .filter(|(_, conn)| conn.open)
    }

    /// The handles of [`Self::open`].
    pub fn open_handles(&self) -> Vec<NetHandle> {
        self.open().map(|(handle, _)| handle).collect()
    }

    /// The servers, and what became of the connections to them.
    pub fn list(&self) -> &ServList {
        &self.list
    }

    /// Whether there is an open connection.
    pub fn is_available(&self) -> bool {
        self.open().next().is_some()
    }

    /// The server to use where several would do: the first of the configuration that is open. One
    /// that has come back has to wait, as long as there is another.
    pub fn best_master(&self, current: Option<NetHandle>, tick: u64) -> Option<NetHandle> {
        let current = current.filter(|conn| self.get(*conn).is_some_and(|conn| conn.open));
        let settled = |conn: &ServConn<T>| tick >= conn.confirm_tick + MASTER_SETTLE_MS;
        self.open()
            .find(|(handle, conn)| current.is_none_or(|m| m == *handle) || settled(conn))
            .map(|(handle, _)| handle)
    }

    /// Sends the same to every open connection.
    pub fn send_to_all<S>(&self, net: &mut Netlib<S>, pdu: &ImPdu) {
        for (conn, _) in self.open() {
            net.send_pdu(conn, pdu);
        }
    }
}
