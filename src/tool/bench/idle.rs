//! Connections that do nothing but stay.

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::fleet::Fleet;
use super::login::Kind;
use super::report::Report;
use super::{Load, now, progress};
use crate::client::HEARTBEAT_INTERVAL;
use crate::tool::output::Output;
use crate::tool::top::run::Target;
use crate::tool::{scrape, up};

/// Logs users in and lets them stay, with a heartbeat every 30 seconds.
#[derive(Args, Debug)]
pub(super) struct Idle {
    #[command(flatten)]
    load: Load,

    /// Users
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    users: usize,

    /// What clients say they are
    #[arg(long, value_enum, default_value_t = Kind::Mobile)]
    kind: Kind,

    /// A server and its administration port, to tell what it costs there; several times for
    /// several, instead of the msg_servers and the route_server of `teamtalk up`
    #[arg(long = "admin", value_name = "NAME=HOST:PORT")]
    servers: Vec<String>,
}

/// What the servers had used at one moment.
#[derive(Clone, Copy, Default)]
struct Used {
    memory: f64,
    cpu_seconds: f64,
}

impl Used {
    fn by(servers: &[Target]) -> anyhow::Result<Self> {
        let mut used = Self::default();
        for server in servers {
            let addr = server.addr.with_context(|| format!("{} has no port", server.name))?;
            let told = scrape::fetch(addr).with_context(|| server.name.clone())?;
            used.memory += told.sum("process_resident_memory_bytes");
            used.cpu_seconds += told.sum("process_cpu_seconds_total");
        }
        Ok(used)
    }
}

impl Idle {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let servers = self.servers()?;
        let before = Used::by(&servers)?;
        let start = now();
        let mut fleet = Fleet::log_in(&self.load, self.users, self.kind.client_type())?;
        let logged_in = start.elapsed();
        fleet.settle()?;
        let settled = Used::by(&servers)?;
        let bar = progress(self.load.seconds, "stay");
        let start = now();
        // A few at a time, so that the heartbeats of all are no march.
        let pause = HEARTBEAT_INTERVAL / u32::try_from(self.users)?.max(1);
        let (mut next, mut due) = (0, start);
        while start.elapsed() < self.load.duration() {
            while due <= now() {
                if let Some(core) = fleet.crowd.core(next) {
                    core.heartbeat();
                }
                next = (next + 1) % self.users;
                due += pause;
            }
            fleet.turn(Duration::from_millis(20), |_, _, _| {})?;
            bar.set_position(start.elapsed().as_secs());
        }
        bar.finish_and_clear();
        let (after, stayed) = (Used::by(&servers)?, start.elapsed());
        let mut report = Report::default();
        report.figure("users", self.users as u64);
        report.rate("logins_per_second", self.users as u64, logged_in);
        report.figure("connections_left", fleet.crowd.len() as u64);
        if !servers.is_empty() {
            let memory = (after.memory - before.memory).max(0.0) / self.users as f64;
            report.figure("server_bytes_per_connection", memory.round());
            let share = (after.cpu_seconds - settled.cpu_seconds) / stayed.as_secs_f64();
            report.figure("server_cpu_percent", (share * 1e4).round() / 1e2);
        }
        report.mistake("connections_lost", (self.users - fleet.crowd.len()) as u64);
        report.print(&self.load.report, output)
    }

    /// Those that have something to do for each client.
    fn servers(&self) -> anyhow::Result<Vec<Target>> {
        if !self.servers.is_empty() {
            return self.servers.iter().map(|text| Target::parse(text)).collect();
        }
        // Without a cluster here, only the clients are counted.
        let mut all = up::targets(&self.load.site.var).unwrap_or_default();
        all.retain(|server| {
            server.addr.is_some()
                && ["msg_server", "route_server"].iter().any(|name| server.name.starts_with(name))
        });
        Ok(all)
    }
}
