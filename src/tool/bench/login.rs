//! Logins: connect, log in, leave.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use super::fleet::{PATIENCE, Servers, login};
use super::report::{Latency, Report};
use super::{Load, now};
use crate::client::{Crowd, Event, Happening, logged_in};
use crate::netlib::open_files::raise_open_files_limit;
use crate::pb::base_define::ClientType;
use crate::pb::cmd::{CID_LOGIN_REQ_USERLOGIN, CID_LOGIN_RES_USERLOGIN};
use crate::tool::output::Output;

/// What clients say they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Kind {
    /// PCs, to all of whom every login is announced
    Pc,
    /// Phones
    Mobile,
}

impl Kind {
    pub(super) fn client_type(self) -> ClientType {
        match self {
            Self::Pc => ClientType::Windows,
            Self::Mobile => ClientType::Android,
        }
    }
}

/// Logs in, leaves, logs in again.
#[derive(Args, Debug)]
pub(super) struct Login {
    #[command(flatten)]
    load: Load,

    /// Logins on their way at a time
    #[arg(long, value_name = "N", default_value_t = 32)]
    concurrency: usize,

    /// Accounts to log in with, in turn
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    users: usize,

    /// What clients say they are
    #[arg(long, value_enum, default_value_t = Kind::Mobile)]
    kind: Kind,

    /// Log every account in once and let it stay, instead of leaving
    #[arg(long)]
    stay: bool,
}

impl Login {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        ensure!(self.concurrency <= self.users, "--concurrency is larger than --users");
        raise_open_files_limit()?;
        let aes_key = self.load.site.aes_key()?;
        let (mut servers, mut crowd) = (Servers::new(&self.load)?, Crowd::new()?);
        let mut waiting: HashMap<usize, Instant> = HashMap::new();
        let (mut latency, mut refused, mut presence) = (Latency::default(), None, 0_u64);
        let (start, mut started, mut elapsed) = (now(), 0, Duration::ZERO);
        let mut last = now();
        loop {
            let goes_on = if self.stay {
                started < self.users
            } else {
                start.elapsed() < self.load.duration()
            };
            while goes_on
                && waiting.len() < self.concurrency
                && (!self.stay || started < self.users)
            {
                let at = started % self.users;
                let id = crowd.connect(servers.of(started)?, &aes_key)?;
                waiting.insert(id, now());
                let request = login(&self.load, at, self.kind.client_type()).request();
                crowd
                    .core(id)
                    .context("just connected")?
                    .request(CID_LOGIN_REQ_USERLOGIN, &request);
                started += 1;
            }
            if waiting.is_empty() {
                break;
            }
            let mut done = Vec::new();
            crowd.turn(Duration::from_millis(100), |id, core, happening| match happening {
                Happening::Event(Event::Answer(pdu))
                    if pdu.as_pdu().command_id() == CID_LOGIN_RES_USERLOGIN =>
                {
                    match pdu.as_pdu().decode().map_err(Into::into).and_then(logged_in) {
                        Ok(user) => {
                            core.set_user_id(user.user_id);
                            done.push(id);
                        }
                        Err(error) => refused = Some(error),
                    }
                }
                Happening::Event(Event::Presence { .. }) => presence += 1,
                Happening::Event(_) => {}
                Happening::Lost(error) => {
                    if waiting.contains_key(&id) {
                        refused.get_or_insert(error);
                    }
                }
            })?;
            if let Some(error) = refused {
                return Err(error)
                    .context("a login failed; `teamtalk bench prepare` makes accounts");
            }
            let turn = now();
            for id in done {
                last = turn;
                if let Some(since) = waiting.remove(&id) {
                    latency.add(turn.saturating_duration_since(since));
                }
                if !self.stay {
                    crowd.leave(id);
                }
            }
            ensure!(last.elapsed() < PATIENCE, "no login was answered for {PATIENCE:?}");
            elapsed = start.elapsed();
        }
        let mut report = Report::default();
        report.rate("logins_per_second", latency.count(), elapsed);
        report.latency("connect and log in", latency);
        if self.stay && self.kind == Kind::Pc {
            let missing = announcements_missing(&mut crowd, self.users as u64, presence)?;
            report.mistake("announcements_missing", missing);
        }
        report.print(&self.load.report, output)
    }
}

/// Everybody who is there is told of everybody who comes later: waits for the last of them.
fn announcements_missing(crowd: &mut Crowd, users: u64, mut seen: u64) -> anyhow::Result<u64> {
    // Two msg_servers tell their own clients of a login at different times, so that two who come
    // at the same moment may be told of each other, or one of them, but never of nobody.
    let least = users * users.saturating_sub(1) / 2;
    let (start, mut last) = (now(), now());
    while last.elapsed() < Duration::from_secs(2) && start.elapsed() < PATIENCE {
        let mut came = 0;
        crowd.turn(Duration::from_millis(100), |_, _, happening| {
            came += u64::from(matches!(happening, Happening::Event(Event::Presence { .. })));
        })?;
        seen += came;
        if came > 0 {
            last = now();
        }
    }
    Ok(least.saturating_sub(seen))
}
