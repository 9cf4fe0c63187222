//! A few members of a group talk to all of it.

use std::collections::HashMap;
use std::iter;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;

use super::fleet::{Fleet, PATIENCE};
use super::report::{Latency, Report};
use super::{Load, now};
use crate::client::{Client, Core, Event, Session};
use crate::pb::base_define::{ClientType, GroupModifyType, MsgType};
use crate::tool::output::Output;

/// Members asked for in one request when a group is made.
const MEMBERS_AT_ONCE: usize = 500;

/// A few members of a group talk to all of it.
#[derive(Args, Debug)]
pub(super) struct GroupLoad {
    #[command(flatten)]
    load: Load,

    /// Members of the group, all on line
    #[arg(long, value_name = "N", default_value_t = 500)]
    members: usize,

    /// How many of them talk
    #[arg(long, value_name = "N", default_value_t = 4)]
    senders: usize,

    /// Messages each of them sends in a second; without it, as many as are acknowledged
    #[arg(long, value_name = "N")]
    rate: Option<f64>,

    /// Messages of a sender on their way at a time, when there is no --rate
    #[arg(long, value_name = "N", default_value_t = 4)]
    depth: usize,

    /// Ask for the time on one more connection meanwhile, and report how long that takes
    #[arg(long)]
    probe: bool,
}

/// A message on its way to all other members.
struct Flight {
    since: Instant,
    left: usize,
}

struct Run {
    group_id: u32,
    senders: usize,
    members: usize,
    sent: u64,
    acked: u64,
    deliveries: u64,
    refused: u64,
    doubled: u64,
    flights: HashMap<(usize, u32), Flight>,
    /// The number of the last message of each sender that each member has heard.
    heard: Vec<Vec<u32>>,
    numbers: Vec<u32>,
    due: Vec<Instant>,
    interval: Option<Duration>,
    sending: bool,
    each: Latency,
    last: Latency,
}

impl Run {
    fn send(&mut self, at: usize, core: &mut Core) {
        self.numbers[at] += 1;
        self.sent += 1;
        let number = self.numbers[at];
        let data = format!("{at}:{number}:{:.<40}", "").into_bytes();
        core.send_data(Session::Group(self.group_id), MsgType::GroupText, data);
        let left = self.members - 1;
        self.flights.insert((at, number), Flight { since: now(), left });
    }

    fn on_event(&mut self, id: usize, core: &mut Core, event: Event) {
        match event {
            Event::Stored { ack, .. } if id < self.senders => {
                if ack.msg_id == 0 {
                    self.refused += 1;
                } else {
                    self.acked += 1;
                }
                if self.sending && self.interval.is_none() {
                    self.send(id, core);
                }
            }
            Event::Message(message) => {
                let text = std::str::from_utf8(&message.data).unwrap_or_default();
                let mut parts = text.split(':').map(str::parse);
                let (Some(Ok(from)), Some(Ok(number))) = (parts.next(), parts.next()) else {
                    return;
                };
                self.hear(id, from as usize, number);
            }
            _ => {}
        }
    }

    fn hear(&mut self, id: usize, from: usize, number: u32) {
        let Some(flight) = self.flights.get_mut(&(from, number)) else {
            // Everybody has heard it already.
            self.doubled += 1;
            return;
        };
        if self.heard[id][from] >= number {
            self.doubled += 1;
            return;
        }
        self.heard[id][from] = number;
        self.deliveries += 1;
        self.each.add(flight.since.elapsed());
        flight.left -= 1;
        if flight.left == 0 {
            self.last.add(flight.since.elapsed());
            self.flights.remove(&(from, number));
        }
    }

    fn send_due(&mut self, fleet: &mut Fleet) -> Duration {
        const IDLE: Duration = Duration::from_millis(50);
        let Some(interval) = self.interval.filter(|_| self.sending) else { return IDLE };
        let turn = now();
        let mut next = turn + IDLE;
        for at in 0..self.senders {
            while self.due[at] <= turn {
                self.due[at] += interval;
                if let Some(core) = fleet.crowd.core(at) {
                    self.send(at, core);
                }
            }
            next = next.min(self.due[at]);
        }
        next.saturating_duration_since(now())
    }
}

impl GroupLoad {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        ensure!(self.senders <= self.members, "--senders are members");
        ensure!(self.rate.is_none_or(|rate| rate > 0.0), "--rate is above 0");
        let mut fleet = Fleet::log_in(&self.load, self.members, ClientType::Android)?;
        let group_id = self.make_group(&fleet.user_ids)?;
        fleet.settle()?;
        let start = now();
        let interval = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let spread = |at: usize| interval.unwrap_or_default() * at as u32 / self.senders as u32;
        let mut run = Run {
            group_id,
            senders: self.senders,
            members: self.members,
            sent: 0,
            acked: 0,
            deliveries: 0,
            refused: 0,
            doubled: 0,
            flights: HashMap::new(),
            heard: vec![vec![0; self.senders]; self.members],
            numbers: vec![0; self.senders],
            due: (0..self.senders).map(|at| start + spread(at)).collect(),
            interval,
            sending: true,
            each: Latency::default(),
            last: Latency::default(),
        };
        if interval.is_none() {
            for at in (0..self.senders).flat_map(|at| iter::repeat_n(at, self.depth)) {
                run.send(at, fleet.crowd.core(at).context("a sender left")?);
            }
        }
        let probe = if self.probe { Some(self.start_probe()?) } else { None };
        while start.elapsed() < self.load.duration() {
            let timeout = run.send_due(&mut fleet);
            fleet.turn(timeout, |id, core, event| run.on_event(id, core, event))?;
        }
        run.sending = false;
        let (deliveries, acked, elapsed) = (run.deliveries, run.acked, start.elapsed());
        let mut last = now();
        while !(run.flights.is_empty() && run.acked + run.refused == run.sent)
            && last.elapsed() < PATIENCE
        {
            fleet.turn(Duration::from_millis(50), |id, core, event| {
                last = now();
                run.on_event(id, core, event);
            })?;
        }
        let lost: usize = run.flights.values().map(|flight| flight.left).sum();
        let mut report = Report::default();
        report.rate("deliveries_per_second", deliveries, elapsed);
        report.rate("messages_per_second", acked, elapsed);
        report.latency("each member", run.each);
        report.latency("last member", run.last);
        if let Some(probe) = probe {
            report.latency(
                "others meanwhile",
                probe.join().unwrap_or_else(|_| Ok(Latency::default()))?,
            );
        }
        report.mistake("refused", run.refused);
        report.mistake("lost", lost as u64);
        report.mistake("doubled", run.doubled);
        report.print(&self.load.report, output)
    }

    /// A group of all these, made by the first of them, who comes as a PC for that.
    fn make_group(&self, user_ids: &[u32]) -> anyhow::Result<u32> {
        let mut client = self.load.site.server()?.connect(&self.load.site.aes_key()?)?;
        client.login(&super::fleet::login(&self.load, 0, ClientType::Windows))?;
        let first = &user_ids[..user_ids.len().min(MEMBERS_AT_ONCE)];
        let group_id = client.create_group("bench", first)?;
        for more in user_ids[first.len()..].chunks(MEMBERS_AT_ONCE) {
            client.change_group(group_id, GroupModifyType::Add, more)?;
        }
        client.logout()?;
        Ok(group_id)
    }

    /// Somebody else, who does nothing but ask for the time.
    fn start_probe(&self) -> anyhow::Result<std::thread::JoinHandle<anyhow::Result<Latency>>> {
        let mut client: Client = self.load.site.server()?.connect(&self.load.site.aes_key()?)?;
        client.login(&super::fleet::login(&self.load, self.members, ClientType::Windows))?;
        let until = now() + self.load.duration();
        Ok(std::thread::spawn(move || {
            let mut latency = Latency::default();
            while now() < until {
                let asked = now();
                client.server_time()?;
                latency.add(asked.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(latency)
        }))
    }
}
