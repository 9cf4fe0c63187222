//! push_server: tells phones of messages whose users are away.
//!
//! ```text
//! msg_server ── 0x070f ──► loop ── queue ──► sender thread ── HTTP/2 ──► Apple, or a webhook
//! msg_server ◄── 0x0710 ── loop ◄── responses ── sender thread
//! ```
//!
//! A request names phones by their tokens. Each kind of phone has a provider; the thread of its
//! sender has many requests under way at a time, tries again what failed for the moment, and says
//! what became of each. A token that a provider calls dead is reported with result 2: msg_server
//! then has db_proxy_server forget it. Nothing is kept over a restart: a notification is a hint,
//! the message itself is stored.
//!
//! - [`push_session`]: connections of msg_servers.
//! - [`provider`]: what a push service is here; [`apns_client`] and [`webhook`] are two.
//! - [`sender`], [`push_queue`]: the thread of a provider, and what waits for it.
//! - [`apns_msg`], [`provider_token`]: what Apple is told, and by which right.

pub mod apns_client;
pub mod apns_msg;
mod figures;
pub mod notification;
pub mod provider;
pub mod provider_token;
pub mod push_queue;
pub mod push_session;
pub mod sender;
pub mod webhook;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use log::{info, warn};

use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::HostList;
use crate::base::signals::Signal;
use crate::netlib::open_files::raise_open_files_limit;
use crate::netlib::peers::Peers;
use crate::netlib::{ConnLimits, ConnMap, EventDispatch, ListenOptions, Netlib, ResponseList};
use apns_client::ApnsClient;
use provider::Provider;
use push_queue::QUEUE_MAX;
use push_session::{PushDone, PushSession};
use sender::{CONCURRENCY, RetryPolicy, Sender, SenderOptions};
use webhook::Webhook;

type Cx<'a> = crate::netlib::Cx<'a, PushServer>;

/// Most connections of msg_servers at a time.
pub const CONN_MAX: usize = 4096;

/// Seconds in which a notification can still be delivered, as in the original.
pub const EXPIRATION_S: u32 = 3600;

/// A server that is told to stop waits so long for what is under way.
pub const STOP_MS: u64 = 3_000;

const STOP_CHECK_MS: u64 = 50;

/// Who is told of the messages for one kind of phone.
#[derive(Clone, Debug)]
pub enum ProviderConfig {
    /// `apns`
    Apns(ApnsClient),
    /// `webhook`
    Webhook(Webhook),
    /// `dry`: nobody; the log says what would have been sent.
    Dry,
    /// `none`: nobody.
    Nobody,
}

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct PushServerConfig {
    /// `ListenIP`: addresses or host names, separated by `;`.
    pub listen_ip: String,
    /// `ListenPort`.
    pub listen_port: u16,
    /// `AllowIP`, `PeerTls…`: which msg_servers may connect.
    pub msg_servers: Peers,
    /// `IosProvider` and its keys.
    pub ios: ProviderConfig,
    /// `AndroidProvider` and its keys.
    pub android: ProviderConfig,
    /// `QueueMax`: notifications that may wait for one provider.
    pub queue_max: NonZeroUsize,
    /// `Concurrency`: requests to one provider at a time.
    pub concurrency: NonZeroUsize,
    /// When to try again what failed for the moment.
    pub retry: RetryPolicy,
    /// `MetricsListen`: the administration port.
    pub metrics_listen: Option<SocketAddr>,
}

impl PushServerConfig {
    /// Reads the keys of `pushserver.conf`.
    ///
    /// # Errors
    /// A key is missing, its value is wrong, or a file cannot be used.
    ///
    /// C++: push_server/push_app.cpp CPushApp::Init
    /// Differs: what is wrong with the configuration ends the start, and nothing else does (F132).
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        Ok(Self {
            listen_ip: config.get::<HostList>("ListenIP")?.0.join(";"),
            listen_port: config.get("ListenPort")?,
            msg_servers: Peers::read(config, "AllowIP")?,
            ios: read_provider(config, "IosProvider", "apns")?,
            android: read_provider(config, "AndroidProvider", "none")?,
            queue_max: config.get_or("QueueMax", QUEUE_MAX)?,
            concurrency: config.get_or("Concurrency", CONCURRENCY)?,
            retry: RetryPolicy::default(),
            metrics_listen: config.get_opt("MetricsListen")?,
        })
    }
}

fn read_provider(
    config: &mut ConfigFileReader,
    key: &str,
    default: &str,
) -> Result<ProviderConfig, ConfigError> {
    let name = config.get_or(key, default.to_owned())?;
    Ok(match name.as_str() {
        "apns" if key == "IosProvider" => ProviderConfig::Apns(ApnsClient::read(config)?),
        "webhook" => ProviderConfig::Webhook(Webhook::read(config)?),
        "dry" => ProviderConfig::Dry,
        "none" => ProviderConfig::Nobody,
        _ if key == "IosProvider" => {
            return Err(config.bad_value(key, "apns, webhook, dry or none"));
        }
        _ => return Err(config.bad_value(key, "webhook, dry or none")),
    })
}

/// Who is told of the messages for one kind of phone.
#[derive(Debug)]
enum Target {
    Sender(Sender),
    Dry,
    Nobody,
}

impl Target {
    fn start(
        config: &ProviderConfig,
        options: &SenderOptions,
        responses: &ResponseList<PushDone>,
    ) -> io::Result<Self> {
        let provider: Box<dyn Provider> = match config {
            ProviderConfig::Apns(apns) => Box::new(apns.clone()),
            ProviderConfig::Webhook(webhook) => Box::new(webhook.clone()),
            ProviderConfig::Dry => return Ok(Self::Dry),
            ProviderConfig::Nobody => return Ok(Self::Nobody),
        };
        Ok(Self::Sender(Sender::start(provider, options, responses.clone())?))
    }

    fn sender(&self) -> Option<&Sender> {
        match self {
            Self::Sender(sender) => Some(sender),
            Self::Dry | Self::Nobody => None,
        }
    }
}

/// The state of the service.
///
/// C++: push_server/push_server.h CPushServer
#[derive(Debug)]
pub struct PushServer {
    /// C++: push_server/session_manager.h CSessionManager
    push_sessions: ConnMap<PushSession>,
    /// Names the requests of all msg_servers.
    request_serial: u64,
    ios: Target,
    android: Target,
    responses: ResponseList<PushDone>,
    /// Unix seconds.
    clock: fn() -> u32,
    /// No more notifications; those under way get until this tick.
    stop_at: Option<u64>,
}

impl PushServer {
    /// The service of this configuration, without connections.
    ///
    /// # Errors
    /// There is no thread to be had.
    fn new(
        config: &PushServerConfig,
        clock: fn() -> u32,
        responses: ResponseList<PushDone>,
    ) -> io::Result<Self> {
        let PushServerConfig { queue_max, concurrency, retry, .. } = *config;
        let options = SenderOptions { queue_max, concurrency, retry, clock };
        Ok(Self {
            push_sessions: ConnMap::default(),
            request_serial: 0,
            ios: Target::start(&config.ios, &options, &responses)?,
            android: Target::start(&config.android, &options, &responses)?,
            responses,
            clock,
            stop_at: None,
        })
    }

    /// The loop that serves this configuration, its service, and the addresses it listens on.
    /// Connections wait from here on; they are served once the loop runs.
    ///
    /// # Errors
    /// An address cannot be listened on, or a thread cannot be started.
    ///
    /// C++: push_server/push_server.cpp CPushServer::Start
    pub fn dispatch(
        config: &PushServerConfig,
        clock: fn() -> u32,
    ) -> io::Result<(EventDispatch<Self>, Self, Vec<SocketAddr>)> {
        let mut dispatch = EventDispatch::new()?;
        let srv = Self::new(config, clock, dispatch.response_list())?;
        let options =
            ListenOptions { conn_max: CONN_MAX, ..ListenOptions::new(ConnLimits::SERVER) };
        let options = config.msg_servers.only(options);
        let addrs =
            dispatch.listen_on::<PushSession>(&config.listen_ip, config.listen_port, options)?;
        dispatch.listen_for_admin(config.metrics_listen)?;
        Self::init(dispatch.net());
        Ok((dispatch, srv, addrs))
    }

    /// Registers the timers, and what takes the results of senders.
    fn init(net: &mut Netlib<Self>) {
        push_session::init_push_sessions(net);
    }

    fn senders(&self) -> impl Iterator<Item = &Sender> {
        [&self.ios, &self.android].into_iter().filter_map(Target::sender)
    }

    /// Attempts that failed and are followed by another one, since the start.
    pub fn retried(&self) -> u64 {
        self.senders().map(|sender| sender.stats().retried.load(Ordering::Relaxed)).sum()
    }

    /// Notifications of which nobody knows yet what becomes of them.
    fn left(&self) -> usize {
        self.senders().map(|sender| sender.queue().left()).sum()
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The service cannot start, or its loop fails.
///
/// C++: push_server/push_app.cpp CPushApp::Start
/// Differs: an error at the start ends it (F132).
pub fn run(config: PushServerConfig, clock: fn() -> u32) -> io::Result<()> {
    if let Err(error) = raise_open_files_limit() {
        warn!("the limit of open files stays as it is: {error}");
    }
    let (mut dispatch, mut srv, addrs) = PushServer::dispatch(&config, clock)?;
    dispatch.handle_signals(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup], on_signal)?;
    let PushServerConfig { msg_servers, ios, android, .. } = &config;
    for addr in addrs {
        info!("listening addr={addr} {msg_servers} ios={ios:?} android={android:?}");
    }
    dispatch.start_dispatch(&mut srv)
}

/// C++: push_server/push_app.cpp CPushApp::Stop
/// Differs: what is under way is waited for, and the stop does not hang (F135).
fn on_signal(cx: &mut Cx<'_>, signal: Signal) {
    if !signal.is_stop() {
        return info!("signal={signal:?} ignored: every key takes effect at the start only");
    }
    info!("stopping signal={signal:?} conns={}", cx.srv.push_sessions.len());
    cx.srv.stop_at = Some(cx.net.tick() + STOP_MS);
    for sender in cx.srv.senders() {
        sender.stop();
    }
    stop_if_done(cx);
    cx.net.register_timer(stop_if_done, STOP_CHECK_MS);
}

fn stop_if_done(cx: &mut Cx<'_>) {
    // What senders have done since the last turn is to be told first.
    push_session::push_loop_callback(cx);
    let left = cx.srv.left();
    if left == 0 || cx.srv.stop_at.is_some_and(|stop_at| cx.net.tick() >= stop_at) {
        if left > 0 {
            warn!("pushes={left} are given up");
        }
        cx.net.stop_event();
    }
}
