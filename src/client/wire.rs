//! Bytes over a socket that blocks, but never longer than allowed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::error::ClientError;

/// What one read takes at most.
const READ_LEN_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

impl Wire {
    /// Connects to the first address of `addr`, `host:port`, that answers in time.
    pub(super) fn connect(addr: &str, timeout: Duration) -> Result<Self, ClientError> {
        let mut last = io::Error::new(ErrorKind::NotFound, format!("{addr} has no address"));
        for addr in addr.to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    // Who does not read for so long is gone.
                    stream.set_write_timeout(Some(timeout))?;
                    return Ok(Self { stream, buffer: vec![0; READ_LEN_MAX].into() });
                }
                Err(error) => last = io::Error::new(error.kind(), format!("{addr}: {error}")),
            }
        }
        Err(last.into())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// What has come; `None` if nothing came until `deadline`.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Option<&[u8]>, ClientError> {
        loop {
            let rest = deadline.saturating_duration_since(now());
            // No time at all would mean without a limit; this is what the kernel makes of it.
            self.stream.set_read_timeout(Some(rest.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut self.buffer) {
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
