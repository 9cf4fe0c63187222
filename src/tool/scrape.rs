//! What servers tell about themselves at their administration ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::base::http_client::{HttpClient, HttpClientError};

/// How long a server may take. It answers between two turns of its loop.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Longest text that is read.
pub const TEXT_MAX: usize = 4 << 20;

/// Why there are no figures.
#[derive(Debug, Error)]
pub enum ScrapeError {
    /// The server does not answer, or not with 200.
    #[error(transparent)]
    Http(#[from] HttpClientError),
    /// It answers something else.
    #[error("line {line} of the metrics is none of the format: {text:?}")]
    Format {
        /// The number of the line.
        line: usize,
        /// The line.
        text: String,
    },
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name, with the endings of histograms.
    pub name: String,
    /// Names and values of its labels, in the order of the text.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// All figures of a server at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    samples: Vec<Sample>,
}

/// Upper bounds of a histogram in rising order, each with how many observations are not above it.
pub type Steps = Vec<(f64, f64)>;

impl Scrape {
    /// Reads the text format of Prometheus.
    ///
    /// # Errors
    /// A line is none of the format.
    pub fn parse(text: &str) -> Result<Self, ScrapeError> {
        let mut samples = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || ScrapeError::Format { line: at + 1, text: line.to_owned() };
            samples.push(sample(line).ok_or_else(wrong)?);
        }
        Ok(Self { samples })
    }

    /// All samples of a name.
    pub fn samples(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The only sample of a name, or the sum of all.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples(name).map(|sample| sample.value).sum()
    }

    /// Open connections, those of whoever asks for figures left out.
    pub fn connections(&self) -> Option<f64> {
        const NAME: &str = "teamtalk_connections";
        self.samples(NAME).next()?;
        Some(self.sum(NAME) - self.sum_of(NAME, ("class", "AdminConn")))
    }

    /// The values of a label that samples of a name have.
    pub fn labels(&self, name: &str, label: &str) -> Vec<&str> {
        let mut found: Vec<&str> =
            self.samples(name).filter_map(|sample| sample.label(label)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The steps of a histogram, summed over all samples with this label, or over all.
    pub fn steps(&self, name: &str, label: Option<(&str, &str)>) -> Steps {
        let bucket = format!("{name}_bucket");
        let mut steps: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        for sample in self.samples(&bucket).filter(|sample| is_of(sample, label)) {
            let Some(bound) = sample.label("le").and_then(number) else { continue };
            // The bits of what is not negative are in the order of the numbers.
            steps.entry(bound.max(0.0).to_bits()).or_insert((bound, 0.0)).1 += sample.value;
        }
        steps.into_values().collect()
    }

    /// The sum of all samples of a name with this label.
    pub fn sum_of(&self, name: &str, label: (&str, &str)) -> f64 {
        self.samples(name).filter(|sample| is_of(sample, Some(label))).map(|s| s.value).sum()
    }
}

fn is_of(sample: &Sample, label: Option<(&str, &str)>) -> bool {
    label.is_none_or(|(name, value)| sample.label(name) == Some(value))
}

/// `name{label="value",…} value`
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let is_name = |c: char| c == '_' || c == ':' || c.is_ascii_alphanumeric();
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once("=\"")?;
            let (value, behind) = label_value(behind)?;
            labels.push((label.trim().to_owned(), value));
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = &rest[1..];
    }
    // A time may follow the value.
    let mut parts = rest.split_whitespace();
    let value = number(parts.next()?)?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The value of a label up to its quote, and what follows that.
fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

fn client() -> HttpClient {
    HttpClient::with_timeout(PATIENCE)
}

/// The figures of a server.
///
/// # Errors
/// It does not answer, or with something else.
pub fn fetch(addr: SocketAddr) -> Result<Scrape, ScrapeError> {
    let body = client().get(&format!("http://{addr}/metrics"), TEXT_MAX)?;
    Scrape::parse(&String::from_utf8_lossy(&body))
}

/// Why a server is not ready, in its own words; `None` if it is.
pub fn not_ready(addr: SocketAddr) -> Option<String> {
    match client().get_any(&format!("http://{addr}/healthz"), TEXT_MAX) {
        Ok((200, _)) => None,
        Ok((_, body)) => {
            let reasons = String::from_utf8_lossy(&body);
            let reasons: Vec<_> = reasons.lines().filter(|line| !line.is_empty()).collect();
            Some(reasons.join("; "))
        }
        Err(error) => Some(format!("its administration port does not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::histogram::Histogram;
    use crate::base::metrics_text::MetricsText;

    #[test]
    fn what_servers_write_is_read() {
        let times = Histogram::of_times();
        for us in [60, 70, 3_000, 90_000_000] {
            times.observe(us);
        }
        let mut text = MetricsText::default();
        text.gauge("users", "Users.").value(3);
        let mut family = text.counter("pdus_total", "PDUs.");
        family.sample(&[("command", "CID_A"), ("way", "in")], 1);
        family.sample(&[("command", "a\\b\"c\nd,e=}"), ("way", "in")], 2.5);
        text.histogram("turn_seconds", "Turns.").times(&[("op", "x")], &times.snapshot());
        let scrape = Scrape::parse(text.as_str()).unwrap();
        assert_eq!((scrape.sum("users"), scrape.sum("pdus_total")), (3.0, 3.5));
        assert_eq!(scrape.labels("pdus_total", "command"), ["CID_A", "a\\b\"c\nd,e=}"]);
        assert_eq!(scrape.sum_of("pdus_total", ("command", "CID_A")), 1.0);
        let steps = scrape.steps("turn_seconds", Some(("op", "x")));
        assert_eq!((steps[0], steps[1], steps[2]), ((0.00005, 0.0), (0.0001, 2.0), (0.00025, 2.0)));
        assert_eq!(steps.last(), Some(&(f64::INFINITY, 4.0)));
        assert_eq!(scrape.steps("turn_seconds", Some(("op", "y"))), []);
        assert_eq!(scrape.sum("turn_seconds_count"), 4.0);
    }

    #[test]
    fn other_servers_of_prometheus_are_read_too() {
        let text = "# a comment\n\nup 1 1700000000000\na{le=\"+Inf\",} 2\nb{} NaN\nc -1e3\n";
        let scrape = Scrape::parse(text).unwrap();
        assert_eq!((scrape.sum("up"), scrape.sum("a"), scrape.sum("c")), (1.0, 2.0, -1000.0));
        assert!(scrape.sum("b").is_nan());
    }

    #[test]
    fn what_is_no_figure_is_told_with_its_line() {
        for line in ["<html>", "a", "a{b=\"c} 1", "a{b} 1", "a x", "{} 1", "a{b=\"c\""] {
            let error = Scrape::parse(&format!("ok 1\n{line}\n")).unwrap_err();
            assert!(error.to_string().starts_with("line 2 "), "{line}: {error}");
        }
    }

    #[test]
    fn histograms_of_several_labels_are_summed_up() {
        let text = "t_bucket{op=\"a\",le=\"1\"} 1\nt_bucket{op=\"a\",le=\"+Inf\"} 2\n\
                    t_bucket{op=\"b\",le=\"1\"} 10\nt_bucket{op=\"b\",le=\"+Inf\"} 10\n";
        let scrape = Scrape::parse(text).unwrap();
        assert_eq!(scrape.steps("t", None), [(1.0, 11.0), (f64::INFINITY, 12.0)]);
    }
}
