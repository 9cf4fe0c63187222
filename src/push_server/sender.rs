//! The thread that speaks to one provider: many requests at a time over few connections.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use curl::easy::{Easy2, Handler, HttpVersion, List, SslOpt, WriteError};
use curl::multi::{Easy2Handle, Multi, MultiWaker};
use log::{debug, info, warn};
use slab::Slab;

use super::notification::Notification;
use super::provider::{HttpAnswer, HttpRequest, Provider, Tls, Verdict};
use super::push_queue::{Job, PushQueue};
use super::push_session::{Outcome, PushDone};
use crate::netlib::ResponseList;

/// Requests under way to one provider at a time, unless the configuration says otherwise.
pub const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(100).expect("a number from 1");

/// Connections to one provider. HTTP/2 has room for a hundred or more requests on each.
const CONNECTIONS_MAX: usize = 4;

/// Bytes of an answer that are looked at.
pub const ANSWER_LEN_MAX: usize = 4096;

/// How long a connection may take, and a request as a whole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The same reason is logged once in this time, with how often it came meanwhile.
const SAME_REASON_MS: u64 = 60_000;

/// How long to wait before a notification is tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// After the first attempt. Each further one doubles it, give or take a fifth.
    pub first: Duration,
    /// At most, whatever the provider asks for.
    pub longest: Duration,
    /// Attempts in all.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first: seconds(1), longest: seconds(300), attempts_max: 8 }
    }
}

impl RetryPolicy {
    /// Milliseconds until the next attempt; `None` if there is none.
    fn delay_ms(&self, job: &Job, asked: Option<Duration>) -> Option<u64> {
        if job.attempts >= self.attempts_max {
            return None;
        }
        // Spread by the random number that the notification carries anyway, so that what failed
        // together does not come again together.
        let spread = u64::from(job.notification.id.as_bytes()[15]);
        let doubled = self.first.as_millis() as u64 * (1 << job.attempts.saturating_sub(1).min(20));
        let own = doubled * (800 + spread * 400 / 255) / 1000;
        let delay = asked.map_or(own, |asked| asked.as_millis() as u64);
        Some(delay.min(self.longest.as_millis() as u64))
    }
}

/// What a sender needs beside its provider.
#[derive(Clone, Debug)]
pub struct SenderOptions {
    /// Notifications that may wait.
    pub queue_max: NonZeroUsize,
    /// Requests under way at a time.
    pub concurrency: NonZeroUsize,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Unix seconds.
    pub clock: fn() -> u32,
}

/// What became of notifications since the start.
#[derive(Debug, Default)]
pub struct SenderStats {
    /// The provider has taken them.
    pub accepted: AtomicU64,
    /// The provider refused them, or they were tried too often.
    pub refused: AtomicU64,
    /// No phone has their token any more.
    pub dead: AtomicU64,
    /// Attempts that failed and were followed by another one.
    pub retried: AtomicU64,
    stop: AtomicBool,
}

/// The loop's end of a sender.
pub struct Sender {
    name: &'static str,
    queue: Arc<PushQueue>,
    stats: Arc<SenderStats>,
    waker: MultiWaker,
    responses: ResponseList<PushDone>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, queue, stats, .. } = self;
        f.debug_struct("Sender")
            .field("name", name)
            .field("queue", queue)
            .field("stats", stats)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// Starts the thread for a provider. What becomes of each notification gets into `responses`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        provider: Box<dyn Provider>,
        options: &SenderOptions,
        responses: ResponseList<PushDone>,
    ) -> io::Result<Self> {
        let queue = Arc::new(PushQueue::new(options.queue_max));
        let stats = Arc::<SenderStats>::default();
        let name = provider.name();
        let (send_waker, receive_waker) = bounded(1);
        let ours = (Arc::clone(&queue), Arc::clone(&stats), responses.clone());
        let options = options.clone();
        let thread = thread::Builder::new().name(format!("push_{name}")).spawn(move || {
            // What the library makes stays on the thread that made it.
            let mut multi = Multi::new();
            // The receiver waits for it, so that it cannot be gone.
            let _ = send_waker.send(multi.waker());
            let (queue, stats, responses) = ours;
            let (under_way, start) = (Slab::new(), now());
            let worker =
                Worker { provider, options, queue, stats, responses, under_way, start, said: None };
            worker.run(&mut multi);
        })?;
        let waker = receive_waker.recv().map_err(io::Error::other)?;
        Ok(Self { name, queue, stats, waker, responses, thread: Some(thread) })
    }

    /// Has a notification sent.
    pub fn send(&self, job: Job) {
        if let Some(dropped) = self.queue.push(job) {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
            self.responses.push(PushDone::of(dropped, Outcome::Refused));
        }
        self.wake();
    }

    /// From here on, nothing is tried a second time.
    pub fn stop(&self) {
        self.stats.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// What became of notifications.
    pub fn stats(&self) -> &SenderStats {
        &self.stats
    }

    /// What waits.
    pub fn queue(&self) -> &PushQueue {
        &self.queue
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wakeup() {
            warn!("provider={} cannot be woken: {error}", self.name);
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop();
        // What is under way has been given up: the thread ends by itself, in its own time.
        drop(self.thread.take());
    }
}

/// Collects an answer.
#[derive(Default)]
struct Collector(HttpAnswer);

impl Handler for Collector {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let room = ANSWER_LEN_MAX.saturating_sub(self.0.body.len());
        self.0.body.extend_from_slice(&data[..data.len().min(room)]);
        Ok(data.len())
    }

    fn header(&mut self, data: &[u8]) -> bool {
        let header = String::from_utf8_lossy(data);
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("retry-after")
        {
            self.0.retry_after = value.trim().parse().ok().map(Duration::from_secs);
        }
        true
    }
}

/// The thread.
struct Worker {
    provider: Box<dyn Provider>,
    options: SenderOptions,
    queue: Arc<PushQueue>,
    stats: Arc<SenderStats>,
    responses: ResponseList<PushDone>,
    under_way: Slab<(Easy2Handle<Collector>, Job)>,
    start: Instant,
    /// The last reason that was logged, when, and how often it came since.
    said: Option<(String, u64, u64)>,
}

impl Worker {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn run(mut self, multi: &mut Multi) {
        // Both only fail for a library that was built without HTTP/2.
        let limited = multi
            .pipelining(false, true)
            .and_then(|()| multi.set_max_host_connections(CONNECTIONS_MAX));
        if let Err(error) = limited {
            warn!("provider={} {error}", self.provider.name());
        }
        loop {
            let stopping = self.stats.stop.load(Ordering::SeqCst);
            if stopping {
                for job in self.queue.close() {
                    self.report(job, Outcome::Refused);
                }
            }
            self.begin_requests(multi);
            if stopping && self.under_way.is_empty() {
                return;
            }
            let ended = self.perform(multi);
            if ended == 0 {
                let due = self.queue.next_due_ms().map(|due| due.saturating_sub(self.now_ms()));
                let timeout = Duration::from_millis(due.unwrap_or(u64::MAX).min(60_000));
                if let Err(error) = multi.poll(&mut [], timeout) {
                    warn!("provider={} {error}", self.provider.name());
                }
            }
        }
    }

    fn begin_requests(&mut self, multi: &Multi) {
        while self.under_way.len() < self.options.concurrency.get() {
            let Some(mut job) = self.queue.take(self.now_ms()) else { return };
            let now = (self.options.clock)();
            if now > job.notification.expiration {
                self.refuse(job, "expired");
                continue;
            }
            job.attempts += 1;
            match self.provider.request(&job.notification, now) {
                Ok(request) => self.begin(multi, &request, job),
                Err(reason) => self.refuse(job, &reason),
            }
        }
    }

    fn begin(&mut self, multi: &Multi, request: &HttpRequest, job: Job) {
        let started = easy(request, self.provider.tls())
            .map_err(|error| error.to_string())
            .and_then(|easy| multi.add2(easy).map_err(|error| error.to_string()));
        match started {
            Ok(mut handle) => {
                let entry = self.under_way.vacant_entry();
                // Every handle can have a token.
                let _ = handle.set_token(entry.key());
                entry.insert((handle, job));
            }
            Err(reason) => self.retry(job, &reason, None),
        }
    }

    /// Lets the library work, and returns how many requests have ended.
    fn perform(&mut self, multi: &Multi) -> usize {
        if let Err(error) = multi.perform() {
            warn!("provider={} {error}", self.provider.name());
        }
        let mut ended = Vec::new();
        multi.messages(|message| {
            if let (Ok(token), Some(result)) = (message.token(), message.result()) {
                ended.push((token, result));
            }
        });
        let count = ended.len();
        for (token, result) in ended {
            let Some((handle, job)) = self.under_way.try_remove(token) else { continue };
            let easy = multi.remove2(handle);
            let answer = result.map_err(|error| reason_of(&error)).and_then(|()| {
                let mut easy = easy.map_err(|error| error.to_string())?;
                let status = easy.response_code().map_err(|error| error.to_string())?;
                Ok(HttpAnswer { status, ..std::mem::take(&mut easy.get_mut().0) })
            });
            self.answered(job, answer);
        }
        count
    }

    fn answered(&mut self, job: Job, answer: Result<HttpAnswer, String>) {
        let verdict = match answer {
            Ok(answer) => self.provider.verdict(&answer),
            Err(reason) => Verdict::Retry(reason, None),
        };
        match verdict {
            Verdict::Accepted => {
                debug!("{:?} accepted by={}", job.notification, self.provider.name());
                self.end(job, Outcome::Accepted);
            }
            Verdict::Refused(reason) => self.refuse(job, &reason),
            Verdict::TokenDead(reason) => {
                info!("{:?} its token is dead: {reason}", job.notification);
                self.end(job, Outcome::TokenDead);
            }
            Verdict::Retry(reason, after) => self.retry(job, &reason, after),
        }
    }

    fn retry(&mut self, job: Job, reason: &str, after: Option<Duration>) {
        self.say(&job.notification, reason);
        let Some(delay_ms) = self.options.retry.delay_ms(&job, after) else {
            return self.end(job, Outcome::Refused);
        };
        let due_ms = self.now_ms() + delay_ms;
        match self.queue.push_later(job, due_ms) {
            Some(dropped) => self.report(dropped, Outcome::Refused),
            None => {
                self.stats.retried.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn refuse(&mut self, job: Job, reason: &str) {
        self.say(&job.notification, reason);
        self.end(job, Outcome::Refused);
    }

    fn end(&self, job: Job, outcome: Outcome) {
        self.report(job, outcome);
        self.queue.end();
    }

    fn report(&self, job: Job, outcome: Outcome) {
        let count = match outcome {
            Outcome::Accepted => &self.stats.accepted,
            Outcome::Refused => &self.stats.refused,
            Outcome::TokenDead => &self.stats.dead,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.responses.push(PushDone::of(job, outcome));
    }

    /// A provider that is away would fill the log with one line for each notification.
    fn say(&mut self, notification: &Notification, reason: &str) {
        let now = self.now_ms();
        match &mut self.said {
            Some((said, since, count)) if said == reason && now < *since + SAME_REASON_MS => {
                *count += 1;
            }
            said => {
                let again = said.as_ref().map_or(0, |(_, _, count)| *count);
                let name = self.provider.name();
                warn!(
                    "{notification:?} provider={name} failed: {reason} (last reason again={again})"
                );
                *said = Some((reason.to_owned(), now, 0));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which no loop tells the time")]
fn now() -> Instant {
    Instant::now()
}

/// What the library says of a failed request, with the name of a certificate's defect.
fn reason_of(error: &curl::Error) -> String {
    match error.extra_description() {
        Some(extra) => format!("{}: {extra}", error.description()),
        None => error.description().to_owned(),
    }
}

fn easy(request: &HttpRequest, tls: &Tls) -> Result<Easy2<Collector>, curl::Error> {
    let mut easy = Easy2::new(Collector::default());
    easy.url(&request.url)?;
    easy.post(true)?;
    easy.post_fields_copy(&request.body)?;
    let mut headers = List::new();
    for header in &request.headers {
        headers.append(header)?;
    }
    easy.http_headers(headers)?;
    easy.http_version(HttpVersion::V2TLS)?;
    easy.pipewait(true)?;
    easy.connect_timeout(CONNECT_TIMEOUT)?;
    easy.timeout(REQUEST_TIMEOUT)?;
    easy.noproxy("localhost,127.0.0.1,::1")?;
    match &tls.ca_file {
        Some(path) => easy.cainfo(path)?,
        None => {
            easy.ssl_options(SslOpt::new().native_ca(true))?;
        }
    }
    if let Some((certificate, key)) = &tls.identity {
        easy.ssl_cert(certificate)?;
        easy.ssl_key(key)?;
    }
    Ok(easy)
}
