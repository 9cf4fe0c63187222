//! What is shown, from what a server told twice.

use serde_json::{Value, json};

use crate::tool::scrape::{Scrape, Steps};

/// How a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Health {
    /// It does its work.
    Ready,
    /// It runs and lacks something.
    NotReady(String),
    /// It tells nothing.
    Silent(String),
}

impl Health {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady(_) => "not ready",
            Self::Silent(_) => "silent",
        }
    }

    /// What is wrong.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::NotReady(reason) | Self::Silent(reason) => Some(reason),
        }
    }
}

/// One server. Rates are per second and missing until it has told its figures twice; times are
/// seconds, over the same interval, or since its start as long as it told them once.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is called.
    pub server: String,
    /// How it is.
    pub health: Health,
    /// Seconds since its start.
    pub uptime: Option<f64>,
    /// Open connections, those to the administration port left out.
    pub connections: Option<f64>,
    /// PDUs and HTTP requests that came.
    pub messages_in: Option<f64>,
    /// PDUs that were sent.
    pub messages_out: Option<f64>,
    /// Bytes that came.
    pub bytes_in: Option<f64>,
    /// Bytes that were sent.
    pub bytes_out: Option<f64>,
    /// Tasks that wait for a worker.
    pub queue: Option<f64>,
    /// 99 of 100 turns of the loop were not longer.
    pub turn_p99: Option<f64>,
    /// 99 of 100 statements and cache commands were not longer.
    pub storage_p99: Option<f64>,
    /// Connections that ended badly, new ones that were refused, PDUs that were dropped.
    pub drops: Option<f64>,
    /// Of one processor, in percent.
    pub cpu: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<f64>,
    /// The commands it works on, if it tells how long they take.
    pub commands: Vec<CommandRow>,
}

/// One command that workers of a server do.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRow {
    /// The server.
    pub server: String,
    /// The command.
    pub command: String,
    /// How often.
    pub rate: Option<f64>,
    /// Seconds it takes.
    pub mean: f64,
    /// 99 of 100 were not longer.
    pub p99: f64,
}

/// Ends of connections that are nobody's fault.
const GOOD_ENDS: [&str; 2] = ["service", "peer_closed"];

impl Row {
    /// A server that tells nothing.
    pub fn silent(server: &str, reason: &str) -> Self {
        Self {
            server: server.to_owned(),
            health: Health::Silent(reason.to_owned()),
            uptime: None,
            connections: None,
            messages_in: None,
            messages_out: None,
            bytes_in: None,
            bytes_out: None,
            queue: None,
            turn_p99: None,
            storage_p99: None,
            drops: None,
            cpu: None,
            memory: None,
            commands: Vec::new(),
        }
    }

    /// A server that told `now`, and `before` when it was asked the last time.
    pub fn new(server: &str, health: Health, before: Option<&Scrape>, now: &Scrape) -> Self {
        let interval = Interval::new(before, now);
        let rate = |names: &[&str]| interval.rate(|scrape| sums(scrape, names));
        let gauge = |name: &str| now.samples(name).next().map(|_| now.sum(name));
        Self {
            server: server.to_owned(),
            health,
            uptime: gauge("teamtalk_uptime_seconds"),
            connections: now.connections(),
            messages_in: rate(&["teamtalk_pdus_in_total", "teamtalk_http_requests_total"]),
            messages_out: rate(&["teamtalk_pdus_out_total"]),
            bytes_in: rate(&["teamtalk_bytes_in_total"]),
            bytes_out: rate(&["teamtalk_bytes_out_total"]),
            queue: gauge("teamtalk_queue_length"),
            turn_p99: interval.quantile("teamtalk_loop_turn_seconds", None, 0.99),
            storage_p99: interval.quantile("teamtalk_storage_seconds", None, 0.99),
            drops: interval.rate(drops),
            cpu: rate(&["process_cpu_seconds_total"]).map(|seconds| seconds * 100.0),
            memory: gauge("process_resident_memory_bytes"),
            commands: interval.commands(server),
        }
    }

    /// For programs.
    pub fn as_json(&self) -> Value {
        let command = |row: &CommandRow| {
            json!({
                "command": row.command, "per_second": row.rate, "mean_ms": row.mean * 1000.0,
                "p99_ms": row.p99 * 1000.0,
            })
        };
        let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1000.0);
        json!({
            "server": self.server,
            "state": self.health.word(),
            "reason": self.health.reason(),
            "uptime_s": self.uptime,
            "connections": self.connections,
            "messages_in_per_second": self.messages_in,
            "messages_out_per_second": self.messages_out,
            "bytes_in_per_second": self.bytes_in,
            "bytes_out_per_second": self.bytes_out,
            "queue": self.queue,
            "loop_turn_p99_ms": ms(self.turn_p99),
            "storage_p99_ms": ms(self.storage_p99),
            "drops_per_second": self.drops,
            "cpu_percent": self.cpu,
            "memory_bytes": self.memory,
            "commands": self.commands.iter().map(command).collect::<Vec<_>>(),
        })
    }
}

fn sums(scrape: &Scrape, names: &[&str]) -> f64 {
    names.iter().map(|name| scrape.sum(name)).sum()
}

fn drops(scrape: &Scrape) -> f64 {
    let closed = scrape.samples("teamtalk_closed_total");
    let bad = closed.filter(|s| s.label("reason").is_some_and(|end| !GOOD_ENDS.contains(&end)));
    bad.map(|sample| sample.value).sum::<f64>()
        + sums(scrape, &["teamtalk_accept_refused_total", "teamtalk_pdus_dropped_total"])
}

/// What happened between two moments of one process, or since its start.
struct Interval<'a> {
    before: Option<&'a Scrape>,
    now: &'a Scrape,
    seconds: f64,
}

impl<'a> Interval<'a> {
    /// The server's own clock says how long it was. One that was started again begins anew.
    fn new(before: Option<&'a Scrape>, now: &'a Scrape) -> Self {
        let uptime = |scrape: &Scrape| scrape.sum("teamtalk_uptime_seconds");
        let seconds = |before| uptime(now) - uptime(before);
        let before = before.filter(|before| seconds(before) > 0.0);
        Self { before, now, seconds: before.map_or(0.0, seconds) }
    }

    fn rate(&self, figure: impl Fn(&Scrape) -> f64) -> Option<f64> {
        let before = self.before?;
        Some((figure(self.now) - figure(before)).max(0.0) / self.seconds)
    }

    fn growth(&self, figure: impl Fn(&Scrape) -> f64) -> f64 {
        (figure(self.now) - self.before.map_or(0.0, figure)).max(0.0)
    }

    fn quantile(&self, name: &str, label: Option<(&str, &str)>, share: f64) -> Option<f64> {
        let before = self.before.map(|before| before.steps(name, label)).unwrap_or_default();
        quantile(&difference(&before, &self.now.steps(name, label)), share)
    }

    fn commands(&self, server: &str) -> Vec<CommandRow> {
        const NAME: &str = "teamtalk_request_seconds";
        let (count, sum) = (format!("{NAME}_count"), format!("{NAME}_sum"));
        let row = |command: &str| {
            let label = ("command", command);
            let done = self.growth(|scrape| scrape.sum_of(&count, label));
            (done > 0.0).then(|| CommandRow {
                server: server.to_owned(),
                command: command.to_owned(),
                rate: self.rate(|scrape| scrape.sum_of(&count, label)),
                mean: self.growth(|scrape| scrape.sum_of(&sum, label)) / done,
                p99: self.quantile(NAME, Some(label), 0.99).unwrap_or_default(),
            })
        };
        self.now.labels(&count, "command").into_iter().filter_map(row).collect()
    }
}

/// What was observed between two moments. A step that was not there before was empty.
fn difference(before: &Steps, now: &Steps) -> Steps {
    let earlier = |bound: f64| {
        before.iter().find(|(other, _)| *other == bound).map_or(0.0, |(_, count)| *count)
    };
    now.iter().map(|(bound, count)| (*bound, (count - earlier(*bound)).max(0.0))).collect()
}

/// What this share of all observations does not exceed, as far as steps can tell: within its step
/// an observation is assumed to be anywhere. Beyond the last bound, that bound.
fn quantile(steps: &Steps, share: f64) -> Option<f64> {
    let all = steps.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let wanted = all * share;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in steps {
        if *count >= wanted {
            if bound.is_infinite() {
                return Some(lower);
            }
            return Some(lower + (bound - lower) * (wanted - below) / (count - below).max(1.0));
        }
        (lower, below) = (*bound, *count);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(text: &str) -> Scrape {
        Scrape::parse(text).unwrap()
    }

    fn row(before: Option<&str>, now: &str) -> Row {
        let before = before.map(scrape);
        Row::new("db", Health::Ready, before.as_ref(), &scrape(now))
    }

    const BEFORE: &str = "teamtalk_uptime_seconds 10\n\
        teamtalk_pdus_in_total{command=\"A\"} 100\nteamtalk_http_requests_total 1\n\
        teamtalk_closed_total{reason=\"io\"} 1\nteamtalk_closed_total{reason=\"service\"} 1\n\
        process_cpu_seconds_total 1\n";

    const NOW: &str = "teamtalk_uptime_seconds 12\n\
        teamtalk_connections{class=\"A\"} 2\nteamtalk_connections{class=\"B\"} 3\n\
        teamtalk_connections{class=\"AdminConn\"} 1\n\
        teamtalk_pdus_in_total{command=\"A\"} 150\nteamtalk_pdus_in_total{command=\"B\"} 40\n\
        teamtalk_http_requests_total 11\n\
        teamtalk_closed_total{reason=\"io\"} 4\nteamtalk_closed_total{reason=\"service\"} 9\n\
        process_cpu_seconds_total 1.5\n";

    #[test]
    fn rates_are_differences_over_the_time_of_the_server() {
        let row = row(Some(BEFORE), NOW);
        assert_eq!(row.messages_in, Some(50.0));
        assert_eq!(row.messages_out, Some(0.0));
        assert_eq!(row.connections, Some(5.0));
        assert_eq!((row.drops, row.cpu), (Some(1.5), Some(25.0)));
        assert_eq!(row.queue, None, "it has none");
    }

    #[test]
    fn there_are_no_rates_at_first_and_after_a_restart() {
        assert_eq!(row(None, NOW).messages_in, None);
        let restarted = row(Some(NOW), BEFORE);
        assert_eq!((restarted.messages_in, restarted.cpu), (None, None));
        // Nothing has happened between two scrapes of one turn.
        assert_eq!(row(Some(NOW), NOW).messages_in, None);
    }

    #[test]
    fn a_quantile_is_where_its_share_is_reached() {
        let steps = vec![(1.0, 50.0), (2.0, 90.0), (4.0, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile(&steps, 0.5), Some(1.0));
        assert_eq!(quantile(&steps, 0.25), Some(0.5));
        assert_eq!(quantile(&steps, 0.95), Some(3.0));
        let far = vec![(1.0, 0.0), (f64::INFINITY, 10.0)];
        assert_eq!(quantile(&far, 0.99), Some(1.0));
        assert_eq!(quantile(&vec![(1.0, 0.0), (f64::INFINITY, 0.0)], 0.99), None);
        assert_eq!(quantile(&Vec::new(), 0.99), None);
    }

    #[test]
    fn commands_show_how_long_they_took_in_the_interval() {
        let text = |up: u32, fast: u32, all: u32, sum: f64| {
            let name = "teamtalk_request_seconds";
            let label = "command=\"CID_MSG_DATA\"";
            format!(
                "teamtalk_uptime_seconds {up}\n{name}_bucket{{{label},le=\"0.001\"}} {fast}\n\
                 {name}_bucket{{{label},le=\"0.01\"}} {all}\n\
                 {name}_bucket{{{label},le=\"+Inf\"}} {all}\n\
                 {name}_sum{{{label}}} {sum}\n{name}_count{{{label}}} {all}\n"
            )
        };
        let row = row(Some(&text(10, 100, 100, 0.05)), &text(20, 100, 120, 0.15));
        let [command] = &row.commands[..] else { panic!("{row:?}") };
        assert_eq!((command.command.as_str(), command.rate), ("CID_MSG_DATA", Some(2.0)));
        assert!((command.mean - 0.005).abs() < 1e-9, "{command:?}");
        assert!(command.p99 > 0.009 && command.p99 <= 0.01, "{command:?}");
        let json = row.as_json();
        assert_eq!(json["commands"][0]["command"], "CID_MSG_DATA");
        assert_eq!(json["state"], "ready");
        // One that was not asked for in the interval is not listed.
        let same = text(10, 100, 100, 0.05);
        let later = text(20, 100, 100, 0.05);
        assert_eq!(
            Row::new("db", Health::Ready, Some(&scrape(&same)), &scrape(&later)).commands,
            []
        );
    }
}
