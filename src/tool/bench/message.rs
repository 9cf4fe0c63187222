//! Pairs of users: one sends, the other one checks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;

use super::fleet::{Fleet, PATIENCE};
use super::report::{Latency, Report};
use super::{Load, now};
use crate::client::{Core, Event, Message, Session};
use crate::pb::base_define::{ClientType, MsgType};
use crate::tool::output::Output;

/// Pairs of users: one sends, the other one checks that each message comes once and in order.
#[derive(Args, Debug)]
pub(super) struct MessageLoad {
    #[command(flatten)]
    load: Load,

    /// Pairs of a sender and a receiver
    #[arg(long, value_name = "N", default_value_t = 500)]
    pairs: usize,

    /// Messages a sender sends in a second; without it, as many as are acknowledged
    ///
    /// Beyond the limit of msg_server (`MaxMsgCntPerSecond`) messages wait.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,

    /// Messages of a sender on their way at a time, when there is no --rate
    #[arg(long, value_name = "N", default_value_t = 4)]
    depth: usize,

    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 64)]
    size: usize,
}

#[derive(Default)]
struct Sender {
    sent: u32,
    /// Sequence number of each request that is not acknowledged yet, and when it went.
    waiting: VecDeque<(u16, Instant)>,
    due: Option<Instant>,
}

#[derive(Default)]
struct Receiver {
    /// The number of the last message of the sender, and its message id.
    last: u32,
    last_msg_id: u32,
    heard: u64,
}

#[derive(Default)]
struct Counts {
    acked: u64,
    refused: u64,
    doubled: u64,
    reordered: u64,
    strange: u64,
}

/// The content of message number `number` of a sender: number and time, padded to `size`.
fn content(number: u32, start: Instant, size: usize) -> Vec<u8> {
    let nanos = now().saturating_duration_since(start).as_nanos();
    let mut text = format!("{number}:{nanos}:").into_bytes();
    text.resize(text.len().max(size), b'.');
    text
}

fn parse(data: &[u8]) -> Option<(u32, Duration)> {
    let mut parts = data.split(|byte| *byte == b':').map(|part| std::str::from_utf8(part).ok());
    let number = parts.next()??.parse().ok()?;
    Some((number, Duration::from_nanos(parts.next()??.parse().ok()?)))
}

impl Receiver {
    /// Looks whether this is the next message.
    fn check(&mut self, number: u32, msg_id: u32, counts: &mut Counts) {
        match number.cmp(&(self.last + 1)) {
            std::cmp::Ordering::Equal => {}
            // It may still come; then it counts as one that came too late.
            std::cmp::Ordering::Greater => counts.reordered += 1,
            std::cmp::Ordering::Less => counts.doubled += 1,
        }
        if msg_id <= self.last_msg_id {
            counts.reordered += 1;
        }
        self.last = self.last.max(number);
        self.last_msg_id = self.last_msg_id.max(msg_id);
        self.heard += 1;
    }
}

/// Everything about a run but the connections.
struct Run {
    senders: Vec<Sender>,
    receivers: Vec<Receiver>,
    user_ids: Vec<u32>,
    counts: Counts,
    ack: Latency,
    delivery: Latency,
    start: Instant,
    interval: Option<Duration>,
    depth: usize,
    size: usize,
    sending: bool,
}

impl Run {
    /// Sender `at` sends one message to the receiver beside it.
    fn send(&mut self, at: usize, core: &mut Core) {
        let sender = &mut self.senders[at];
        sender.sent += 1;
        let data = content(sender.sent, self.start, self.size);
        let to = Session::User(self.user_ids[self.senders.len() + at]);
        let seq_num = core.send_data(to, MsgType::SingleText, data);
        self.senders[at].waiting.push_back((seq_num, now()));
    }

    fn on_event(&mut self, id: usize, core: &mut Core, event: Event) {
        match event {
            Event::Stored { seq_num, ack } if id < self.senders.len() => {
                if ack.msg_id == 0 {
                    self.counts.refused += 1;
                } else {
                    self.counts.acked += 1;
                }
                let waiting = &mut self.senders[id].waiting;
                if let Some(at) = waiting.iter().position(|(waits, _)| *waits == seq_num) {
                    let (_, since) = waiting.remove(at).expect("just found");
                    self.ack.add(since.elapsed());
                }
                if self.sending && self.interval.is_none() {
                    self.send(id, core);
                }
            }
            Event::Message(message) => self.hear(id, &message),
            _ => {}
        }
    }

    fn hear(&mut self, id: usize, message: &Message) {
        let receiver = id.checked_sub(self.senders.len()).map(|at| &mut self.receivers[at]);
        let (Some(receiver), Some((number, sent))) = (receiver, parse(&message.data)) else {
            // Of an earlier run, or of somebody else.
            self.counts.strange += 1;
            return;
        };
        self.delivery.add(self.start.elapsed().saturating_sub(sent));
        receiver.check(number, message.msg_id, &mut self.counts);
    }

    /// Sends what is due, and tells how long nothing else will be.
    fn send_due(&mut self, fleet: &mut Fleet) -> Duration {
        const IDLE: Duration = Duration::from_millis(50);
        let Some(interval) = self.interval.filter(|_| self.sending) else { return IDLE };
        let turn = now();
        let mut next = turn + IDLE;
        for at in 0..self.senders.len() {
            while let Some(due) = self.senders[at].due.filter(|due| *due <= turn) {
                self.senders[at].due = Some(due + interval);
                if let Some(core) = fleet.crowd.core(at) {
                    self.send(at, core);
                }
            }
            next = next.min(self.senders[at].due.unwrap_or(next));
        }
        next.saturating_duration_since(now())
    }

    fn begin(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        let count = self.senders.len();
        for at in 0..count {
            match self.interval {
                // Spread, so that it is no march.
                Some(interval) => {
                    self.senders[at].due = Some(self.start + interval * at as u32 / count as u32);
                }
                None => {
                    for _ in 0..self.depth {
                        self.send(at, fleet.crowd.core(at).context("a sender left")?);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        let pairs = self.senders.iter().zip(&self.receivers);
        let all_heard = pairs.into_iter().all(|(sender, receiver)| sender.sent == receiver.last);
        all_heard && self.senders.iter().all(|sender| sender.waiting.is_empty())
    }
}

impl MessageLoad {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        ensure!(self.pairs > 0 && self.depth > 0, "--pairs and --depth begin at 1");
        ensure!(self.rate.is_none_or(|rate| rate > 0.0), "--rate is above 0");
        let mut fleet = Fleet::log_in(&self.load, 2 * self.pairs, ClientType::Android)?;
        fleet.settle()?;
        let mut run = Run {
            senders: (0..self.pairs).map(|_| Sender::default()).collect(),
            receivers: (0..self.pairs).map(|_| Receiver::default()).collect(),
            user_ids: fleet.user_ids.clone(),
            counts: Counts::default(),
            ack: Latency::default(),
            delivery: Latency::default(),
            start: now(),
            interval: self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            depth: self.depth,
            size: self.size,
            sending: true,
        };
        run.begin(&mut fleet)?;
        while run.start.elapsed() < self.load.duration() {
            let timeout = run.send_due(&mut fleet);
            fleet.turn(timeout, |id, core, event| run.on_event(id, core, event))?;
        }
        run.sending = false;
        let (acked, elapsed) = (run.counts.acked, run.start.elapsed());
        let mut last = now();
        while !run.is_silent() && last.elapsed() < PATIENCE {
            fleet.turn(Duration::from_millis(50), |id, core, event| {
                last = now();
                run.on_event(id, core, event);
            })?;
        }
        let sent: u64 = run.senders.iter().map(|sender| u64::from(sender.sent)).sum();
        let heard: u64 = run.receivers.iter().map(|receiver| receiver.heard).sum();
        let mut report = Report::default();
        report.rate("acknowledged_per_second", acked, elapsed);
        report.figure("sent", sent);
        report.figure("heard", heard);
        report.latency("acknowledged", run.ack);
        report.latency("delivered", run.delivery);
        report.mistake("refused", run.counts.refused);
        report.mistake("lost", sent.saturating_sub(heard));
        report.mistake("doubled", run.counts.doubled);
        report.mistake("reordered", run.counts.reordered);
        report.print(&self.load.report, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_tells_number_and_time_and_has_its_size() {
        let data = content(7, now(), 64);
        let (number, sent) = parse(&data).unwrap();
        assert_eq!((data.len(), number), (64, 7));
        assert!(sent < Duration::from_secs(60));
        assert_eq!(parse(b"hello"), None);
        assert_eq!(parse(b"7:x:"), None);
    }

    #[test]
    fn what_comes_twice_or_too_late_is_noticed() {
        let (mut receiver, mut counts) = (Receiver::default(), Counts::default());
        for (number, msg_id) in [(1, 10), (2, 11), (4, 13)] {
            receiver.check(number, msg_id, &mut counts);
        }
        assert_eq!((counts.doubled, counts.reordered), (0, 1), "3 is missing");
        receiver.check(4, 14, &mut counts);
        assert_eq!((counts.doubled, counts.reordered), (1, 1));
        receiver.check(5, 14, &mut counts);
        assert_eq!((counts.doubled, counts.reordered), (1, 2), "the same message id");
    }
}
