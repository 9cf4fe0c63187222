//! The reactor's I/O shell: the poll, the sockets and the clock.

mod accept;
mod io;
mod lifecycle;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io as std_io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use super::base_socket::BaseSocket;
use super::deadlines::Deadlines;
use super::im_conn::{CloseReason, ConnHandler, ConnOps, ConnState};
use super::listener::Listener;
use super::net_handle::NetHandle;
use super::options::ListenOptions;
use super::resolver::Resolver;
use super::response_list::ResponseList;
use super::{Cx, LINGER_MS, Netlib, check_loops, timer};
use crate::base::service_manager;
use crate::base::signals::{Signal, SignalThread};
use crate::base::util::str_explode;

pub use io::{MESSAGE_TIME_MS, READ_BUDGET};
pub use lifecycle::{CONNECT_TIMEOUT_MS, STOP_FLUSH_MS};

/// The waker's token; no handle and no listener has it.
const WAKER: Token = Token(usize::MAX);
/// Tokens from here on are listeners; below it they are handles.
const LISTENER_BASE: usize = 1 << 32;
/// Events taken from the kernel in one call.
const EVENTS_PER_POLL: usize = 1024;

/// The loop of one service.
///
/// C++: base/EventDispatch.h CEventDispatch
/// Differs: one per service instead of one per process, so that tests can run several.
pub struct EventDispatch<S: 'static> {
    poll: Poll,
    waker: Arc<Waker>,
    /// Tick 0.
    epoch: Instant,
    /// When the turn began to work.
    turn_start: Instant,
    net: Netlib<S>,
    listeners: Vec<Listener<S>>,
    /// By slot of the handle.
    sockets: Vec<Option<BaseSocket>>,
    /// Every connection reads into this one.
    read_buf: Vec<u8>,
    connecting: Deadlines,
    lingering: Deadlines,
    /// Has the start of a message.
    partial: Deadlines,
    message_time_ms: u64,
    /// Accepting is paused until then.
    accept_paused: Option<u64>,
    resolver: Resolver,
    /// Addresses of a name that are still to be tried.
    untried: HashMap<NetHandle, VecDeque<SocketAddr>>,
    signals: Option<SignalSource<S>>,
    stop_asked: Arc<AtomicBool>,
    stop_flush_ms: u64,
    admin_addr: Option<SocketAddr>,
}

/// Ends a loop from any thread, in the same order as [`Netlib::stop_event`].
#[derive(Clone, Debug)]
pub struct Stopper {
    asked: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// The loop ends after the turn it is in. Returns at once, and may be called again.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("waking the loop: {error}");
        }
    }
}

struct SignalSource<S: 'static> {
    _thread: SignalThread,
    list: ResponseList<Signal>,
    handler: fn(&mut Cx<'_, S>, Signal),
}

impl<S> std::fmt::Debug for EventDispatch<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventDispatch")
            .field("net", &self.net)
            .field("listeners", &self.listeners.len())
            .finish_non_exhaustive()
    }
}

impl<S> EventDispatch<S> {
    /// A loop without listeners and connections.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> std_io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let epoch = now();
        Ok(Self {
            resolver: Resolver::new(Arc::clone(&waker)),
            poll,
            waker,
            epoch,
            turn_start: epoch,
            net: Netlib::new(0),
            listeners: Vec::new(),
            sockets: Vec::new(),
            read_buf: vec![0; io::READ_BUF_SIZE],
            connecting: Deadlines::new(CONNECT_TIMEOUT_MS),
            lingering: Deadlines::new(LINGER_MS),
            partial: Deadlines::new(MESSAGE_TIME_MS),
            message_time_ms: MESSAGE_TIME_MS,
            accept_paused: None,
            untried: HashMap::new(),
            signals: None,
            stop_asked: Arc::default(),
            stop_flush_ms: STOP_FLUSH_MS,
            admin_addr: None,
        })
    }

    /// The network, to register timers and connects before the loop starts.
    pub fn net(&mut self) -> &mut Netlib<S> {
        &mut self.net
    }

    /// Where the administration port is, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    pub(super) fn set_admin_addr(&mut self, addr: SocketAddr) {
        self.admin_addr = Some(addr);
    }

    /// A list through which other threads hand items to this loop and wake it. Drain it in a loop
    /// callback.
    pub fn response_list<T>(&self) -> ResponseList<T> {
        ResponseList::new(Arc::clone(&self.waker))
    }

    /// What ends this loop from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { asked: Arc::clone(&self.stop_asked), waker: Arc::clone(&self.waker) }
    }

    /// Accepts connections of class `H` at `addr`; port 0 picks a free one. Returns the address.
    ///
    /// # Errors
    /// The system's reason, with the address in front.
    ///
    /// C++: base/netlib.cpp netlib_listen
    pub fn listen<H>(
        &mut self,
        addr: SocketAddr,
        options: ListenOptions,
    ) -> std_io::Result<SocketAddr>
    where
        H: ConnHandler<Server = S>,
    {
        let token = Token(LISTENER_BASE + self.listeners.len());
        let registry = self.poll.registry();
        let bound = Listener::bind(addr, ConnOps::of::<H>(), options, token, registry)
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (local, listener) = bound.map_err(|error| {
            std_io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"))
        })?;
        self.listeners.push(listener);
        Ok(local)
    }

    /// The same for the addresses or host names of a configuration value, separated by `;`. Names
    /// are resolved here and now: call it before the loop starts.
    ///
    /// # Errors
    /// As [`Self::listen`]; an empty list and a name without address are errors too.
    pub fn listen_on<H>(
        &mut self,
        hosts: &str,
        port: u16,
        options: ListenOptions,
    ) -> std_io::Result<Vec<SocketAddr>>
    where
        H: ConnHandler<Server = S>,
    {
        let mut bound = Vec::new();
        for host in str_explode(hosts, ';').map(str::trim).filter(|host| !host.is_empty()) {
            let addrs = (host, port).to_socket_addrs().map_err(|error| {
                std_io::Error::new(error.kind(), format!("cannot listen on {host}: {error}"))
            })?;
            for addr in addrs {
                bound.push(self.listen::<H>(addr, options.clone())?);
            }
        }
        if bound.is_empty() {
            let text = format!("no address to listen on for port {port} in {hosts:?}");
            return Err(std_io::Error::new(std_io::ErrorKind::InvalidInput, text));
        }
        Ok(bound)
    }

    /// Takes over these signals of the process; `handler` runs in the loop like any callback.
    ///
    /// # Errors
    /// A signal that cannot be caught.
    pub fn handle_signals(
        &mut self,
        signals: &[Signal],
        handler: fn(&mut Cx<'_, S>, Signal),
    ) -> std_io::Result<()> {
        let list = self.response_list();
        let sink = list.clone();
        let thread = SignalThread::spawn(signals, move |signal| sink.push(signal))?;
        self.signals = Some(SignalSource { _thread: thread, list, handler });
        Ok(())
    }

    /// Runs until [`Netlib::stop_event`], then writes what is queued and closes everything.
    ///
    /// # Errors
    /// The poll itself failed.
    ///
    /// C++: base/EventDispatch.cpp CEventDispatch::StartDispatch
    /// Differs: sleeps until the next timer instead of at most 100 ms, and is woken at once by
    /// answers of workers (F43).
    pub fn start_dispatch(&mut self, srv: &mut S) -> std_io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        self.begin_turn();
        service_manager::ready();
        while self.net.running && !self.stop_asked.load(Ordering::Acquire) {
            self.run_once(&mut events, srv)?;
        }
        service_manager::stopping();
        self.finish(&mut events)
    }

    fn run_once(&mut self, events: &mut Events, srv: &mut S) -> std_io::Result<()> {
        self.settle(srv);
        let timeout = self.end_turn();
        self.wait_and_serve(events, timeout, srv)
    }

    /// The half of a turn in which the loop does what handlers asked for.
    fn settle(&mut self, srv: &mut S) {
        self.report_failures(srv);
        self.open_connects(srv);
        self.flush_writes(srv);
        self.free_closed();
    }

    /// The half of a turn in which handlers run.
    fn wait_and_serve(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
        srv: &mut S,
    ) -> std_io::Result<()> {
        // What this turn's events leave unread is for the next turn.
        let resumed = self.net.read_list.len();
        self.poll(events, timeout)?;
        for event in &*events {
            self.dispatch(event, srv);
        }
        self.resume_reads(resumed, srv);
        self.resume_accepts(srv);
        self.check_signals(srv);
        self.check_deadlines(srv);
        self.check_partials(srv);
        self.net.end_delays();
        let mut cx = Cx { srv, net: &mut self.net };
        timer::check_timers(&mut cx);
        check_loops(&mut cx);
        Ok(())
    }

    fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> std_io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == std_io::ErrorKind::Interrupted => {}
            result => result?,
        }
        self.begin_turn();
        Ok(())
    }

    fn begin_turn(&mut self) {
        self.turn_start = now();
        self.net.set_tick(self.tick_of(self.turn_start));
    }

    fn dispatch(&mut self, event: &Event, srv: &mut S) {
        match event.token() {
            // Whatever the other thread pushed is drained by a loop callback of this turn.
            WAKER => {}
            Token(token) if token >= LISTENER_BASE => {
                self.accept_new_sockets(token - LISTENER_BASE, srv);
            }
            Token(token) => self.dispatch_conn(NetHandle::from_u32(token as u32), event, srv),
        }
    }

    /// Looks the connection up before each step, because the step before may have ended it; an
    /// event of a socket that was replaced within the batch carries a stale generation and finds
    /// nothing.
    fn dispatch_conn(&mut self, handle: NetHandle, event: &Event, srv: &mut S) {
        let Some(conn) = self.net.conn_mut(handle) else {
            return;
        };
        conn.half_closed |= event.is_read_closed();
        let connecting = conn.state == ConnState::Connecting;
        let busy = conn.busy;
        if connecting {
            self.finish_connect(handle, srv);
        } else if busy && (event.is_writable() || event.is_error()) {
            self.write_data(handle, srv);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.on_read(handle, srv);
        }
        if event.is_priority() {
            self.fail(handle, CloseReason::UrgentData, srv);
        }
    }

    /// Ends the work of a turn. How long the loop may sleep: not at all with work left, else until
    /// the next time that matters, else for ever.
    fn end_turn(&mut self) -> Option<Duration> {
        let now = now();
        self.net.figures.turns.observe_time(now.duration_since(self.turn_start));
        let accepts = self.accept_paused.is_none() && self.listeners.iter().any(|l| l.pending);
        if self.net.has_pending() || accepts {
            return Some(Duration::ZERO);
        }
        let conns = &self.net.conns;
        let state = |handle| conns.get(handle).map(|conn| conn.state);
        let times = [
            self.net.timers.next_tick(),
            self.connecting.next_tick(|h| state(h) == Some(ConnState::Connecting)),
            self.lingering.next_tick(|h| state(h).is_some()),
            self.partial.next_tick(|h| conns.get(h).is_some_and(|conn| conn.partial_listed)),
            self.accept_paused,
            self.net.next_delay(),
        ];
        let next = times.into_iter().flatten().min()?;
        Some(Duration::from_millis(next.saturating_sub(self.tick_of(now))))
    }

    fn check_signals(&mut self, srv: &mut S) {
        let Some(source) = &self.signals else { return };
        let handler = source.handler;
        for signal in source.list.take() {
            handler(&mut Cx { srv, net: &mut self.net }, signal);
        }
    }

    fn tick_of(&self, now: Instant) -> u64 {
        now.duration_since(self.epoch).as_millis() as u64
    }

    fn socket(&mut self, handle: NetHandle) -> Option<&mut BaseSocket> {
        self.sockets.get_mut(handle.index())?.as_mut()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn now() -> Instant {
    Instant::now()
}
