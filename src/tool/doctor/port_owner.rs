//! Which process listens on a port.

use std::fs;

/// The number and the name of the process that listens on this port. Nothing if nobody does, or
/// if it belongs to somebody else and only the administrator may see it.
pub fn port_owner(port: u16) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| inodes_of(&table, port))
        .collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
        let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        if targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
        {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim_end().to_owned()));
        }
    }
    None
}

/// The sockets of a table of the kernel that listen on this port.
fn inodes_of(table: &str, port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let wanted = format!("{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let listens = port == wanted && *fields.get(3)? == LISTENING;
        listens.then(|| fields.get(9).map(|&inode| inode.to_owned())).flatten()
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(port_owner(port).unwrap().0, std::process::id());
        drop(listener);
        assert_eq!(port_owner(port), None);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt \
                     uid  timeout inode\n\
                     0: 0100007F:1F40 00000000:0000 0A 0:0 00:0 00 1000 0 4711 1 0 100 0 0 10 0\n\
                     1: 0100007F:1F40 0100007F:9999 01 0:0 00:0 00 1000 0 4712 1 0 20 4 30 10 -1\n\
                     2: 0100007F:1F41 00000000:0000 0A 0:0 00:0 00 1000 0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(inodes_of(table, 8000), ["4711"]);
        assert_eq!(inodes_of("", 8000), [""; 0]);
    }
}
