//! What runs.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::layout::{Layout, Service};
use crate::tool::account::VAR;
use crate::tool::output::Output;
use crate::tool::scrape;

/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_millis(500);

/// Shows the servers of the cluster that `teamtalk up` runs
///
/// The exit code is 0 if all of them are ready, else 1.
#[derive(Args, Debug)]
pub struct Status {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = VAR)]
    var: PathBuf,
}

impl Status {
    /// Prints a table of the servers.
    ///
    /// # Errors
    /// There is no cluster, or not all of it is ready.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let layout = Layout::find(&self.var)?;
        let rows: Vec<Value> = layout.services().iter().map(row).collect();
        output.list(
            &["server", "pid", "ports", "metrics", "uptime", "connections", "rss", "ready"],
            &rows,
        )?;
        let missing = rows.iter().filter(|row| row["ready"] != "yes").count();
        anyhow::ensure!(missing == 0, "{missing} of {} servers are not ready", rows.len());
        Ok(())
    }
}

fn row(service: &Service) -> Value {
    let pid = pid_of(service);
    let ready = match pid {
        None => "no: it does not run".to_owned(),
        Some(_) if !service.ports.iter().all(|port| answers(*port)) => {
            "no: it does not listen".to_owned()
        }
        Some(_) => match service.metrics.and_then(scrape::not_ready) {
            None => "yes".to_owned(),
            Some(reasons) => format!("no: {reasons}"),
        },
    };
    let connections = || match service.metrics {
        Some(addr) => Some(scrape::fetch(addr).ok()?.connections()? as usize),
        None => connections(pid?),
    };
    json!({
        "server": service.name,
        "pid": pid,
        "ports": service.ports,
        "metrics": service.metrics.map(|addr| addr.port()),
        "uptime": pid.and_then(uptime),
        "connections": pid.and_then(|_| connections()),
        "rss": pid.and_then(rss).map(|kib| format!("{:.1} MiB", kib as f64 / 1024.0)),
        "ready": ready,
    })
}

/// The process of a server, if it runs.
pub(super) fn pid_of(service: &Service) -> Option<u32> {
    let pid = fs::read_to_string(service.directory.join("pid")).ok()?.trim().parse().ok()?;
    is_program(pid, service.program).then_some(pid)
}

/// After a crash the number may have come to somebody else. The kernel keeps 15 bytes of a name.
fn is_program(pid: u32, program: &str) -> bool {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim() == &program[..program.len().min(15)]
}

fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE).is_ok()
}

fn rss(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Open sockets of a server without metrics; those it listens on count as well.
fn connections(pid: u32) -> Option<usize> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let is_socket = |entry: &Result<fs::DirEntry, _>| {
        let link = entry.as_ref().ok().and_then(|entry| fs::read_link(entry.path()).ok());
        link.is_some_and(|link| link.to_string_lossy().starts_with("socket:"))
    };
    Some(links.filter(is_socket).count())
}

/// Hours, minutes and seconds.
fn uptime(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may contain anything, the 20th field is the start.
    let start: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let system = fs::read_to_string("/proc/uptime").ok()?;
    let system: f64 = system.split_whitespace().next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    let seconds = (system as u64).saturating_sub(start / ticks.max(1));
    Some(format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured() {
        let pid = std::process::id();
        assert!(rss(pid).unwrap() > 100);
        assert!(uptime(pid).unwrap().contains(':'));
        assert!(connections(pid).is_some());
        assert!(!is_program(pid, "db_proxy_server"));
        assert_eq!(rss(u32::MAX), None);
    }
}
