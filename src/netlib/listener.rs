//! One listening socket and what it may accept.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::im_conn::ConnOps;
use super::options::ListenOptions;

/// Thousands of clients that arrive at once wait here, not in SYN retries. The kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 16 * 1024;

/// A listening socket.
pub(crate) struct Listener<S: 'static> {
    socket: TcpListener,
    pub(crate) ops: &'static ConnOps<S>,
    pub(crate) options: ListenOptions,
    /// Connections of this listener that are not freed yet.
    pub(crate) conn_count: usize,
    /// There may be connections to accept that no event will announce.
    pub(crate) pending: bool,
    /// No descriptor was left, and somebody may still wait; logged once.
    pub(crate) starved: bool,
    /// Connections refused because of a limit, or of where they came from.
    pub(crate) refused: u64,
    /// The next refusal that is logged is not before this.
    pub(crate) refused_log_tick: u64,
}

impl<S> Listener<S> {
    /// Binds and listens; the backlog is open from here on.
    ///
    /// C++: base/BaseSocket.cpp CBaseSocket::Listen
    /// Differs: IPv6 as well, and a backlog for thousands instead of 64.
    pub(crate) fn bind(
        addr: SocketAddr,
        ops: &'static ConnOps<S>,
        options: ListenOptions,
        token: Token,
        registry: &Registry,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            // So that `0.0.0.0;::` can listen on both.
            socket.set_only_v6(true)?;
        }
        // Accepted sockets inherit it, which saves a system call for each.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let mut socket = TcpListener::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self {
            socket,
            ops,
            options,
            conn_count: 0,
            pending: false,
            starved: false,
            refused: 0,
            refused_log_tick: 0,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection that waits, or `None`.
    pub(crate) fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match self.socket.accept() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The peer gave up while it waited, or a signal came: the next one is fine.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.conn_count >= self.options.conn_max
    }
}
