//! `bench`: what an installation can do, measured from outside, and whether it makes mistakes.
//!
//! - `prepare`: the accounts the others log in with.
//! - `login`, `pdu`, `message`, `group`, `idle`: one workload each.
//! - `fleet`: many users logged in on one thread.
//! - `report`: figures as a table, as JSON, as a picture.
//!
//! The load generator is one thread, so that on a small machine it leaves as much as possible to
//! the servers beside it. Message texts are not encrypted: servers do not look into them.

mod fleet;
mod group;
mod idle;
mod login;
mod message;
mod pdu;
mod prepare;
mod report;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::account::Site;
use super::output::Output;
use report::ReportOptions;

/// Measures an installation with many clients
#[derive(Args, Debug)]
pub struct Bench {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Make the accounts that the other benchmarks log in with
    Prepare(prepare::Prepare),
    /// Ask for the time over and over: what a round trip costs
    Pdu(pdu::Pdu),
    /// Log in, leave, log in again
    Login(login::Login),
    /// Pairs of users send messages; counts lost, doubled and reordered ones
    Message(message::MessageLoad),
    /// A few members of a group talk to all of it
    Group(group::GroupLoad),
    /// Log in and stay: what a connection costs
    Idle(idle::Idle),
}

/// What all workloads have in common.
#[derive(Args, Clone, Debug)]
struct Load {
    #[command(flatten)]
    site: Site,

    /// Names of the accounts begin with this, a number follows
    #[arg(long, value_name = "NAME", default_value = prepare::PREFIX)]
    prefix: String,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,

    #[command(flatten)]
    report: ReportOptions,
}

impl Load {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl Bench {
    /// Runs the workload and prints what it has measured.
    ///
    /// # Errors
    /// It cannot be run, or messages were lost, doubled or reordered.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        match self.workload {
            Workload::Prepare(prepare) => prepare.run(output),
            Workload::Pdu(pdu) => pdu.run(output),
            Workload::Login(login) => login.run(output),
            Workload::Message(message) => message.run(output),
            Workload::Group(group) => group.run(output),
            Workload::Idle(idle) => idle.run(output),
        }
    }
}

/// A bar on standard error, if that is a terminal.
fn progress(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len} {per_sec}")
        .expect("a template that is tested by every run")
        .progress_chars("=> ");
    ProgressBar::new(length).with_style(style).with_message(what)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a load generator measures in real time, and processes are waited for in it"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
