//! Telling whoever has started this server that it serves: systemd, or `teamtalk up`.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use log::warn;

/// The environment variable that names the socket.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// This server listens, and is going to serve.
pub fn ready() {
    tell("READY=1");
}

/// This server has begun to stop.
pub fn stopping() {
    tell("STOPPING=1");
}

/// Nobody may want to know; then nothing happens.
fn tell(state: &str) {
    let Some(socket) = env::var_os(NOTIFY_SOCKET).filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket.to_string_lossy(), state) {
        warn!("telling the service manager {state}: {error}");
    }
}

fn send(socket: &str, state: &str) -> io::Result<()> {
    let addr = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &addr).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f141_who_listens_is_told_by_name_or_by_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        send(path.to_str().unwrap(), "READY=1").unwrap();
        let name = format!("teamtalk-{}", path.display());
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(&format!("@{name}"), "READY=1").unwrap();
        for socket in [by_path, by_name] {
            let mut buf = [0; 64];
            let length = socket.recv(&mut buf).unwrap();
            assert_eq!(&buf[..length], b"READY=1");
        }
        assert!(send("/nowhere/at/all", "READY=1").is_err());
    }
}
