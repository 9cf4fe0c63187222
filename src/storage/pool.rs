//! Connections that are borrowed: opened when needed, up to a limit, and given back by a guard.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use log::{info, warn};
use parking_lot::{Condvar, Mutex};
use thiserror::Error;

use super::db_conn::Counters;

/// Longest wait for a connection that somebody else has.
pub const ACQUIRE_WAIT_MAX: Duration = Duration::from_secs(2);

/// A connection that nobody used for so long is asked whether it is alive before it is lent. While
/// there is work the same connection is lent again and again, and nobody asks.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// After a failed attempt to connect, others within this time fail at once: a worker that waits
/// for a dead server is a worker less for everybody. The delay doubles with each failure.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(2);

/// There is no connection to be had.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PoolError {
    /// All connections are taken and none came back in time.
    #[error("no connection of pool {pool} became free within {} ms", waited.as_millis())]
    Timeout {
        /// The pool.
        pool: String,
        /// How long the caller waited.
        waited: Duration,
    },
    /// This thread holds a connection of the pool already.
    #[error("this thread holds a connection of pool {pool} already")]
    Nested {
        /// The pool.
        pool: String,
    },
    /// Connecting failed a moment ago; it is tried again soon.
    #[error("pool {pool} is not reachable, next attempt in {} ms", delay.as_millis())]
    Unreachable {
        /// The pool.
        pool: String,
        /// How long it is until then.
        delay: Duration,
    },
}

/// What a pool has to know of its connections.
pub trait Pooled: Send {
    /// What opening one fails with.
    type Error: From<PoolError> + fmt::Display;

    /// Whether the connection may be lent to somebody else as it is.
    fn is_reusable(&self) -> bool;

    /// Asks the other side whether it is there.
    fn ping(&mut self) -> Result<(), Self::Error>;

    /// What the connection did.
    fn counters(&self) -> Counters;
}

type Open<C> = dyn Fn() -> Result<Box<C>, <C as Pooled>::Error> + Send + Sync;

/// A pool of connections of one kind.
pub struct Pool<C: Pooled + ?Sized> {
    name: String,
    conns_max: usize,
    wait_max: Duration,
    open: Box<Open<C>>,
    state: Mutex<State<C>>,
    freed: Condvar,
}

struct State<C: ?Sized> {
    idle: Vec<Idle<C>>,
    /// Who holds a connection or is just opening one.
    holders: Vec<ThreadId>,
    retry: Retry,
    counters: Counters,
    waits: u64,
    timeouts: u64,
    connects: u64,
    connect_errors: u64,
}

/// What a pool does, and has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolFigures {
    /// Connections that are lent, or being opened for somebody.
    pub in_use: u64,
    /// Connections that wait for their next use.
    pub idle: u64,
    /// Most connections.
    pub conns_max: u64,
    /// Times that somebody had to wait for a connection.
    pub waits: u64,
    /// Times that somebody waited in vain.
    pub timeouts: u64,
    /// Connections that were opened.
    pub connects: u64,
    /// Connections that could not be opened.
    pub connect_errors: u64,
}

struct Idle<C: ?Sized> {
    since: Instant,
    conn: Box<C>,
}

impl<C: Pooled + ?Sized> Pool<C> {
    /// A pool without connections; the first one is opened for the first who asks.
    pub fn new(
        name: &str,
        conns_max: usize,
        open: impl Fn() -> Result<Box<C>, C::Error> + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            idle: Vec::new(),
            holders: Vec::new(),
            retry: Retry::default(),
            counters: Counters::default(),
            waits: 0,
            timeouts: 0,
            connects: 0,
            connect_errors: 0,
        };
        Self {
            name: name.to_owned(),
            conns_max,
            wait_max: ACQUIRE_WAIT_MAX,
            open: Box::new(open),
            state: Mutex::new(state),
            freed: Condvar::new(),
        }
    }

    /// The same pool with another limit for waiting.
    pub fn with_wait_max(self, wait_max: Duration) -> Self {
        Self { wait_max, ..self }
    }

    /// The name of the pool in the configuration.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBConn::GetPoolName
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the connections did while they were lent.
    pub fn counters(&self) -> Counters {
        self.state.lock().counters
    }

    /// What the pool does, and has done.
    pub fn figures(&self) -> PoolFigures {
        let state = self.state.lock();
        PoolFigures {
            in_use: state.holders.len() as u64,
            idle: state.idle.len() as u64,
            conns_max: self.conns_max as u64,
            waits: state.waits,
            timeouts: state.timeouts,
            connects: state.connects,
            connect_errors: state.connect_errors,
        }
    }

    /// Lends a connection until the guard is dropped. A thread has one at a time: two requests
    /// that wait for their second one would wait for each other.
    ///
    /// C++: db_proxy_server/DBPool.cpp CDBPool::GetDBConn
    /// Differs: waiting ends (F86), a second connection for one request is refused at once (F85,
    /// S24), and connecting happens outside of the lock.
    pub fn get(&self) -> Result<PoolGuard<'_, C>, C::Error> {
        let holder = thread::current().id();
        let idle = self.reserve(holder)?;
        // From here on the place is ours: the guard gives it back even if connecting fails.
        let mut guard = PoolGuard { pool: self, conn: None, holder, before: Counters::default() };
        let conn = match idle.and_then(|idle| self.still_alive(idle)) {
            Some(conn) => conn,
            None => self.connect()?,
        };
        guard.before = conn.counters();
        guard.conn = Some(conn);
        Ok(guard)
    }

    /// Takes a place among the holders, and an idle connection if there is one.
    fn reserve(&self, holder: ThreadId) -> Result<Option<Idle<C>>, PoolError> {
        let mut state = self.state.lock();
        if state.holders.contains(&holder) {
            return Err(PoolError::Nested { pool: self.name.clone() });
        }
        let deadline = now() + self.wait_max;
        let mut waited = false;
        loop {
            let idle = state.idle.pop();
            if idle.is_none() && state.holders.len() < self.conns_max {
                self.check_retry(&state.retry)?;
            }
            if idle.is_some() || state.holders.len() < self.conns_max {
                state.holders.push(holder);
                return Ok(idle);
            }
            if !std::mem::replace(&mut waited, true) {
                state.waits += 1;
            }
            if self.freed.wait_until(&mut state, deadline).timed_out() {
                state.timeouts += 1;
                return Err(PoolError::Timeout { pool: self.name.clone(), waited: self.wait_max });
            }
        }
    }

    fn check_retry(&self, retry: &Retry) -> Result<(), PoolError> {
        match retry.delay_at(now()) {
            Some(delay) => Err(PoolError::Unreachable { pool: self.name.clone(), delay }),
            None => Ok(()),
        }
    }

    /// If this connection died while it was idle, so did the others: they are older.
    fn still_alive(&self, mut idle: Idle<C>) -> Option<Box<C>> {
        if now().saturating_duration_since(idle.since) < TRUSTED_IDLE {
            return Some(idle.conn);
        }
        if let Err(error) = idle.conn.ping() {
            info!("pool={} an idle connection is dead: {error}", self.name);
            self.drop_idle();
            return None;
        }
        Some(idle.conn)
    }

    fn drop_idle(&self) {
        let dead = std::mem::take(&mut self.state.lock().idle);
        // Closing may wait for the other side, so it happens outside of the lock.
        drop(dead);
    }

    fn connect(&self) -> Result<Box<C>, C::Error> {
        let opened = (self.open)();
        let mut state = self.state.lock();
        match &opened {
            Ok(_) => {
                state.retry = Retry::default();
                state.connects += 1;
            }
            Err(error) => {
                state.connect_errors += 1;
                let delay = state.retry.fail(now());
                warn!("pool={} cannot connect, delay_ms={}: {error}", self.name, delay.as_millis());
            }
        }
        opened
    }

    fn leave(&self, holder: ThreadId, back: Option<Idle<C>>, did: Counters) {
        let mut state = self.state.lock();
        if let Some(at) = state.holders.iter().position(|&id| id == holder) {
            state.holders.swap_remove(at);
        }
        state.idle.extend(back);
        state.counters = state.counters.plus(did);
        drop(state);
        self.freed.notify_one();
    }
}

impl<C: Pooled + ?Sized> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A borrowed connection. Dropping it gives the connection back, exactly once and on every way
/// out; one that is broken or in the middle of a transaction is closed instead.
pub struct PoolGuard<'a, C: Pooled + ?Sized> {
    pool: &'a Pool<C>,
    /// Missing while it is being opened, before anybody has the guard.
    conn: Option<Box<C>>,
    holder: ThreadId,
    before: Counters,
}

impl<C: Pooled + ?Sized> Deref for PoolGuard<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.conn.as_deref().expect("there until the guard is dropped")
    }
}

impl<C: Pooled + ?Sized> DerefMut for PoolGuard<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        self.conn.as_deref_mut().expect("there until the guard is dropped")
    }
}

impl<C: Pooled + ?Sized> Drop for PoolGuard<'_, C> {
    /// C++: db_proxy_server/DBPool.cpp CDBPool::RelDBConn
    /// Differs: nobody can forget it, do it twice or use the connection afterwards (F87, S6, S7);
    /// a connection that failed is closed (F89, S12, S22).
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else {
            return self.pool.leave(self.holder, None, Counters::default());
        };
        let did = conn.counters().since(self.before);
        if conn.is_reusable() {
            let back = Idle { since: now(), conn };
            return self.pool.leave(self.holder, Some(back), did);
        }
        drop(conn);
        // What broke this connection broke the idle ones as well; new ones are opened.
        self.pool.drop_idle();
        self.pool.leave(self.holder, None, did);
    }
}

impl<C: Pooled + ?Sized> fmt::Debug for PoolGuard<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolGuard").field("pool", &self.pool.name).finish_non_exhaustive()
    }
}

/// When connecting may be tried again.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    not_before: Option<Instant>,
}

impl Retry {
    fn fail(&mut self, now: Instant) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let delay = RETRY_DELAY_MIN.saturating_mul(factor).min(RETRY_DELAY_MAX);
        self.failures += 1;
        self.not_before = Some(now + delay);
        delay
    }

    fn delay_at(&self, now: Instant) -> Option<Duration> {
        let delay = self.not_before?.saturating_duration_since(now);
        (!delay.is_zero()).then_some(delay)
    }
}

/// Workers have no tick of a loop, and these times are of no concern to any handler.
#[expect(clippy::disallowed_methods, reason = "a pool runs on worker threads, without a loop")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// A connection that can be told to be broken.
    #[derive(Debug)]
    struct Fake {
        number: usize,
        broken: bool,
        alive: Arc<AtomicBool>,
    }

    impl Pooled for Fake {
        type Error = PoolError;

        fn is_reusable(&self) -> bool {
            !self.broken
        }

        fn ping(&mut self) -> Result<(), PoolError> {
            match self.alive.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err(PoolError::Nested { pool: "dead".to_owned() }),
            }
        }

        fn counters(&self) -> Counters {
            Counters::default()
        }
    }

    struct Server {
        alive: Arc<AtomicBool>,
        opened: Arc<AtomicUsize>,
    }

    fn pool(conns_max: usize, wait_max: Duration) -> (Pool<Fake>, Server) {
        let server = Server { alive: Arc::new(AtomicBool::new(true)), opened: Arc::default() };
        let (alive, opened) = (server.alive.clone(), server.opened.clone());
        let pool = Pool::new("test", conns_max, move || {
            let number = opened.fetch_add(1, Ordering::Relaxed);
            let up = alive.load(Ordering::Relaxed);
            let fake = Box::new(Fake { number, broken: false, alive: alive.clone() });
            up.then_some(fake).ok_or_else(|| PoolError::Nested { pool: "down".to_owned() })
        });
        (pool.with_wait_max(wait_max), server)
    }

    #[test]
    fn connections_are_opened_when_needed_and_used_again() {
        let (pool, server) = pool(2, ACQUIRE_WAIT_MAX);
        for _ in 0..3 {
            assert_eq!(pool.get().unwrap().number, 0);
        }
        assert_eq!(server.opened.load(Ordering::Relaxed), 1);
        assert_eq!(pool.name(), "test");
    }

    #[test]
    fn f86_waiting_for_a_connection_ends_with_an_error() {
        let (pool, _server) = pool(1, Duration::from_millis(20));
        let held = pool.get().unwrap();
        let error = thread::scope(|scope| scope.spawn(|| pool.get().unwrap_err()).join().unwrap());
        assert!(matches!(error, PoolError::Timeout { .. }), "{error}");
        drop(held);
        assert!(thread::scope(|scope| scope.spawn(|| pool.get().is_ok()).join().unwrap()));
    }

    #[test]
    fn who_waits_gets_the_connection_that_comes_back() {
        let (pool, server) = pool(1, Duration::from_secs(60));
        let held = pool.get().unwrap();
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                send.send(()).unwrap();
                pool.get().unwrap().number
            });
            receive.recv().unwrap();
            drop(held);
            assert_eq!(waiting.join().unwrap(), 0);
        });
        assert_eq!(server.opened.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn f85_s24_a_second_connection_for_the_same_request_is_refused_at_once() {
        let (pool, _server) = pool(2, Duration::from_secs(60));
        let first = pool.get().unwrap();
        assert!(matches!(pool.get(), Err(PoolError::Nested { .. })));
        drop(first);
        assert!(pool.get().is_ok());
    }

    #[test]
    fn f87_s6_s7_a_panic_gives_the_connection_back() {
        let (pool, _server) = pool(1, Duration::from_millis(20));
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let _held = pool.get().unwrap();
                panic!("the request is refused, the connection comes back");
            });
            assert!(worker.join().is_err());
        });
        assert_eq!(pool.get().unwrap().number, 0);
    }

    #[test]
    fn f89_s12_a_broken_connection_is_replaced() {
        let (pool, _server) = pool(1, ACQUIRE_WAIT_MAX);
        pool.get().unwrap().broken = true;
        assert_eq!(pool.get().unwrap().number, 1);
    }

    #[test]
    fn s22_connections_are_closed_with_their_pool() {
        let (pool, server) = pool(1, ACQUIRE_WAIT_MAX);
        drop(pool.get().unwrap());
        assert!(Arc::strong_count(&server.alive) > 1);
        drop(pool);
        assert_eq!(Arc::strong_count(&server.alive), 1);
    }

    #[test]
    fn a_connection_that_died_while_idle_is_replaced() {
        let (pool, server) = pool(1, ACQUIRE_WAIT_MAX);
        drop(pool.get().unwrap());
        server.alive.store(false, Ordering::Relaxed);
        pool.state.lock().idle[0].since -= TRUSTED_IDLE;
        assert!(pool.get().is_err());
        server.alive.store(true, Ordering::Relaxed);
        pool.state.lock().retry = Retry::default();
        assert_eq!(pool.get().unwrap().number, 2);
    }

    #[test]
    fn f88_connecting_is_tried_again_with_growing_delays() {
        let (pool, server) = pool(1, ACQUIRE_WAIT_MAX);
        server.alive.store(false, Ordering::Relaxed);
        assert!(matches!(pool.get(), Err(PoolError::Nested { .. })));
        assert!(matches!(pool.get(), Err(PoolError::Unreachable { .. })));
        assert_eq!(server.opened.load(Ordering::Relaxed), 1);
        let mut retry = Retry::default();
        let start = now();
        let delays: Vec<u128> = (0..8).map(|_| retry.fail(start).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(retry.delay_at(start + RETRY_DELAY_MAX), None);
        assert_eq!(Retry { failures: 99, not_before: None }.fail(start), RETRY_DELAY_MAX);
    }
}
