//! Worker threads for what must not block the loop: SQL, files, HTTP calls.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::{fmt, io, mem};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::error;
use parking_lot::Mutex;
use thiserror::Error;

use super::metrics_text::{Family, MetricsText};

/// What a worker runs once.
///
/// C++: base/Task.h CTask
pub type Task = Box<dyn FnOnce() + Send>;

/// The task was not taken. It is handed back.
#[derive(Error)]
pub enum AddTaskError<J = Task> {
    /// As many tasks wait as may wait. Stop reading from whoever sends them.
    #[error("the queue of the thread pool is full")]
    Full(J),
    /// The pool is shutting down.
    #[error("the thread pool is shut down")]
    Stopped(J),
}

impl<J> AddTaskError<J> {
    /// The task, to be added again later.
    pub fn into_task(self) -> J {
        match self {
            Self::Full(task) | Self::Stopped(task) => task,
        }
    }
}

impl<J> fmt::Debug for AddTaskError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Stopped(_) => "Stopped",
        })
    }
}

/// Threads that share one bounded queue.
///
/// Tasks of the same key run in the order they were added and never two at a time; a task without
/// key, or of another key, never waits behind them while a worker is idle. A task that panics is
/// logged and otherwise counts as done.
///
/// A pool may also have one kind of job and one function for all of them, which then gets several
/// waiting jobs of a key at once: see [`ThreadPool::with_batches`].
///
/// C++: base/ThreadPool.h CThreadPool
/// Differs: the original gave each task to a random worker with a queue of its own (F44).
pub struct ThreadPool<J: Send + 'static = Task> {
    shared: Arc<Shared<J>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    worker_count: usize,
}

struct Shared<J> {
    state: Mutex<State<J>>,
    /// Holds tasks that are free to run: at most one per key.
    ready: Receiver<Job<J>>,
    work: Box<dyn Fn(Vec<J>) + Send + Sync>,
    batch_max: usize,
    /// Tasks added and not begun, wherever they wait.
    queued: AtomicUsize,
    queue_max: usize,
    busy: AtomicUsize,
    /// A task was refused, and nobody has been told of room since.
    refused: AtomicBool,
    refusals: AtomicU64,
    on_room: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct State<J> {
    /// `None` once nothing can become ready any more; the workers then run the queue dry and end.
    ready: Option<Sender<Job<J>>>,
    accepting: bool,
    /// Keys with a task that is ready or running, and the tasks that have to wait for it.
    keys: HashMap<u64, VecDeque<J>>,
    /// Sum of the lengths in `keys`.
    waiting: usize,
}

struct Job<J> {
    key: Option<u64>,
    task: J,
}

impl<J: Send + 'static> fmt::Debug for ThreadPool<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("workers", &self.worker_count)
            .field("queued", &self.queue_len())
            .field("busy", &self.busy())
            .finish_non_exhaustive()
    }
}

impl ThreadPool {
    /// Starts the workers. Their threads are called `name-0` and so on.
    ///
    /// # Errors
    /// A thread cannot be started.
    ///
    /// C++: base/ThreadPool.cpp CThreadPool::Init
    pub fn new(
        name: &str,
        worker_count: NonZeroUsize,
        queue_max: NonZeroUsize,
    ) -> io::Result<Self> {
        let run = |tasks: Vec<Task>| tasks.into_iter().for_each(|task| task());
        Self::with_batches(name, worker_count, queue_max, NonZeroUsize::MIN, run)
    }
}

impl<J: Send + 'static> ThreadPool<J> {
    /// Starts workers that all do the same `work`. They hand it whatever waits for one key, in
    /// order, up to `batch_max` jobs at once, so that what costs once per call (a commit, a round
    /// trip) is shared under load and nobody waits for a batch to fill. Jobs without key come one
    /// by one.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn with_batches(
        name: &str,
        worker_count: NonZeroUsize,
        queue_max: NonZeroUsize,
        batch_max: NonZeroUsize,
        work: impl Fn(Vec<J>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (worker_count, queue_max) = (worker_count.get(), queue_max.get());
        // `queued` never exceeds `queue_max`, so there is always room in the channel.
        let (sender, receiver) = bounded(queue_max);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                ready: Some(sender),
                accepting: true,
                keys: HashMap::new(),
                waiting: 0,
            }),
            ready: receiver,
            work: Box::new(work),
            batch_max: batch_max.get(),
            queued: AtomicUsize::new(0),
            queue_max,
            busy: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
            on_room: OnceLock::new(),
        });
        let pool = Self { shared, workers: Mutex::default(), worker_count };
        for index in 0..worker_count {
            let shared = Arc::clone(&pool.shared);
            // On failure the pool is dropped, which ends the threads already started.
            let worker = thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || shared.execute())?;
            pool.workers.lock().push(worker);
        }
        Ok(pool)
    }

    /// Adds a task, in the order of its key if it has one.
    ///
    /// # Errors
    /// The queue is full or the pool is shutting down; the task comes back.
    ///
    /// C++: base/ThreadPool.cpp CThreadPool::AddTask
    pub fn try_add_task(&self, key: Option<u64>, task: J) -> Result<(), AddTaskError<J>> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        if !state.accepting {
            return Err(AddTaskError::Stopped(task));
        }
        // Only this function adds, and it holds the lock: between test and addition the number
        // can but sink.
        if !shared.has_room() {
            shared.refusals.fetch_add(1, Ordering::Relaxed);
            return Err(AddTaskError::Full(task));
        }
        shared.queued.fetch_add(1, Ordering::SeqCst);
        if let Some(key) = key {
            if let Some(tasks) = state.keys.get_mut(&key) {
                tasks.push_back(task);
                state.waiting += 1;
                return Ok(());
            }
            state.keys.insert(key, VecDeque::new());
        }
        state.make_ready(Job { key, task });
        Ok(())
    }

    /// Calls `on_room` from a worker when the queue has room again after it refused a task, once
    /// for all refusals until then. Whoever keeps a refused task then never waits in vain, not even
    /// for tasks that nobody answers. Only the first call of this function counts.
    pub fn notify_room(&self, on_room: impl Fn() + Send + Sync + 'static) {
        let _ = self.shared.on_room.set(Box::new(on_room));
    }

    /// Tasks added and not begun.
    pub fn queue_len(&self) -> usize {
        self.shared.queued.load(Ordering::SeqCst)
    }

    /// Workers that run a task right now.
    pub fn busy(&self) -> usize {
        self.shared.busy.load(Ordering::SeqCst)
    }

    /// All workers.
    pub fn worker_count(&self) -> usize {
        self.worker_count
    }

    /// Takes no more tasks, runs all that were added, and waits for the workers to end.
    pub fn shutdown_drain(&self) {
        let mut state = self.shared.state.lock();
        state.accepting = false;
        state.close_if_done();
        drop(state);
        self.join();
    }

    /// Takes no more tasks, forgets those that were not begun, and waits for the workers to end.
    ///
    /// C++: base/ThreadPool.cpp CThreadPool::Destory
    pub fn shutdown_discard(&self) {
        let mut state = self.shared.state.lock();
        state.accepting = false;
        state.waiting = 0;
        let waiting: Vec<_> = state.keys.values_mut().map(mem::take).collect();
        state.close_if_done();
        drop(state);
        let ready: Vec<_> = self.shared.ready.try_iter().collect();
        let discarded = ready.len() + waiting.iter().map(VecDeque::len).sum::<usize>();
        self.shared.queued.fetch_sub(discarded, Ordering::SeqCst);
        // Whoever waits for one of these tasks learns now that it will not run.
        drop((ready, waiting));
        self.join();
    }

    fn join(&self) {
        for worker in mem::take(&mut *self.workers.lock()) {
            // The last owner of the pool may be a task; a thread cannot join itself.
            if worker.thread().id() != thread::current().id() && worker.join().is_err() {
                error!("a worker thread ended by a panic");
            }
        }
    }
}

impl<J: Send + 'static> Drop for ThreadPool<J> {
    fn drop(&mut self) {
        self.shutdown_discard();
    }
}

impl<J> Shared<J> {
    /// Whether one more task may be added; if not, room will be told.
    fn has_room(&self) -> bool {
        if self.queued.load(Ordering::SeqCst) < self.queue_max {
            return true;
        }
        // Noted before the second look: a worker that takes a task in between either is seen by
        // that look, or sees the note.
        self.refused.store(true, Ordering::SeqCst);
        self.queued.load(Ordering::SeqCst) < self.queue_max
    }

    fn tell_room(&self) {
        if self.refused.load(Ordering::SeqCst)
            && self.refused.swap(false, Ordering::SeqCst)
            && let Some(on_room) = self.on_room.get()
        {
            on_room();
        }
    }

    /// C++: base/ThreadPool.cpp CWorkerThread::Execute
    fn execute(&self) {
        for Job { key, task } in &self.ready {
            self.busy.fetch_add(1, Ordering::SeqCst);
            let batch = self.take_batch(key, task);
            self.queued.fetch_sub(batch.len(), Ordering::SeqCst);
            self.tell_room();
            let run = AssertUnwindSafe(|| (self.work)(batch));
            if let Err(payload) = panic::catch_unwind(run) {
                error!("a task panicked: {}", panic_text(payload.as_ref()));
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            if let Some(key) = key {
                self.state.lock().finish(key);
            }
        }
    }

    /// The job, and what waits for the same key.
    fn take_batch(&self, key: Option<u64>, first: J) -> Vec<J> {
        let mut batch = vec![first];
        if let Some(key) = key.filter(|_| self.batch_max > 1) {
            let mut state = self.state.lock();
            if let Some(tasks) = state.keys.get_mut(&key) {
                let more = tasks.len().min(self.batch_max - 1);
                batch.extend(tasks.drain(..more));
                state.waiting -= more;
                state.close_if_done();
            }
        }
        batch
    }
}

impl<J> State<J> {
    fn make_ready(&self, job: Job<J>) {
        // There is room, and the sender lives as long as a task waits or may be added.
        let sent = self.ready.as_ref().is_some_and(|ready| ready.try_send(job).is_ok());
        debug_assert!(sent, "a task was lost");
    }

    /// Lets the next task of the key go to the end of the queue, behind those of other keys.
    fn finish(&mut self, key: u64) {
        match self.keys.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(task) => {
                self.waiting -= 1;
                self.make_ready(Job { key: Some(key), task });
                self.close_if_done();
            }
            None => {
                self.keys.remove(&key);
            }
        }
    }

    fn close_if_done(&mut self) {
        if !self.accepting && self.waiting == 0 {
            self.ready = None;
        }
    }
}

/// What one pool does at the moment.
#[derive(Clone, Copy, Debug)]
pub struct PoolFigures {
    queued: usize,
    queue_max: usize,
    busy: usize,
    workers: usize,
    refusals: u64,
}

impl<J: Send + 'static> ThreadPool<J> {
    /// For [`write_metrics`].
    pub fn figures(&self) -> PoolFigures {
        PoolFigures {
            queued: self.queue_len(),
            queue_max: self.shared.queue_max,
            busy: self.busy(),
            workers: self.worker_count(),
            refusals: self.shared.refusals.load(Ordering::Relaxed),
        }
    }
}

/// Writes the pools of a service, by their names.
pub fn write_metrics(pools: &[(&str, PoolFigures)], text: &mut MetricsText) {
    let write = |mut family: Family<'_>, part: fn(&PoolFigures) -> u64| {
        for (name, figures) in pools {
            family.sample(&[("pool", *name)], part(figures));
        }
    };
    let help = "Tasks that wait for a worker.";
    write(text.gauge("teamtalk_queue_length", help), |figures| figures.queued as u64);
    let help = "Tasks that may wait for a worker.";
    write(text.gauge("teamtalk_queue_length_max", help), |figures| figures.queue_max as u64);
    let help = "Workers with a task.";
    write(text.gauge("teamtalk_workers_busy", help), |figures| figures.busy as u64);
    write(text.gauge("teamtalk_workers", "Workers."), |figures| figures.workers as u64);
    let help = "Tasks that found the queue full.";
    write(text.counter("teamtalk_queue_refused_total", help), |figures| figures.refusals);
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests;
