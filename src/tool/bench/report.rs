//! Figures as a table, as JSON, as a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::tool::output::Output;

/// What becomes of the figures.
#[derive(Args, Clone, Debug)]
pub(super) struct ReportOptions {
    /// Draw the distribution of latencies into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Latencies in nanoseconds, up to a minute, with three digits.
pub(super) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("bounds that are right"))
    }
}

const PERCENTILES: [(&str, f64); 6] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
    ("max", 100.0),
];

impl Latency {
    pub(super) fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    fn micros(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1e3
    }
}

/// What a workload has measured.
#[derive(Default)]
pub(super) struct Report {
    figures: Vec<(&'static str, Value)>,
    latencies: Vec<(&'static str, Latency)>,
    mistakes: Vec<(&'static str, u64)>,
}

impl Report {
    /// A figure of its own.
    pub(super) fn figure(&mut self, name: &'static str, value: impl Into<Value>) {
        self.figures.push((name, value.into()));
    }

    /// So many in so long.
    pub(super) fn rate(&mut self, name: &'static str, count: u64, elapsed: Duration) {
        self.figure(name, (count as f64 / elapsed.as_secs_f64()).round());
    }

    /// How long something took, each time.
    pub(super) fn latency(&mut self, name: &'static str, latency: Latency) {
        self.latencies.push((name, latency));
    }

    /// What must not happen, and how often it did.
    pub(super) fn mistake(&mut self, name: &'static str, count: u64) {
        self.mistakes.push((name, count));
    }

    /// Prints everything, and draws if that is wanted.
    ///
    /// # Errors
    /// Something happened that must not, or the picture cannot be written.
    pub(super) fn print(self, options: &ReportOptions, output: &Output) -> anyhow::Result<()> {
        if let Some(path) = &options.svg {
            fs::write(path, svg(&self.latencies)).with_context(|| path.display().to_string())?;
        }
        output.one(&self.json(), self.text().trim_end())?;
        let wrong: Vec<_> = self.mistakes.iter().filter(|(_, count)| *count > 0).collect();
        anyhow::ensure!(wrong.is_empty(), "mistakes: {wrong:?}");
        Ok(())
    }

    fn json(&self) -> Value {
        let mut all = Map::new();
        for (name, value) in &self.figures {
            all.insert((*name).to_owned(), value.clone());
        }
        for (name, latency) in &self.latencies {
            let figures =
                PERCENTILES.map(|(name, at)| (name.to_owned(), json!(latency.micros(at))));
            let mut figures: Map<_, _> = figures.into_iter().collect();
            figures.insert("count".to_owned(), json!(latency.count()));
            all.insert(format!("{name}_us"), Value::Object(figures));
        }
        for (name, count) in &self.mistakes {
            all.insert((*name).to_owned(), json!(count));
        }
        Value::Object(all)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mistakes = self.mistakes.iter().map(|(name, count)| (*name, json!(count)));
        for (name, value) in self.figures.iter().cloned().chain(mistakes) {
            let value = match value {
                Value::Number(number) => {
                    number.as_f64().map_or_else(|| number.to_string(), |value| format!("{value}"))
                }
                value => value.to_string(),
            };
            let _ = writeln!(text, "{name:<28}{value:>14}");
        }
        if !self.latencies.is_empty() {
            let names = PERCENTILES.map(|(name, _)| format!("{name:>10}")).concat();
            let _ = writeln!(text, "{:<28}{:>14}{names}", "milliseconds", "count");
        }
        for (name, latency) in &self.latencies {
            let at =
                PERCENTILES.map(|(_, at)| format!("{:>10.3}", latency.micros(at) / 1e3)).concat();
            let _ = writeln!(text, "{name:<28}{:>14}{at}", latency.count());
        }
        text
    }
}

/// The share of requests answered within each time, on a logarithmic scale from 10 µs to 10 s.
fn svg(latencies: &[(&'static str, Latency)]) -> String {
    const W: f64 = 600.0;
    const H: f64 = 300.0;
    const LEFT: f64 = 50.0;
    const TOP: f64 = 20.0;
    const COLOURS: [&str; 4] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd"];
    let x = |micros: f64| LEFT + W * (micros.clamp(10.0, 1e7).log10() - 1.0) / 6.0;
    let y = |share: f64| TOP + H * (1.0 - share);
    let mut body = String::new();
    for (at, label) in
        ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"].iter().enumerate()
    {
        let (x, bottom) = (x(10_f64.powi(at as i32 + 1)), TOP + H);
        let _ = writeln!(body, "<path d='M{x} {TOP}V{bottom}' stroke='#ddd'/>");
        let _ = writeln!(
            body,
            "<text x='{x}' y='{}' text-anchor='middle'>{label}</text>",
            bottom + 16.0
        );
    }
    for share in [0.0, 0.5, 0.9, 1.0] {
        let (y, right) = (y(share), LEFT + W);
        let _ = writeln!(body, "<path d='M{LEFT} {y}H{right}' stroke='#ddd'/>");
        let _ = writeln!(
            body,
            "<text x='{}' y='{}' text-anchor='end'>{share}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (at, (name, latency)) in latencies.iter().enumerate() {
        let points = (0..=1_000).map(|at| f64::from(at) / 1e3);
        let points: String = points
            .map(|share| format!("{:.1},{:.1} ", x(latency.micros(share * 100.0)), y(share)))
            .collect();
        let colour = COLOURS[at % COLOURS.len()];
        let _ = writeln!(body, "<polyline points='{points}' fill='none' stroke='{colour}'/>");
        let y = TOP + 16.0 * (at as f64 + 1.0);
        let _ = writeln!(body, "<text x='{}' y='{y}' fill='{colour}'>{name}</text>", LEFT + 8.0);
    }
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {} {}' font-family='sans-serif' \
         font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n{body}</svg>\n",
        W + 70.0,
        H + 50.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        let mut latency = Latency::default();
        (1..=1_000).for_each(|at| latency.add(Duration::from_micros(at)));
        report.rate("per_second", 1_000, Duration::from_millis(500));
        report.latency("ack", latency);
        report.mistake("lost", 0);
        report
    }

    #[test]
    fn figures_are_the_same_for_people_and_programs() {
        let json = report().json();
        assert_eq!((&json["per_second"], &json["lost"]), (&json!(2000.0), &json!(0)));
        let p50 = json["ack_us"]["p50"].as_f64().unwrap();
        assert!((499.0..502.0).contains(&p50) && json["ack_us"]["count"] == 1_000, "{json}");
        let text = report().text();
        let has = |line: &[&str]| {
            text.lines()
                .any(|have| have.split_whitespace().take(line.len()).eq(line.iter().copied()))
        };
        assert!(has(&["per_second", "2000"]) && has(&["lost", "0"]), "{text}");
        assert!(has(&["ack", "1000", "0.500", "0.900", "0.990"]), "{text}");
    }

    #[test]
    fn mistakes_fail_and_pictures_are_drawn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latency.svg");
        let options = ReportOptions { svg: Some(path.clone()) };
        report().print(&options, &Output::new(true)).unwrap();
        let drawn = fs::read_to_string(path).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("polyline") && drawn.contains(">ack<"));
        let mut wrong = report();
        wrong.mistake("doubled", 2);
        let error = wrong.print(&ReportOptions { svg: None }, &Output::new(true)).unwrap_err();
        assert!(error.to_string().contains("doubled"), "{error}");
    }
}
