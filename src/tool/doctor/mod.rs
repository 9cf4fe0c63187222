//! `teamtalk doctor`: what is wrong with an installation, and what to do about it.
//!
//! - [`config`]: the files, and what servers make of them.
//! - [`network`]: addresses, ports, other servers.
//! - [`port_owner`]: who has taken a port.
//! - [`storage`]: databases and caches.
//! - [`machine`]: limits, disks, clock, secrets.

pub mod config;
pub mod machine;
pub mod network;
pub mod port_owner;
pub mod storage;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::account::VAR;
use super::output::Output;
use config::Conf;

/// Reads the configurations of an installation and tells what is wrong with it
///
/// Looks at every configuration of a directory: missing, wrong and unknown keys, addresses that
/// clients cannot use, ports that somebody else has taken or that everybody can reach, servers,
/// databases and caches that do not answer, character sets, clocks, the limit of open files, free
/// disk, secrets that everybody knows. Nothing is changed, and servers may run or not.
///
/// Each finding says what to do. Problems make the exit code 1; notes do not.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Directory of the configurations [default: VAR/conf if it exists, else conf]
    #[arg(long, value_name = "DIR")]
    conf_dir: Option<PathBuf>,

    /// Directory of `teamtalk up`
    #[arg(long, value_name = "DIR", default_value = VAR)]
    var: PathBuf,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Something does not work, or is open to everybody.
    Problem,
    /// Worth knowing.
    Note,
}

/// Something that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The file or the part of the machine it is about.
    pub place: String,
    /// What is wrong, in words.
    pub what: String,
    /// What to do about it.
    pub todo: String,
}

/// What was found, and how much was looked at.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which it was found.
    pub findings: Vec<Finding>,
    /// Ports that were looked at.
    pub ports: usize,
    /// Servers, databases and caches that were asked.
    pub peers: usize,
}

impl Report {
    fn problem(&mut self, place: &str, what: impl Into<String>, todo: impl Into<String>) {
        self.add(Level::Problem, place, what.into(), todo.into());
    }

    fn note(&mut self, place: &str, what: impl Into<String>, todo: impl Into<String>) {
        self.add(Level::Note, place, what.into(), todo.into());
    }

    fn add(&mut self, level: Level, place: &str, what: String, todo: String) {
        let finding = Finding { level, place: place.to_owned(), what, todo };
        // Two pools on one server have the same trouble.
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.level == Level::Problem).count()
    }
}

impl Doctor {
    /// Looks at everything and prints what was found.
    ///
    /// # Errors
    /// There are problems, or no configurations.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let directory = self.directory();
        let confs = config::load_all(&directory)?;
        let report = examine(&confs);
        for finding in &report.findings {
            output.one(&as_json(finding), &as_text(finding))?;
        }
        let (problems, notes) = (report.problems(), report.findings.len() - report.problems());
        if !output.is_json() {
            let text = format!(
                "{}: {} configurations, {} ports, {} servers, databases and caches looked at: \
                 {}, {}",
                directory.display(),
                confs.len(),
                report.ports,
                report.peers,
                counted(problems, "problem"),
                counted(notes, "note")
            );
            output.one(&Value::Null, &text)?;
        }
        if problems > 0 {
            bail!("{} found", counted(problems, "problem"));
        }
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        let of_up = self.var.join("conf");
        match &self.conf_dir {
            Some(directory) => directory.clone(),
            None if of_up.is_dir() => of_up,
            None => Path::new("conf").to_owned(),
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// All that can be found.
fn examine(confs: &[Conf]) -> Report {
    let mut report = Report::default();
    config::check(confs, &mut report);
    network::check(confs, &mut report);
    storage::check(confs, &mut report);
    machine::check(confs, &mut report);
    report
}

fn as_json(finding: &Finding) -> Value {
    let level = match finding.level {
        Level::Problem => "problem",
        Level::Note => "note",
    };
    json!({ "level": level, "place": finding.place, "what": finding.what, "todo": finding.todo })
}

fn as_text(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Problem => "PROBLEM",
        Level::Note => "note",
    };
    format!("{level:<8} {}: {}\n         {}\n", finding.place, finding.what, finding.todo)
}

#[cfg(test)]
mod tests;
