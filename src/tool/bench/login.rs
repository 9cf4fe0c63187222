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

/// Everything about a run.
struct Run {
    crowd: Crowd,
    servers: Servers,
    aes_key: Vec<u8>,
    /// Since when each login is on its way.
    waiting: HashMap<usize, Instant>,
    latency: Latency,
    /// Announcements of logins that have come.
    presence: u64,
    started: usize,
}

impl Run {
    fn start(&mut self, args: &Login) -> anyhow::Result<()> {
        let client_type = args.kind.client_type();
        let request = login(&args.load, self.started % args.users, client_type).request();
        let id = self.crowd.connect(self.servers.of(self.started)?, &self.aes_key)?;
        self.waiting.insert(id, now());
        let core = self.crowd.core(id).context("just connected")?;
        core.request(CID_LOGIN_REQ_USERLOGIN, &request);
        self.started += 1;
        Ok(())
    }

    /// Serves connections once, and tells who has logged in.
    fn turn(&mut self) -> anyhow::Result<Vec<usize>> {
        let Self { crowd, waiting, presence, .. } = self;
        let (mut done, mut failed) = (Vec::new(), None);
        crowd.turn(Duration::from_millis(100), |id, core, happening| match happening {
            Happening::Event(Event::Answer(pdu))
                if pdu.as_pdu().command_id() == CID_LOGIN_RES_USERLOGIN =>
            {
                match pdu.as_pdu().decode().map_err(Into::into).and_then(logged_in) {
                    Ok(user) => {
                        core.set_user_id(user.user_id);
                        done.push(id);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            Happening::Event(Event::Presence { .. }) => *presence += 1,
            Happening::Event(_) => {}
            Happening::Lost(error) => {
                if waiting.contains_key(&id) {
                    failed.get_or_insert(error);
                }
            }
        })?;
        match failed {
            Some(error) => {
                Err(error).context("a login failed; `teamtalk bench prepare` makes the accounts")
            }
            None => Ok(done),
        }
    }
}

impl Login {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        ensure!(self.concurrency <= self.users, "--concurrency is larger than --users");
        raise_open_files_limit()?;
        let mut run = Run {
            crowd: Crowd::new()?,
            servers: Servers::new(&self.load)?,
            aes_key: self.load.site.aes_key()?,
            waiting: HashMap::new(),
            latency: Latency::default(),
            presence: 0,
            started: 0,
        };
        let (start, mut last) = (now(), now());
        loop {
            let in_time = start.elapsed() < self.load.duration();
            let more = |run: &Run| if self.stay { run.started < self.users } else { in_time };
            while more(&run) && run.waiting.len() < self.concurrency {
                run.start(&self)?;
            }
            if run.waiting.is_empty() {
                break;
            }
            let done = run.turn()?;
            let turn = now();
            for id in done {
                last = turn;
                if let Some(since) = run.waiting.remove(&id) {
                    run.latency.add(turn.saturating_duration_since(since));
                }
                if !self.stay {
                    run.crowd.leave(id);
                }
            }
            ensure!(last.elapsed() < PATIENCE, "no login was answered for {PATIENCE:?}");
        }
        let elapsed = start.elapsed();
        let mut report = Report::default();
        report.rate("logins_per_second", run.latency.count(), elapsed);
        report.latency("connect and log in", run.latency);
        if self.stay && self.kind == Kind::Pc {
            let users = self.users as u64;
            let missing = announcements_missing(&mut run.crowd, users, run.presence)?;
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
