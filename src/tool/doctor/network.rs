//! Addresses and ports: those a server listens on, those clients are told, those of other servers.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use super::Report;
use super::config::{Conf, For, Listener, METRICS};
use super::port_owner::port_owner;
use crate::base::config_value::{ConfigValue, HostList};
use crate::base::util::str_explode;

/// Longest wait for a server to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A process keeps so much of its name for others to see.
const COMM_LEN_MAX: usize = 15;

/// A port that a server of this directory listens on.
struct Port<'a> {
    conf: &'a Conf,
    listener: &'a Listener,
    host: String,
    addr: IpAddr,
    number: u16,
}

/// All about addresses and ports.
pub fn check(confs: &[Conf], report: &mut Report) {
    let mut ports = Vec::new();
    for conf in confs {
        for listener in conf.kind.listeners {
            ports.extend(ports_of(conf, listener, report));
        }
        ports.extend(metrics_port(conf));
    }
    check_twice(&ports, report);
    for port in &ports {
        report.ports += 1;
        check_reach(port, report);
        check_free(port, report);
    }
    for conf in confs {
        check_told(conf, report);
        check_peers(conf, &ports, report);
    }
}

/// What is no address was told by the server.
fn metrics_port(conf: &Conf) -> Option<Port<'_>> {
    let addr: SocketAddr = conf.value(METRICS.port)?.parse().ok()?;
    let (host, number) = (addr.ip().to_string(), addr.port());
    Some(Port { conf, listener: &METRICS, host, addr: addr.ip(), number })
}

fn ports_of<'a>(conf: &'a Conf, listener: &'a Listener, report: &mut Report) -> Vec<Port<'a>> {
    // What is missing or no address was told by the server.
    let (Some(number), Some(hosts)) = (conf.port(listener.port), conf.value(listener.ip)) else {
        return Vec::new();
    };
    let mut ports = Vec::new();
    for host in HostList::parse(hosts).map(|hosts| hosts.0).unwrap_or_default() {
        match (host.as_str(), number).to_socket_addrs() {
            Ok(addrs) => ports.extend(addrs.map(|addr| Port {
                conf,
                listener,
                host: host.clone(),
                addr: addr.ip(),
                number,
            })),
            Err(error) => report.problem(
                &conf.name(),
                format!("{}: the name {host} cannot be resolved: {error}", listener.ip),
                "write the address itself, or put the name into /etc/hosts",
            ),
        }
    }
    ports
}

fn check_twice(ports: &[Port<'_>], report: &mut Report) {
    for (at, port) in ports.iter().enumerate() {
        let overlaps = |other: &&Port<'_>| {
            let everywhere = port.addr.is_unspecified() || other.addr.is_unspecified();
            port.number == other.number
                && port.number != 0
                && (everywhere || port.addr == other.addr)
        };
        // The addresses of one name may be the same.
        let differs = |other: &&Port<'_>| {
            other.conf.path != port.conf.path || other.listener.port != port.listener.port
        };
        if let Some(other) = ports[..at].iter().find(|other| overlaps(other) && differs(other)) {
            report.problem(
                &port.conf.name(),
                format!(
                    "{}={} is also {} of {}",
                    port.listener.port,
                    port.number,
                    other.listener.port,
                    other.conf.name()
                ),
                "give each of them a port of its own",
            );
        }
    }
}

/// Ports between servers are not for everybody.
fn check_reach(port: &Port<'_>, report: &mut Report) {
    let allowed = port.listener.allow.is_some_and(|key| port.conf.value(key).is_some());
    if port.listener.used_by == For::Clients || is_internal(port.addr) || allowed {
        return;
    }
    if port.listener.used_by == For::Operators {
        return report.problem(
            &port.conf.name(),
            format!(
                "everybody who reaches this machine can read the figures at {}:{}",
                port.host, port.number
            ),
            "set MetricsListen to 127.0.0.1 or an address of the internal network",
        );
    }
    let allow = match port.listener.allow {
        Some(key) => format!(", or name in {key} who may connect"),
        None => String::new(),
    };
    report.problem(
        &port.conf.name(),
        format!(
            "everybody who reaches this machine reaches {}={} and is taken for a server",
            port.listener.port, port.number
        ),
        format!(
            "set {} to 127.0.0.1 or an address of the internal network{allow}",
            port.listener.ip
        ),
    );
}

/// Whether only this machine or a private network reaches an address.
fn is_internal(addr: IpAddr) -> bool {
    match addr.to_canonical() {
        IpAddr::V4(addr) => addr.is_loopback() || addr.is_private() || addr.is_link_local(),
        IpAddr::V6(addr) => {
            addr.is_loopback() || addr.is_unique_local() || addr.is_unicast_link_local()
        }
    }
}

fn check_free(port: &Port<'_>, report: &mut Report) {
    let place = port.conf.name();
    let what = format!("{}:{} ({})", port.host, port.number, port.listener.port);
    let Err(error) = TcpListener::bind((port.addr, port.number)) else { return };
    match error.kind() {
        ErrorKind::AddrInUse => {
            let program = port.conf.kind.program;
            let ours = &program[..program.len().min(COMM_LEN_MAX)];
            match port_owner(port.number) {
                Some((_, name)) if name == ours => {}
                Some((pid, name)) => report.problem(
                    &place,
                    format!("{what} is taken by {name}, process {pid}"),
                    format!("stop that, or set {} to another port", port.listener.port),
                ),
                None => report.note(
                    &place,
                    format!("{what} is taken by a process of another user"),
                    format!("fine if that is {program}; as root this command knows"),
                ),
            }
        }
        ErrorKind::AddrNotAvailable => report.problem(
            &place,
            format!("{} is no address of this machine", port.host),
            format!("set {} to one that `ip addr` shows, or to 0.0.0.0", port.listener.ip),
        ),
        ErrorKind::PermissionDenied => report.problem(
            &place,
            format!("{what} may be listened on by root alone"),
            "take a port from 1024 on, or give the program CAP_NET_BIND_SERVICE",
        ),
        _ => report.problem(
            &place,
            format!("{what} cannot be listened on: {error}"),
            format!("check {} and {}", port.listener.ip, port.listener.port),
        ),
    }
}

/// Addresses that clients are told, which are of no use to them when they are those of this
/// machine alone.
fn check_told(conf: &Conf, report: &mut Report) {
    let public = |key: &str| {
        let hosts = conf.value(key).and_then(HostList::parse).map(|hosts| hosts.0);
        hosts.unwrap_or_default().iter().any(|host| !is_local_name(host))
    };
    let (listen, keys): (&str, &[&str]) = match conf.kind.program {
        "msg_server" => ("ListenIP", &["IpAddr1", "IpAddr2"]),
        "login_server" => ("HttpListenIP", &["msfs"]),
        "file_server" => ("ClientListenIP", &["FileServerIp"]),
        _ => return,
    };
    let useless = |value: &str| {
        let host = host_of(value);
        is_local_name(host) || host.parse::<IpAddr>().is_ok_and(|addr| addr.is_unspecified())
    };
    for key in keys.iter().filter(|_| public(listen)) {
        let Some(value) = conf.value(key) else { continue };
        if str_explode(value, ';').any(useless) {
            report.problem(
                &conf.name(),
                format!(
                    "clients of other machines are sent to {key}={value}, which they cannot reach"
                ),
                format!("set it to the address at which clients reach this machine{}", perhaps()),
            );
        }
    }
}

fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

/// The host of a URL, or of what is none.
fn host_of(value: &str) -> &str {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let server = rest.split('/').next().unwrap_or_default();
    if let Some((host, _)) = server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match server.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => server,
    }
}

/// The address this machine has towards others. Nothing is sent to find out.
fn perhaps() -> String {
    let addr = UdpSocket::bind(("0.0.0.0", 0))
        .and_then(|socket| socket.connect(("192.0.2.1", 9)).and_then(|()| socket.local_addr()));
    match addr {
        Ok(addr) if !addr.ip().is_loopback() => format!(", perhaps {}", addr.ip()),
        _ => String::new(),
    }
}

fn check_peers(conf: &Conf, ports: &[Port<'_>], report: &mut Report) {
    for peers in conf.kind.peers {
        for number in 1.. {
            let (ip, port) = (format!("{}{number}", peers.ip), format!("{}{number}", peers.port));
            let (Some(host), Some(at)) = (conf.value(&ip), conf.port(&port)) else { break };
            report.peers += 1;
            let Err(error) = reach(host, at) else { continue };
            // A server of this directory that is not started is none that cannot be reached.
            let ours =
                ports.iter().find(|p| p.number == at && p.conf.kind.program == peers.program);
            match ours {
                Some(ours) => report.note(
                    &conf.name(),
                    format!("{} at {host}:{at} ({ip}) does not run", peers.program),
                    format!("start it with {}", ours.conf.path.display()),
                ),
                None => report.problem(
                    &conf.name(),
                    format!("{} at {host}:{at} ({ip}) does not answer: {error}", peers.program),
                    "start it there, let the firewall pass, or correct the address; without such a \
                     server remove the keys",
                ),
            }
        }
    }
}

/// Connects and hangs up.
fn reach(host: &str, port: u16) -> std::io::Result<()> {
    let addrs: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut last = ErrorKind::NotFound.into();
    for addr in addrs {
        match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_urls() {
        for (value, host) in [
            ("127.0.0.1", "127.0.0.1"),
            ("http://127.0.0.1:8700/", "127.0.0.1"),
            ("https://files.example.com/x/y", "files.example.com"),
            ("http://[::1]:8700/", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(host_of(value), host);
        }
        assert!(is_local_name("localhost") && is_local_name("::1") && !is_local_name("0.0.0.0"));
    }

    #[test]
    fn private_networks_are_internal() {
        for (addr, internal) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("192.168.0.1", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("203.0.113.7", false),
        ] {
            assert_eq!(is_internal(addr.parse().unwrap()), internal, "{addr}");
        }
    }
}
