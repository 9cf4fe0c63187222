//! Who has a port that we want.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// What is told of a port that is taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) port: u16,
    /// The process that has it, `name (pid)`, if we may know.
    pub(super) by: Option<String>,
}

/// Those of these ports that cannot be listened on.
pub(super) fn taken(ports: impl IntoIterator<Item = u16>) -> Vec<Taken> {
    let is_taken = |port: &u16| {
        let addr = SocketAddr::from(([0, 0, 0, 0], *port));
        matches!(TcpListener::bind(addr), Err(error) if error.kind() == io::ErrorKind::AddrInUse)
    };
    ports.into_iter().filter(is_taken).map(|port| Taken { port, by: owner(port) }).collect()
}

/// The process that listens on a port, as far as `/proc` shows it to us.
fn owner(port: u16) -> Option<String> {
    let inodes: HashSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listeners(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let pids = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let is_it = |entry: io::Result<fs::DirEntry>| {
            let link = entry.and_then(|entry| fs::read_link(entry.path()));
            link.is_ok_and(|link| inodes.contains(&*link.to_string_lossy()))
        };
        if fds.into_iter().any(is_it) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

/// The inodes of the sockets in a table of `/proc/net` that listen on a port.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { return None };
        let (_, hex) = local.rsplit_once(':')?;
        let is_it = state == LISTENING && u16::from_str_radix(hex, 16) == Ok(port);
        is_it.then(|| inode.to_owned())
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_told_with_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = taken([port]);
        let [Taken { port: told, by: Some(by) }] = &found[..] else { panic!("{found:?}") };
        assert_eq!(*told, port);
        assert!(by.contains(&format!("(process {})", std::process::id())), "{by}");
        drop(listener);
        assert!(taken([port]).is_empty());
    }
}
