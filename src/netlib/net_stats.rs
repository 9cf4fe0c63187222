//! What the network counts, and how it says so.
//!
//! Counting costs the hot path two additions per PDU: a command is its place in a table of fixed
//! size, so nothing is hashed, nothing is allocated, and no peer can make the table grow.

use super::im_conn::CloseReason;
use crate::base::histogram::Histogram;
use crate::base::metrics_text::MetricsText;
use crate::pb::cmd::COMMANDS;

/// Service ids with a row in the table, 0 included.
const SERVICE_COUNT: u16 = 9;

/// Commands in each row.
const ROW_LEN: u16 = 64;

const SLOT_COUNT: usize = (SERVICE_COUNT * ROW_LEN) as usize;

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NetStats {
    /// Connections that listeners accepted.
    pub accepted: u64,
    /// New connections closed at once: a limit was reached, or the peer is not allowed.
    pub accept_refused: u64,
    /// Times that accepting paused because no file descriptor was left.
    pub accept_paused: u64,
    /// Connections that netlib ended: everything [`CloseReason`] lists.
    pub failed: u64,
    /// Bytes read from sockets.
    pub bytes_in: u64,
    /// Bytes queued for sockets.
    pub bytes_out: u64,
    /// PDUs and HTTP requests handed to handlers.
    pub messages_in: u64,
}

/// Why a new connection is closed at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// `AllowIP` and its like.
    NotAllowed,
    /// The limit of the listener.
    ConnMax,
    /// The limit of the process.
    NoHandle,
}

impl Refusal {
    const ALL: [Self; 3] = [Self::NotAllowed, Self::ConnMax, Self::NoHandle];

    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotAllowed => "its address is not allowed",
            Self::ConnMax => "conn_max is reached",
            Self::NoHandle => "no handle is left",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::ConnMax => "conn_max",
            Self::NoHandle => "no_handle",
        }
    }
}

/// PDUs of one command in one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    pdus: u64,
    bytes: u64,
}

/// PDUs of all commands in one direction.
#[derive(Debug)]
pub(crate) struct Traffic(Box<[Count; SLOT_COUNT]>);

impl Traffic {
    fn new() -> Self {
        Self(Box::new([Count::default(); SLOT_COUNT]))
    }

    #[inline]
    pub(crate) fn count(&mut self, command_id: u16, bytes: usize) {
        let count = &mut self.0[slot(command_id)];
        count.pdus += 1;
        count.bytes += bytes as u64;
    }

    fn pdus(&self) -> u64 {
        self.0.iter().map(|count| count.pdus).sum()
    }

    /// Commands that occurred, with their names; what has no name is one line.
    fn by_command(&self) -> Vec<(&'static str, Count)> {
        let named = COMMANDS.iter().map(|(id, name)| (*name, self.0[slot(*id)]));
        let mut lines: Vec<_> = named.filter(|(_, count)| count.pdus > 0).collect();
        let sum = |part: fn(&Count) -> u64| {
            let named: u64 = lines.iter().map(|(_, count)| part(count)).sum();
            self.0.iter().map(part).sum::<u64>() - named
        };
        let other = Count { pdus: sum(|count| count.pdus), bytes: sum(|count| count.bytes) };
        if other.pdus > 0 {
            lines.push(("other", other));
        }
        lines
    }
}

/// The place of a command; the first one is that of all for which there is no row.
#[inline]
const fn slot(command_id: u16) -> usize {
    let (service, command) = (command_id >> 8, command_id & 0xff);
    if service < SERVICE_COUNT && command < ROW_LEN {
        (service * ROW_LEN + command) as usize
    } else {
        0
    }
}

/// One class of connections.
#[derive(Debug)]
struct Class {
    name: &'static str,
    conns: usize,
}

/// Everything a network counts.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) stats: NetStats,
    pub(crate) pdus_in: Traffic,
    pub(crate) pdus_out: Traffic,
    pub(crate) http_requests: u64,
    /// Times that a peer was slowed down.
    pub(crate) delayed: u64,
    /// How long turns worked, their sleep left out.
    pub(crate) turns: Histogram,
    closed_by_service: u64,
    closed: [u64; CloseReason::LABELS.len()],
    refused: [u64; Refusal::ALL.len()],
    bad_bodies: u64,
    bad_attach_data: u64,
    classes: Vec<Class>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        Self {
            stats: NetStats::default(),
            pdus_in: Traffic::new(),
            pdus_out: Traffic::new(),
            http_requests: 0,
            delayed: 0,
            turns: Histogram::of_times(),
            closed_by_service: 0,
            closed: Default::default(),
            refused: Default::default(),
            bad_bodies: 0,
            bad_attach_data: 0,
            classes: Vec::new(),
        }
    }

    /// The totals.
    pub(crate) fn totals(&self) -> NetStats {
        NetStats { messages_in: self.pdus_in.pdus() + self.http_requests, ..self.stats }
    }

    /// A connection of this class begins. A service has a handful of classes.
    pub(crate) fn add_conn(&mut self, name: &'static str) -> u8 {
        let at = self.classes.iter().position(|class| class.name == name);
        let at = at.unwrap_or_else(|| {
            self.classes.push(Class { name, conns: 0 });
            self.classes.len() - 1
        });
        self.classes[at].conns += 1;
        u8::try_from(at).expect("fewer classes than that are compiled in")
    }

    /// A connection of this class is gone.
    pub(crate) fn remove_conn(&mut self, class: u8) {
        self.classes[usize::from(class)].conns -= 1;
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.stats.accept_refused += 1;
        self.refused[refusal as usize] += 1;
    }

    pub(crate) fn close(&mut self, reason: &CloseReason) {
        self.stats.failed += 1;
        let at = CloseReason::LABELS.iter().position(|label| *label == reason.label());
        self.closed[at.expect("the labels of all reasons are listed")] += 1;
    }

    pub(crate) fn close_by_service(&mut self) {
        self.closed_by_service += 1;
    }

    pub(crate) fn drop_bad_body(&mut self) {
        self.bad_bodies += 1;
    }

    pub(crate) fn drop_bad_attach_data(&mut self) {
        self.bad_attach_data += 1;
    }

    /// Writes all of it.
    pub(crate) fn write(&self, text: &mut MetricsText) {
        self.write_conns(text);
        self.write_traffic(text);
        let help = "Time a turn of the loop worked, its sleep left out.";
        text.histogram("teamtalk_loop_turn_seconds", help).times(&[], &self.turns.snapshot());
    }

    fn write_conns(&self, text: &mut MetricsText) {
        let help = "Open connections by class, those that are closing included.";
        let mut family = text.gauge("teamtalk_connections", help);
        for Class { name, conns } in &self.classes {
            family.sample(&[("class", *name)], conns);
        }
        let accepted = self.stats.accepted;
        text.counter("teamtalk_accepted_total", "Accepted connections.").value(accepted);
        let help = "New connections closed at once, by reason.";
        let mut family = text.counter("teamtalk_accept_refused_total", help);
        for refusal in Refusal::ALL {
            let count = self.refused[refusal as usize];
            family.sample(&[("reason", refusal.label())], count);
        }
        let help = "Times that accepting paused because no file descriptor was left.";
        text.counter("teamtalk_accept_paused_total", help).value(self.stats.accept_paused);
        let help = "Ended connections by reason; `service` is an end the server asked for.";
        let mut family = text.counter("teamtalk_closed_total", help);
        family.sample(&[("reason", "service")], self.closed_by_service);
        for (label, count) in CloseReason::LABELS.iter().zip(self.closed) {
            family.sample(&[("reason", *label)], count);
        }
    }

    fn write_traffic(&self, text: &mut MetricsText) {
        let stats = &self.stats;
        text.counter("teamtalk_bytes_in_total", "Bytes read.").value(stats.bytes_in);
        text.counter("teamtalk_bytes_out_total", "Bytes queued to be written.")
            .value(stats.bytes_out);
        let (lines_in, lines_out) = (self.pdus_in.by_command(), self.pdus_out.by_command());
        let mut family = |name, help: &str, lines: &[(&str, Count)], part: fn(&Count) -> u64| {
            let mut family = text.counter(name, help);
            for (command, count) in lines {
                family.sample(&[("command", *command)], part(count));
            }
        };
        let help = "PDUs handed to handlers, by command; one that never came has no line.";
        family("teamtalk_pdus_in_total", help, &lines_in, |count| count.pdus);
        let help = "Bytes of PDUs handed to handlers, by command.";
        family("teamtalk_pdu_bytes_in_total", help, &lines_in, |count| count.bytes);
        let help = "PDUs queued to be sent, by command.";
        family("teamtalk_pdus_out_total", help, &lines_out, |count| count.pdus);
        let help = "Bytes of PDUs queued to be sent, by command.";
        family("teamtalk_pdu_bytes_out_total", help, &lines_out, |count| count.bytes);
        let help = "HTTP requests handed to handlers.";
        text.counter("teamtalk_http_requests_total", help).value(self.http_requests);
        let help = "PDUs that were dropped while their connection went on, by reason.";
        let mut family = text.counter("teamtalk_pdus_dropped_total", help);
        family.sample(&[("reason", "bad_body")], self.bad_bodies);
        family.sample(&[("reason", "bad_attach_data")], self.bad_attach_data);
        let help = "Times that a peer which asked too fast was kept waiting.";
        text.counter("teamtalk_delayed_reads_total", help).value(self.delayed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pb::cmd::CID_MSG_DATA;

    #[test]
    fn every_command_has_a_place_of_its_own_and_none_shares_that_of_the_others() {
        let slots: BTreeSet<usize> = COMMANDS.iter().map(|(id, _)| slot(*id)).collect();
        assert_eq!(slots.len(), COMMANDS.len());
        assert!(!slots.contains(&0));
    }

    #[test]
    fn no_command_id_is_outside_of_the_table() {
        let mut traffic = Traffic::new();
        for id in 0..=u16::MAX {
            traffic.count(id, 16);
        }
        let lines = traffic.by_command();
        assert_eq!(lines.len(), COMMANDS.len() + 1);
        assert!(lines[..COMMANDS.len()].iter().all(|(_, count)| count.pdus == 1));
        let (name, other) = lines[COMMANDS.len()];
        let others = (1 << 16) - COMMANDS.len() as u64;
        assert_eq!((name, other.pdus, other.bytes), ("other", others, 16 * others));
    }

    #[test]
    fn pdus_are_counted_by_the_name_of_their_command() {
        let mut figures = Figures::new();
        figures.pdus_in.count(CID_MSG_DATA, 100);
        figures.pdus_in.count(CID_MSG_DATA, 20);
        figures.pdus_out.count(0xffff, 16);
        let mut text = MetricsText::default();
        figures.write(&mut text);
        for line in [
            "teamtalk_pdus_in_total{command=\"CID_MSG_DATA\"} 2",
            "teamtalk_pdu_bytes_in_total{command=\"CID_MSG_DATA\"} 120",
            "teamtalk_pdus_out_total{command=\"other\"} 1",
        ] {
            assert!(text.as_str().lines().any(|found| found == line), "{line}");
        }
        assert_eq!(figures.totals().messages_in, 2);
    }

    #[test]
    fn connections_are_counted_by_class() {
        let mut figures = Figures::new();
        let (first, second) = (figures.add_conn("MsgConn"), figures.add_conn("DbServConn"));
        assert_eq!(figures.add_conn("MsgConn"), first);
        figures.remove_conn(second);
        let mut text = MetricsText::default();
        figures.write(&mut text);
        assert!(text.as_str().contains("teamtalk_connections{class=\"MsgConn\"} 2\n"));
        assert!(text.as_str().contains("teamtalk_connections{class=\"DbServConn\"} 0\n"));
    }
}
