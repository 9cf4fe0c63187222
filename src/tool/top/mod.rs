//! `teamtalk top`: all servers of an installation on one screen, as they are now.
//!
//! - [`figures`]: what is shown, from what a server told twice.
//! - [`state`]: what is on the screen, and what keys change.
//! - [`view`]: what it looks like.
//! - [`run`]: asking servers, the terminal, and the loop between them.

pub mod figures;
pub mod run;
pub mod state;
pub mod view;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::account::VAR;
use super::output::Output;
use super::{screen, up};
use run::Target;

/// Shows all servers on one screen: connections, messages, queues, times, slow commands
///
/// It asks each server for /metrics at its administration port, by default those of the cluster
/// that `teamtalk up` runs. Rates are over the time since the server was last asked; p99 is what
/// 99 of 100 were below. Keys: q or Ctrl-C ends it, arrows or the letter of a column sort by it, r
/// reverses, Tab sorts commands another way, Space holds the figures.
#[derive(Args, Debug)]
pub struct Top {
    /// Where the cluster is kept
    #[arg(long, value_name = "DIR", default_value = VAR)]
    var: PathBuf,

    /// A server and its administration port; several times for several, instead of the cluster
    #[arg(long = "server", value_name = "NAME=HOST:PORT", conflicts_with = "var")]
    servers: Vec<String>,

    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    interval: f64,

    /// Look twice, an interval apart, print what was seen, and end
    #[arg(long)]
    once: bool,
}

impl Top {
    /// Shows or prints.
    ///
    /// # Errors
    /// There is no cluster, no terminal, or no server that answers.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let targets = match &self.servers[..] {
            [] => up::targets(&self.var)?,
            servers => servers.iter().map(|text| Target::parse(text)).collect::<Result<_, _>>()?,
        };
        let interval = Duration::from_secs_f64(self.interval);
        if self.once || output.is_json() {
            return run::print(&targets, interval, self.once, output);
        }
        if !screen::is_there() {
            bail!("top needs a terminal; scripts use `teamtalk top --once` or --json");
        }
        run::show(targets, interval)
    }
}

/// Not so often that asking is the load, and not never.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("0.1 to 3600".to_owned()) }
}

#[cfg(test)]
mod tests;
