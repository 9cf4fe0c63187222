//! Figures as text, in the format that Prometheus reads.
//!
//! A family is one name with its help and its type, and all its samples behind each other:
//!
//! ```text
//! # HELP teamtalk_pdus_in_total PDUs handed to handlers.
//! # TYPE teamtalk_pdus_in_total counter
//! teamtalk_pdus_in_total{command="CID_MSG_DATA"} 17
//! ```

use std::fmt::{Display, Write};

use super::histogram::Snapshot;

/// What `/metrics` answers with as its content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of all figures of a server.
#[derive(Debug, Default)]
pub struct MetricsText {
    text: String,
}

/// One name whose samples are being written.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl MetricsText {
    /// A figure that only grows while the server runs. Its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name} is a counter");
        self.family(name, help, "counter")
    }

    /// A figure that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// How often something took how long. Its name ends in the unit.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "histogram")
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        debug_assert!(
            !self.text.contains(&format!("# TYPE {name} ")),
            "{name} stands there already: its samples belong behind each other"
        );
        debug_assert!(!help.contains(['\n', '\\']), "{name}: help is one plain line");
        self.text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text: &mut self.text, name }
    }

    /// All that was written.
    pub fn into_string(self) -> String {
        self.text
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Family<'_> {
    /// The only sample.
    pub fn value(mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// One sample, told from the others by its labels.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, None, &value);
        self
    }

    /// Times in microseconds, written in seconds as is the custom.
    pub fn times(&mut self, labels: &[(&str, &str)], times: &Snapshot) -> &mut Self {
        self.steps(labels, times, |us| us as f64 / 1e6)
    }

    /// Numbers of things.
    pub fn counts(&mut self, labels: &[(&str, &str)], counts: &Snapshot) -> &mut Self {
        self.steps(labels, counts, |count| count as f64)
    }

    fn steps(
        &mut self,
        labels: &[(&str, &str)],
        seen: &Snapshot,
        unit: impl Fn(u64) -> f64,
    ) -> &mut Self {
        let mut sum = 0;
        for (step, count) in seen.steps.iter().enumerate() {
            sum += count;
            let bound = seen.bounds.get(step).map(|bound| unit(*bound).to_string());
            let bound = bound.as_deref().unwrap_or("+Inf");
            self.line("_bucket", labels, Some(("le", bound)), &sum);
        }
        self.line("_sum", labels, None, &unit(seen.sum));
        self.line("_count", labels, None, &sum);
        self
    }

    fn line(
        &mut self,
        end: &str,
        labels: &[(&str, &str)],
        more: Option<(&str, &str)>,
        value: &dyn Display,
    ) {
        self.text.push_str(self.name);
        self.text.push_str(end);
        let mut open = '{';
        for (label, value) in labels.iter().copied().chain(more) {
            self.text.push(open);
            self.text.push_str(label);
            self.text.push_str("=\"");
            push_escaped(self.text, value);
            self.text.push('"');
            open = ',';
        }
        if open == ',' {
            self.text.push('}');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, " {value}");
    }
}

/// The three characters that would end a value, or begin something in it.
fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::histogram::Histogram;

    #[test]
    fn families_and_samples_have_the_form_that_prometheus_reads() {
        let mut text = MetricsText::default();
        text.gauge("teamtalk_users", "Users who are on line.").value(3);
        let mut family = text.counter("teamtalk_pdus_in_total", "PDUs.");
        family.sample(&[("command", "CID_MSG_DATA")], 17);
        family.sample(&[("command", "other"), ("service", "a\\b\"c\nd")], 0.5);
        assert_eq!(
            text.as_str(),
            "# HELP teamtalk_users Users who are on line.\n\
             # TYPE teamtalk_users gauge\n\
             teamtalk_users 3\n\
             # HELP teamtalk_pdus_in_total PDUs.\n\
             # TYPE teamtalk_pdus_in_total counter\n\
             teamtalk_pdus_in_total{command=\"CID_MSG_DATA\"} 17\n\
             teamtalk_pdus_in_total{command=\"other\",service=\"a\\\\b\\\"c\\nd\"} 0.5\n"
        );
    }

    #[test]
    fn the_steps_of_a_histogram_are_added_up_and_end_with_all() {
        let histogram = Histogram::of_times();
        for us in [10, 20, 60, 40_000_000] {
            histogram.observe(us);
        }
        let mut text = MetricsText::default();
        text.histogram("t_seconds", "Time.").times(&[("op", "query")], &histogram.snapshot());
        let lines: Vec<_> = text.as_str().lines().skip(2).collect();
        assert_eq!(lines[0], "t_seconds_bucket{op=\"query\",le=\"0.00005\"} 2");
        assert_eq!(lines[1], "t_seconds_bucket{op=\"query\",le=\"0.0001\"} 3");
        assert_eq!(lines[17], "t_seconds_bucket{op=\"query\",le=\"30\"} 3");
        assert_eq!(lines[18], "t_seconds_bucket{op=\"query\",le=\"+Inf\"} 4");
        assert_eq!(lines[19], "t_seconds_sum{op=\"query\"} 40.00009");
        assert_eq!(lines[20], "t_seconds_count{op=\"query\"} 4");
    }

    #[test]
    fn numbers_of_things_stay_what_they_are() {
        let histogram = Histogram::of_counts();
        histogram.observe(64);
        let mut text = MetricsText::default();
        text.histogram("batch", "Size.").counts(&[], &histogram.snapshot());
        assert!(text.as_str().contains("batch_bucket{le=\"64\"} 1\n"));
        assert!(text.as_str().contains("batch_bucket{le=\"48\"} 0\n"));
        assert!(text.as_str().contains("batch_sum 64\nbatch_count 1\n"));
    }
}
