//! What db_proxy_server tells about itself.

use std::time::Duration;

use super::handler_map;
use crate::base::histogram::Histogram;
use crate::base::im_pdu::PduRef;
use crate::base::metrics_text::MetricsText;
use crate::base::thread_pool;
use crate::db_proxy_server::DbProxyServer;
use crate::netlib::Health;
use crate::pb::cmd::COMMANDS;
use crate::storage;

/// What workers did, by the command they did it for.
#[derive(Debug)]
pub struct WorkerFigures {
    /// Sorted by command id; exactly those that have a handler.
    commands: Vec<(u16, &'static str, Histogram)>,
    /// How many requests were worked on together.
    batches: Histogram,
}

impl Default for WorkerFigures {
    fn default() -> Self {
        let handled = COMMANDS.iter().filter(|(id, _)| handler_map::handler(*id).is_some());
        let mut commands: Vec<_> =
            handled.map(|(id, name)| (*id, *name, Histogram::of_times())).collect();
        commands.sort_by_key(|(id, ..)| *id);
        Self { commands, batches: Histogram::of_counts() }
    }
}

impl WorkerFigures {
    /// These requests were worked on together and took so long; each of them did.
    pub fn count(&self, pdus: &[PduRef<'_>], time: Duration) {
        self.batches.observe(pdus.len() as u64);
        for pdu in pdus {
            if let Ok(at) = self.commands.binary_search_by_key(&pdu.command_id(), |(id, ..)| *id) {
                self.commands[at].2.observe_time(time);
            }
        }
    }

    fn write(&self, text: &mut MetricsText) {
        let help = "Time a worker took for a request, by command; waiting for it left out.";
        let mut family = text.histogram("teamtalk_request_seconds", help);
        for (_, name, times) in &self.commands {
            let seen = times.snapshot();
            if seen.count() > 0 {
                family.times(&[("command", *name)], &seen);
            }
        }
        let help = "Requests that a worker did together; messages share a commit.";
        text.histogram("teamtalk_batch_size", help).counts(&[], &self.batches.snapshot());
    }
}

impl Health for DbProxyServer {
    const PROGRAM: &'static str = "db_proxy_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        thread_pool::write_metrics(&[("db", self.workers.figures())], text);
        let help = "Requests that workers have not answered, those in the queue included.";
        text.gauge("teamtalk_requests_in_flight", help).value(self.in_flight);
        let help = "Requests the full queue did not take; their senders are not read from.";
        text.gauge("teamtalk_requests_refused", help).value(self.refused.len());
        self.figures.write(text);
        storage::metrics::write_metrics(&self.business.db, &self.business.cache, text);
    }

    fn not_ready(&self) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        if self.stop_tick.is_some() {
            reasons.push("the server is stopping".to_owned());
        }
        reasons.extend(self.storage_check.iter().flat_map(|check| check.reasons()));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::im_pdu::ImPdu;
    use crate::pb::cmd::{CID_MSG_DATA, CID_OTHER_HEARTBEAT, SID_MSG, SID_OTHER};

    #[test]
    fn every_command_with_a_handler_is_measured_and_no_other() {
        let figures = WorkerFigures::default();
        let handled = (0..=u16::MAX).filter(|id| handler_map::handler(*id).is_some());
        let measured: Vec<u16> = figures.commands.iter().map(|(id, ..)| *id).collect();
        assert_eq!(measured, handled.collect::<Vec<_>>());
    }

    #[test]
    fn requests_that_are_done_together_take_as_long_as_all_of_them() {
        let figures = WorkerFigures::default();
        let message = ImPdu::encode(SID_MSG, CID_MSG_DATA, 1, &());
        let other = ImPdu::encode(SID_OTHER, CID_OTHER_HEARTBEAT, 1, &());
        let pdus = [message.as_pdu(), message.as_pdu(), other.as_pdu()];
        figures.count(&pdus, Duration::from_millis(3));
        let mut text = MetricsText::default();
        figures.write(&mut text);
        for line in [
            "teamtalk_request_seconds_sum{command=\"CID_MSG_DATA\"} 0.006",
            "teamtalk_request_seconds_count{command=\"CID_MSG_DATA\"} 2",
            "teamtalk_batch_size_sum 3",
            "teamtalk_batch_size_count 1",
        ] {
            assert!(text.as_str().lines().any(|found| found == line), "{line}");
        }
        assert!(!text.as_str().contains("HEARTBEAT"));
    }
}
