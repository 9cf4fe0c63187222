//! Bytes over a socket that blocks, but never longer than allowed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, Stream};

use super::error::ClientError;
use super::tls::TlsClient;

/// What one read takes at most.
const READ_LEN_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    buffer: Box<[u8]>,
}

impl Wire {
    /// Connects to the first address of `addr`, `host:port`, that answers in time.
    pub(super) fn connect(
        addr: &str,
        tls: Option<&TlsClient>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host.trim_matches(['[', ']']));
        let tls = tls.map(|tls| tls.connection(host)).transpose()?.map(Box::new);
        let mut last = io::Error::new(ErrorKind::NotFound, format!("{addr} has no address"));
        for addr in addr.to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    // Who does not read for so long is gone.
                    stream.set_write_timeout(Some(timeout))?;
                    // So must be the rest of a handshake, once it has begun.
                    stream.set_read_timeout(Some(timeout))?;
                    return Ok(Self { stream, tls, buffer: vec![0; READ_LEN_MAX].into() });
                }
                Err(error) => last = io::Error::new(error.kind(), format!("{addr}: {error}")),
            }
        }
        Err(last.into())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        match &mut self.tls {
            None => Ok(self.stream.write_all(bytes)?),
            Some(tls) => {
                let mut stream = Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(bytes)?;
                Ok(stream.flush()?)
            }
        }
    }

    /// What has come; `None` if nothing came until `deadline`.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Option<&[u8]>, ClientError> {
        loop {
            let rest = deadline.saturating_duration_since(now());
            // No time at all would mean without a limit; this is what the kernel makes of it.
            self.stream.set_read_timeout(Some(rest.max(Duration::from_millis(1))))?;
            let result = match &mut self.tls {
                None => self.stream.read(&mut self.buffer),
                Some(tls) => Stream::new(&mut **tls, &mut self.stream).read(&mut self.buffer),
            };
            match result {
                Ok(0) => return Err(ClientError::Closed),
                Ok(length) => return Ok(Some(&self.buffer[..length])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a blocking client has no loop to tell the time")]
pub(super) fn now() -> Instant {
    Instant::now()
}
