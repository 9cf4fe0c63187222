//! Time requests: what a round trip through one server costs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Args;

use super::fleet::Fleet;
use super::report::{Latency, Report};
use super::{Load, now};
use crate::client::{Core, Event};
use crate::pb::base_define::ClientType;
use crate::pb::cmd::{CID_MSG_TIME_REQUEST, CID_MSG_TIME_RESPONSE};
use crate::pb::message::ImClientTimeReq;
use crate::tool::output::Output;

/// Asks for the time over and over. The rate limit of msg_server has to be off
/// (`MaxMsgCntPerSecond=0`).
#[derive(Args, Debug)]
pub(super) struct Pdu {
    #[command(flatten)]
    load: Load,

    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: usize,

    /// Requests of a connection on their way at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: usize,
}

fn ask(core: &mut Core) {
    core.request(CID_MSG_TIME_REQUEST, &ImClientTimeReq::default());
}

impl Pdu {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let mut fleet = Fleet::log_in(&self.load, self.connections, ClientType::Windows)?;
        fleet.settle()?;
        let start = now();
        let mut waiting: Vec<VecDeque<Instant>> = vec![VecDeque::new(); self.connections];
        for (at, waiting) in waiting.iter_mut().enumerate() {
            let Some(core) = fleet.crowd.core(at) else { continue };
            for _ in 0..self.depth {
                ask(core);
                waiting.push_back(start);
            }
        }
        let mut latency = Latency::default();
        while start.elapsed() < self.load.duration() {
            let mut turn = now();
            fleet.turn(Duration::from_secs(1), |at, core, event| {
                let Event::Answer(pdu) = event else { return };
                if pdu.as_pdu().command_id() != CID_MSG_TIME_RESPONSE {
                    return;
                }
                // The clock is read once for all that came together with this one.
                if waiting[at].front().is_some_and(|asked| *asked >= turn) || self.depth == 1 {
                    turn = now();
                }
                if let Some(asked) = waiting[at].pop_front() {
                    latency.add(turn.saturating_duration_since(asked));
                }
                ask(core);
                waiting[at].push_back(turn);
            })?;
        }
        let mut report = Report::default();
        report.rate("requests_per_second", latency.count(), start.elapsed());
        report.latency("round trip", latency);
        report.print(&self.load.report, output)
    }
}
