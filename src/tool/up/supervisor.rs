//! Processes that are started in order, started again when they die, and stopped in order.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::layout::Service;
use super::rotating_log::{LOG_LEN_MAX, RotatingLog};
use crate::base::service_manager::NOTIFY_SOCKET;
use crate::tool::bench::now;

/// How long a server may take until it serves; a migration of a large database takes a while.
const READY: Duration = Duration::from_secs(600);

/// How long all servers together may take to stop; who is left then is killed.
const STOP: Duration = Duration::from_secs(5);

/// The pause before a server that has died is started again; it doubles each time.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A server that has served for so long begins with the shortest pause again.
const HEALTHY: Duration = Duration::from_secs(60);

/// Lines of its log that are shown when a server does not start.
const LAST_WORDS: usize = 8;

/// What the supervisor waits for.
#[derive(Debug)]
pub(super) enum Notice {
    /// Somebody wants everything to stop.
    Stop,
    /// Some process has ended.
    Child,
}

struct Running {
    child: Child,
    since: Instant,
    /// What it wrote last, when its log is read here.
    words: thread::JoinHandle<VecDeque<String>>,
}

struct Supervised {
    service: Service,
    running: Option<Running>,
    pause: Duration,
    restart_at: Option<Instant>,
    restarts: u32,
}

/// All servers of a cluster.
pub(super) struct Supervisor {
    services: Vec<Supervised>,
    programs: PathBuf,
    logs: PathBuf,
    notices: Receiver<Notice>,
    sender: Sender<Notice>,
    echo: bool,
}

impl Supervisor {
    /// Nothing runs yet. `programs` has the binaries; with `echo`, what servers write is shown too.
    pub(super) fn new(
        services: Vec<Service>,
        programs: PathBuf,
        logs: PathBuf,
        (sender, notices): (Sender<Notice>, Receiver<Notice>),
        echo: bool,
    ) -> Self {
        let supervised = |service| Supervised {
            service,
            running: None,
            pause: RESTART_PAUSE,
            restart_at: None,
            restarts: 0,
        };
        let services = services.into_iter().map(supervised).collect();
        Self { services, programs, logs, notices, sender, echo }
    }

    /// Starts all servers, each when the ones before it serve.
    ///
    /// # Errors
    /// One of them does not start; then its last words are part of the error.
    pub(super) fn start(&mut self, mut on_ready: impl FnMut(&Service)) -> anyhow::Result<bool> {
        for at in 0..self.services.len() {
            if !self.start_one(at)? {
                return Ok(false);
            }
            on_ready(&self.services[at].service);
        }
        Ok(true)
    }

    /// Starts one server and waits until it serves; `false` if everything is to stop instead.
    fn start_one(&mut self, at: usize) -> anyhow::Result<bool> {
        let socket = self.spawn(at)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let (start, name) = (now(), self.services[at].service.name);
        let mut buf = [0; 64];
        loop {
            match socket.recv(&mut buf) {
                Ok(length) if buf[..length].starts_with(b"READY=1") => return Ok(true),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error).context("waiting for a server"),
            }
            if let Some(status) = self.reap(at)? {
                let words = self.bury(at);
                bail!("{name} does not start ({status}):\n{}", words.join("\n"));
            }
            match self.notices.try_recv() {
                Ok(Notice::Stop) => return Ok(false),
                Ok(Notice::Child) | Err(_) => {}
            }
            anyhow::ensure!(start.elapsed() < READY, "{name} does not serve within {READY:?}");
        }
    }

    /// Starts a process; what comes back is where it tells that it serves.
    fn spawn(&mut self, at: usize) -> anyhow::Result<UnixDatagram> {
        let supervised = &mut self.services[at];
        let Service { name, program, conf, directory, .. } = &supervised.service;
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let notify = directory.join("notify");
        // Of the last start; a name can be bound once only.
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify)
            .with_context(|| format!("{} (a shorter --var may help)", notify.display()))?;
        let program = self.programs.join(program);
        let mut child = Command::new(&program)
            .arg("--config")
            .arg(conf)
            .current_dir(directory)
            .env(NOTIFY_SOCKET, &notify)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C reaches us alone, and the servers stop in order.
            .process_group(0)
            .spawn()
            .with_context(|| program.display().to_string())?;
        fs::write(directory.join("pid"), child.id().to_string())?;
        let log = RotatingLog::open(self.logs.join(format!("{name}.log")), LOG_LEN_MAX)?;
        let lines = child.stderr.take().context("a pipe was asked for")?;
        let words = keep_log(name, lines, log, self.echo);
        supervised.running = Some(Running { child, since: now(), words });
        supervised.restart_at = None;
        Ok(socket)
    }

    /// How a server has ended, if it has.
    fn reap(&mut self, at: usize) -> anyhow::Result<Option<ExitStatus>> {
        match &mut self.services[at].running {
            Some(running) => Ok(running.child.try_wait()?),
            None => Ok(None),
        }
    }

    /// Forgets a server that has ended, and gives its last words.
    fn bury(&mut self, at: usize) -> Vec<String> {
        let supervised = &mut self.services[at];
        let _ = fs::remove_file(supervised.service.directory.join("pid"));
        let words = supervised.running.take().map(|running| running.words.join());
        words.and_then(Result::ok).unwrap_or_default().into()
    }

    /// Starts again whoever dies, until everything is to stop.
    ///
    /// # Errors
    /// The system refuses something that was possible at the start.
    pub(super) fn watch(&mut self, mut tell: impl FnMut(&str)) -> anyhow::Result<()> {
        loop {
            for at in 0..self.services.len() {
                if let Some(status) = self.reap(at)? {
                    tell(&self.died(at, status));
                }
                let due = self.services[at].restart_at.is_some_and(|due| due <= now());
                if due {
                    self.services[at].restarts += 1;
                    // Nobody waits for it: its clients connect again when it serves.
                    self.spawn(at)?;
                    tell(&format!("{} is started again", self.services[at].service.name));
                }
            }
            let next = self.services.iter().filter_map(|one| one.restart_at).min();
            let patience = next.map_or(HEALTHY, |due| due.saturating_duration_since(now()));
            match self.notices.recv_timeout(patience) {
                Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Notice::Child) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn died(&mut self, at: usize, status: ExitStatus) -> String {
        let healthy =
            self.services[at].running.as_ref().is_some_and(|one| one.since.elapsed() > HEALTHY);
        let words = self.bury(at);
        let supervised = &mut self.services[at];
        if healthy {
            supervised.pause = RESTART_PAUSE;
        }
        let pause = supervised.pause;
        supervised.restart_at = Some(now() + pause);
        supervised.pause = (pause * 2).min(RESTART_PAUSE_MAX);
        let how = match status.signal() {
            Some(signal) => format!("was killed by signal {signal}"),
            None => format!("has ended ({status})"),
        };
        let last = words.last().map(|line| format!(": {line}")).unwrap_or_default();
        format!("{} {how}{last}; it is started again in {pause:?}", supervised.service.name)
    }

    /// Stops all servers, those first that were started last.
    pub(super) fn stop(&mut self, mut tell: impl FnMut(&str)) {
        let deadline = now() + STOP;
        for at in (0..self.services.len()).rev() {
            let Supervised { service, running: Some(running), .. } = &mut self.services[at] else {
                continue;
            };
            signal(&running.child, Signal::TERM);
            while now() < deadline && matches!(running.child.try_wait(), Ok(None)) {
                // A second Ctrl-C changes nothing: this is short.
                let _ = self.notices.recv_timeout(Duration::from_millis(20));
            }
            if matches!(running.child.try_wait(), Ok(None)) {
                tell(&format!("{} is killed", service.name));
                let _ = running.child.kill();
            }
            let _ = running.child.wait();
            self.bury(at);
        }
    }

    /// Where notices are sent to.
    pub(super) fn sender(&self) -> Sender<Notice> {
        self.sender.clone()
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended in this moment.
        let _ = kill_process(pid, signal);
    }
}

/// Writes what a server says to its log, and remembers the last of it.
fn keep_log(
    name: &'static str,
    lines: impl io::Read + Send + 'static,
    mut log: RotatingLog,
    echo: bool,
) -> thread::JoinHandle<VecDeque<String>> {
    thread::spawn(move || {
        let mut last = VecDeque::with_capacity(LAST_WORDS);
        for line in BufReader::new(lines).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // A full disk must not stop the server, which would wait for somebody to read this.
            log.write_line(&line);
            if echo {
                let _ = writeln!(io::stderr(), "{name:<16}{line}");
            }
            if last.len() == LAST_WORDS {
                last.pop_front();
            }
            last.push_back(line);
        }
        last
    })
}
