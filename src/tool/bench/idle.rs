//! Connections that do nothing but stay.

use std::time::Duration;

use clap::Args;

use super::fleet::Fleet;
use super::login::Kind;
use super::report::Report;
use super::{Load, now, progress};
use crate::client::HEARTBEAT_INTERVAL;
use crate::tool::output::Output;

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
}

impl Idle {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let start = now();
        let mut fleet = Fleet::log_in(&self.load, self.users, self.kind.client_type())?;
        let logged_in = start.elapsed();
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
        let mut report = Report::default();
        report.figure("users", self.users as u64);
        report.rate("logins_per_second", self.users as u64, logged_in);
        report.figure("connections_left", fleet.crowd.len() as u64);
        report.mistake("connections_lost", (self.users - fleet.crowd.len()) as u64);
        report.print(&self.load.report, output)
    }
}
