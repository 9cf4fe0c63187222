//! One non-blocking stream socket.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::net_handle::NetHandle;
use super::out_queue::{BufPool, OutQueue, Written};

/// A connected or connecting stream, registered under its handle.
///
/// C++: base/BaseSocket.h CBaseSocket
pub(crate) struct BaseSocket {
    stream: TcpStream,
}

/// What one read attempt found.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum ReadResult {
    /// This many bytes; a full buffer means that there may be more.
    Bytes(usize),
    /// Nothing for now.
    WouldBlock,
    /// The peer will send nothing more.
    End,
}

impl BaseSocket {
    /// Starts a connect.
    ///
    /// C++: base/BaseSocket.cpp CBaseSocket::Connect
    pub(crate) fn connect(
        addr: SocketAddr,
        handle: NetHandle,
        registry: &Registry,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Self::register(stream, handle, registry)
    }

    /// Takes over an accepted stream.
    pub(crate) fn register(
        mut stream: TcpStream,
        handle: NetHandle,
        registry: &Registry,
    ) -> io::Result<Self> {
        // Both directions for ever, edge-triggered: no registration is ever changed. PRIORITY tells
        // of urgent data, which would otherwise hide bytes behind a short read.
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        registry.register(&mut stream, Token(handle.to_u32() as usize), interest)?;
        Ok(Self { stream })
    }

    /// Whether a connect that became writable has succeeded; `None` while it has not ended.
    ///
    /// C++: base/BaseSocket.cpp CBaseSocket::OnWrite
    pub(crate) fn connect_result(&self) -> Option<io::Result<SocketAddr>> {
        match self.stream.take_error() {
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
            Ok(None) => {}
        }
        match self.stream.peer_addr() {
            Ok(peer) => Some(Ok(peer)),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// C++: base/BaseSocket.cpp CBaseSocket::Recv
    pub(crate) fn recv(&mut self, buf: &mut [u8]) -> io::Result<ReadResult> {
        loop {
            match self.stream.read(buf) {
                Ok(0) => return Ok(ReadResult::End),
                Ok(n) => return Ok(ReadResult::Bytes(n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(ReadResult::WouldBlock);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// C++: base/BaseSocket.cpp CBaseSocket::Send
    pub(crate) fn send(&mut self, out: &mut OutQueue, pool: &mut BufPool) -> io::Result<Written> {
        out.write_to(&mut self.stream, pool)
    }

    #[cfg(test)]
    pub(crate) fn nodelay(&self) -> bool {
        self.stream.nodelay().expect("a live socket")
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}
