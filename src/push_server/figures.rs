//! What push_server tells about itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::sender::{Sender, SenderStats};
use super::{PushServer, Target};
use crate::base::metrics_text::{Family, MetricsText};
use crate::netlib::Health;

impl Health for PushServer {
    const PROGRAM: &'static str = "push_server";

    fn write_metrics(&self, text: &mut MetricsText) {
        let targets = [("ios", &self.ios), ("android", &self.android)];
        let senders: Vec<(&str, &Sender)> = targets
            .into_iter()
            .filter_map(|(phones, target)| Some((phones, Target::sender(target)?)))
            .collect();
        let write = |mut family: Family<'_>, part: &dyn Fn(&Sender) -> u64| {
            for (phones, sender) in &senders {
                family.sample(&[("phones", *phones)], part(sender));
            }
        };
        let help = "Notifications that wait for a provider.";
        write(text.gauge("teamtalk_pushes_waiting", help), &|s| s.queue().len() as u64);
        let help = "Notifications of which nobody knows yet what becomes of them.";
        write(text.gauge("teamtalk_pushes_in_flight", help), &|s| s.queue().left() as u64);
        let help = "Notifications that were dropped because the queue was full.";
        write(text.counter("teamtalk_pushes_dropped_total", help), &|s| s.queue().dropped());
        for (name, help, part) in [
            ("teamtalk_pushes_accepted_total", "Notifications a provider took.", ACCEPTED),
            ("teamtalk_pushes_refused_total", "Notifications a provider did not take.", REFUSED),
            ("teamtalk_pushes_dead_total", "Tokens a provider called dead.", DEAD),
            ("teamtalk_pushes_retried_total", "Attempts followed by another one.", RETRIED),
        ] {
            write(text.counter(name, help), &|s| part(s.stats()).load(Ordering::Relaxed));
        }
    }

    /// A provider that is away is tried again; nothing else is needed.
    fn not_ready(&self) -> Vec<String> {
        let stopping = self.stop_at.map(|_| "the server is stopping".to_owned());
        stopping.into_iter().collect()
    }
}

type Part = fn(&SenderStats) -> &AtomicU64;

const ACCEPTED: Part = |stats| &stats.accepted;
const REFUSED: Part = |stats| &stats.refused;
const DEAD: Part = |stats| &stats.dead;
const RETRIED: Part = |stats| &stats.retried;
