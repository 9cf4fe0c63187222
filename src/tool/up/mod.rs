//! `up`, `down`, `status`: a whole cluster on this machine.
//!
//! - `layout`: its servers, ports and configurations.
//! - `supervisor`: starts, watches and stops the processes.
//! - `demo`: the people a new cluster begins with.
//! - `ports`: who has a port that we want.
//! - `status`: what runs.

mod demo;
mod layout;
mod ports;
mod rotating_log;
pub mod status;
mod supervisor;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Pid, Signal as UnixSignal, kill_process};
use serde_json::json;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::account::{Accounts, VAR};
use super::bench::now;
use super::output::Output;
use super::scrape;
use super::top::run::Target;
use crate::client::{ClientError, Login, Server};
use layout::{Choice, Layout};
use supervisor::{Notice, Supervisor};

/// Where clients reach a cluster that was not told anything else.
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// How long msg_servers may take to find the other servers.
const FIRST_LOGIN: Duration = Duration::from_secs(30);

/// How long the servers may take after that until all of them say that they are ready.
const FIRST_HEALTH: Duration = Duration::from_secs(10);

/// How long `down` waits.
const DOWN: Duration = Duration::from_secs(15);

/// Starts a whole cluster and keeps it running until Ctrl-C
///
/// Everything is kept in one directory: configurations (made from the samples at the first start,
/// and yours from then on), database, files, logs, and who runs.
#[derive(Args, Debug)]
pub struct Up {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = VAR)]
    var: PathBuf,

    /// Take the ports from this one on instead of those of the original
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,

    /// Where clients reach this machine [default: 127.0.0.1, which only clients on it do]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,

    /// Keep data in this MySQL or MariaDB: mysql://user:password@host:port/database
    #[arg(long, value_name = "URL", requires = "redis")]
    mysql: Option<String>,

    /// Keep counters in this Redis: redis://host:port
    #[arg(long, value_name = "URL", requires = "mysql")]
    redis: Option<String>,

    /// Show what the servers write
    #[arg(long)]
    verbose: bool,

    /// Where the programs are [default: beside this one]
    #[arg(long, value_name = "DIR", hide = true)]
    programs: Option<PathBuf>,
}

/// Stops the cluster that `teamtalk up` runs
#[derive(Args, Debug)]
pub struct Down {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = VAR)]
    var: PathBuf,
}

impl Up {
    /// Runs the cluster until it is told to stop.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let asked = Choice {
            base_port: self.base_port,
            address: self.address.unwrap_or(ADDRESS),
            mysql: self.mysql.clone(),
            redis: self.redis.clone(),
        };
        let is_asked = self.base_port.is_some() || self.address.is_some() || self.mysql.is_some();
        let layout = Layout::open(&self.var, &asked, is_asked)?;
        if let Some(pid) = supervisor_of(&layout.var) {
            bail!("this cluster runs already (process {pid}); `teamtalk down` stops it");
        }
        check_ports(&layout)?;
        let programs = match self.programs {
            Some(programs) => programs,
            None => std::env::current_exe()?.parent().context("no directory")?.to_owned(),
        };
        let services = layout.services();
        if !layout.var.join(super::account::ACCOUNTS).exists() {
            demo::make(&services[0].conf, &layout.var, layout.login_server())?;
        }
        let (sender, notices) = mpsc::channel();
        let log = layout.var.join("log");
        let channel = (sender.clone(), notices);
        let mut supervisor = Supervisor::new(services, programs, log, channel, self.verbose);
        listen_for_signals(&supervisor)?;
        let pid_file = layout.var.join("run/up.pid");
        fs::write(&pid_file, std::process::id().to_string())?;
        let result = run(&mut supervisor, &layout, output);
        supervisor.stop(|line| tell(output, line));
        let _ = fs::remove_file(&pid_file);
        tell(output, "stopped");
        result
    }
}

fn run(supervisor: &mut Supervisor, layout: &Layout, output: &Output) -> anyhow::Result<()> {
    let started = supervisor.start(|service| {
        tell(output, &format!("{} serves on {:?}", service.name, service.ports));
    })?;
    if !started {
        return Ok(());
    }
    wait_for_login(layout)?;
    wait_for_health(layout, output);
    welcome(layout, output)?;
    supervisor.watch(|line| tell(output, line))
}

fn tell(output: &Output, line: &str) {
    // A terminal that is gone must not stop the cluster.
    if output.is_json() {
        let _ = output.one(&json!({ "event": line }), line);
    } else {
        let _ = output.one(&json!(null), line);
    }
}

/// A thread of its own rather than `base::signals`: there a second Ctrl-C ends the process at once,
/// which would leave the servers without a supervisor.
fn listen_for_signals(supervisor: &Supervisor) -> anyhow::Result<()> {
    let sender = supervisor.sender();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let notice = if signal == SIGCHLD { Notice::Child } else { Notice::Stop };
            if sender.send(notice).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn check_ports(layout: &Layout) -> anyhow::Result<()> {
    let services = layout.services();
    let taken = ports::taken(services.iter().flat_map(layout::Service::all_ports));
    if taken.is_empty() {
        return Ok(());
    }
    let line = |taken: &ports::Taken| match &taken.by {
        Some(by) => format!("port {} is taken by {by}", taken.port),
        None => format!("port {} is taken", taken.port),
    };
    let lines: Vec<_> = taken.iter().map(line).collect();
    bail!(
        "{}\nstop that, or choose other ports in a directory of their own: \
         teamtalk up --var var2 --base-port 20000",
        lines.join("\n")
    );
}

/// Until somebody can log in: then msg_servers have found all the others.
fn wait_for_login(layout: &Layout) -> anyhow::Result<()> {
    let accounts = Accounts::read(&layout.var)?;
    let Some((name, password)) = accounts.passwords.first() else { return Ok(()) };
    let (login, server) = (Login::new(name, password), Server::Login(layout.login_server()));
    let start = now();
    loop {
        let result = server
            .connect(super::account::AES_KEY.as_bytes())
            .and_then(|mut client| client.login(&login).and_then(|_| client.logout()));
        match result {
            Ok(()) => return Ok(()),
            Err(ClientError::Refused { code: 6.., .. }) => return Ok(()),
            Err(error) if start.elapsed() > FIRST_LOGIN => {
                return Err(error).context("the cluster does not let anybody in");
            }
            // They look for each other every 200 ms.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Until every server has what it needs. One that still lacks something is told: all but that
/// works.
fn wait_for_health(layout: &Layout, output: &Output) {
    let start = now();
    for service in layout.services() {
        let Some(addr) = service.metrics else { continue };
        while let Some(reasons) = scrape::not_ready(addr) {
            if start.elapsed() > FIRST_HEALTH {
                tell(output, &format!("{} is not ready: {reasons}", service.name));
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn welcome(layout: &Layout, output: &Output) -> anyhow::Result<()> {
    let accounts = Accounts::read(&layout.var)?;
    let names: Vec<_> = accounts.passwords.iter().map(|(name, _)| name.as_str()).collect();
    let (var, login_server) = (layout.var.display(), layout.login_server());
    let people = match (&names[..], &layout.choice.mysql) {
        ([], _) => String::new(),
        _ => format!("\n  accounts      {} (passwords in {var}/accounts.json)", names.join(", ")),
    };
    let option = if layout.var.ends_with(VAR) { "" } else { &format!(" --var {var}") };
    let text = format!(
        "\nTeamTalk runs.\n\n  login_server  http://{login_server}/msg_server\n  \
         everything    {var} (configurations, database, files, logs){people}\n\n\
         Try, in two other terminals:\n\n  teamtalk chat --user alice{option}\n  \
         teamtalk chat --user bob{option}\n  teamtalk status{option}\n\nCtrl-C stops it.\n"
    );
    let value = json!({
        "event": "ready", "login_server": login_server, "var": layout.var, "accounts": names,
    });
    output.one(&value, &text)
}

/// The process that supervises the cluster in `var`, if one does.
fn supervisor_of(var: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(var.join("run/up.pid")).ok()?.trim().parse().ok()?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    // After a crash the number may have come to somebody else.
    (comm.trim() == "teamtalk").then_some(pid)
}

impl Down {
    /// Stops the cluster and waits until it has stopped.
    ///
    /// # Errors
    /// None runs, or it does not stop.
    pub fn run(self, output: &Output) -> anyhow::Result<()> {
        let layout = Layout::find(&self.var)?;
        let supervisor = supervisor_of(&layout.var);
        // Without one, what it has left behind when it was killed; in the order of a stop.
        let left = || layout.services().into_iter().rev().filter_map(|one| status::pid_of(&one));
        let pids: Vec<u32> = supervisor.map_or_else(|| left().collect(), |pid| vec![pid]);
        if pids.is_empty() {
            bail!("nothing runs in {}", layout.var.display());
        }
        for pid in pids {
            stop(pid)?;
        }
        output.one(&json!({ "stopped": true }), "stopped")
    }
}

/// Has a process stop in good order, and waits for that.
fn stop(pid: u32) -> anyhow::Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process")?;
    kill_process(raw, UnixSignal::TERM).context("stopping it")?;
    let start = now();
    while is_alive(pid) {
        anyhow::ensure!(start.elapsed() < DOWN, "process {pid} does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether it runs. One that has ended stays listed until its parent has asked how.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The servers of a cluster and their administration ports.
///
/// # Errors
/// There is no cluster in this directory.
pub fn targets(var: &Path) -> anyhow::Result<Vec<Target>> {
    let services = Layout::find(var)?.services();
    let target =
        |service: layout::Service| Target { name: service.name.to_owned(), addr: service.metrics };
    Ok(services.into_iter().map(target).collect())
}
