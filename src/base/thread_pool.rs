//! Worker threads for what must not block the loop: SQL, files, HTTP calls.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::{fmt, io, mem};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::error;
use parking_lot::Mutex;
use thiserror::Error;

/// What a worker runs once.
///
/// C++: base/Task.h CTask
pub type Task = Box<dyn FnOnce() + Send>;

/// The task was not taken. It is handed back.
#[derive(Error)]
pub enum AddTaskError {
    /// As many tasks wait as may wait. Stop reading from whoever sends them.
    #[error("the queue of the thread pool is full")]
    Full(Task),
    /// The pool is shutting down.
    #[error("the thread pool is shut down")]
    Stopped(Task),
}

impl AddTaskError {
    /// The task, to be added again later.
    pub fn into_task(self) -> Task {
        match self {
            Self::Full(task) | Self::Stopped(task) => task,
        }
    }
}

impl fmt::Debug for AddTaskError {
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
/// C++: base/ThreadPool.h CThreadPool
/// Differs: the original gave each task to a random worker with a queue of its own (F44).
#[derive(Debug)]
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    worker_count: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Holds tasks that are free to run: at most one per key.
    ready: Receiver<Job>,
    /// Tasks added and not begun, wherever they wait.
    queued: AtomicUsize,
    queue_max: usize,
    busy: AtomicUsize,
    /// A task was refused, and nobody has been told of room since.
    refused: AtomicBool,
    on_room: OnceLock<OnRoom>,
}

/// Tells whoever was refused that it may try again.
struct OnRoom(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for OnRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRoom")
    }
}

#[derive(Debug)]
struct State {
    /// `None` once nothing can become ready any more; the workers then run the queue dry and end.
    ready: Option<Sender<Job>>,
    accepting: bool,
    /// Keys with a task that is ready or running, and the tasks that have to wait for it.
    keys: HashMap<u64, VecDeque<Waiting>>,
    /// Sum of the lengths in `keys`.
    waiting: usize,
}

struct Job {
    key: Option<u64>,
    task: Task,
}

/// A task in the queue of its key.
struct Waiting(Task);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
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
            queued: AtomicUsize::new(0),
            queue_max,
            busy: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
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
    pub fn try_add_task(&self, key: Option<u64>, task: Task) -> Result<(), AddTaskError> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        if !state.accepting {
            return Err(AddTaskError::Stopped(task));
        }
        // Only this function adds, and it holds the lock: between test and addition the number
        // can but sink.
        if !shared.has_room() {
            return Err(AddTaskError::Full(task));
        }
        shared.queued.fetch_add(1, Ordering::SeqCst);
        if let Some(key) = key {
            if let Some(tasks) = state.keys.get_mut(&key) {
                tasks.push_back(Waiting(task));
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
        let _ = self.shared.on_room.set(OnRoom(Box::new(on_room)));
    }

    /// Tasks added and not begun.
    pub fn queue_len(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    /// Workers that run a task right now.
    pub fn busy(&self) -> usize {
        self.shared.busy.load(Ordering::Relaxed)
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

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shutdown_discard();
    }
}

impl Shared {
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
            && let Some(OnRoom(on_room)) = self.on_room.get()
        {
            on_room();
        }
    }

    /// C++: base/ThreadPool.cpp CWorkerThread::Execute
    fn execute(&self) {
        for Job { key, task } in &self.ready {
            self.busy.fetch_add(1, Ordering::Relaxed);
            self.queued.fetch_sub(1, Ordering::SeqCst);
            self.tell_room();
            if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(task)) {
                error!("a task panicked: {}", panic_text(payload.as_ref()));
            }
            self.busy.fetch_sub(1, Ordering::Relaxed);
            if let Some(key) = key {
                self.state.lock().finish(key);
            }
        }
    }
}

impl State {
    fn make_ready(&self, job: Job) {
        // There is room, and the sender lives as long as a task waits or may be added.
        let sent = self.ready.as_ref().is_some_and(|ready| ready.try_send(job).is_ok());
        debug_assert!(sent, "a task was lost");
    }

    /// Lets the next task of the key go to the end of the queue, behind those of other keys.
    fn finish(&mut self, key: u64) {
        match self.keys.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(Waiting(task)) => {
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

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("key", &self.key).finish_non_exhaustive()
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use crossbeam_channel::{RecvTimeoutError, unbounded};

    use super::*;

    /// Ends a test that would wait for ever.
    const DEADLINE: Duration = Duration::from_secs(20);

    fn pool(workers: usize, queue_max: usize) -> ThreadPool {
        let number = |n| NonZeroUsize::new(n).unwrap();
        ThreadPool::new("test", number(workers), number(queue_max)).unwrap()
    }

    /// Occupies a worker from the moment this returns until the sender is dropped.
    fn occupy(pool: &ThreadPool, key: Option<u64>) -> Sender<()> {
        let (began_tx, began) = bounded(1);
        let (gate, gate_rx) = bounded::<()>(0);
        let task = Box::new(move || {
            began_tx.send(()).unwrap();
            gate_rx.recv().unwrap_err();
        });
        pool.try_add_task(key, task).unwrap();
        began.recv_timeout(DEADLINE).unwrap();
        gate
    }

    fn sends<T: Send + 'static>(sender: &Sender<T>, value: T) -> Task {
        let sender = sender.clone();
        Box::new(move || sender.send(value).unwrap())
    }

    #[test]
    fn f44_tasks_of_one_key_run_in_order_and_one_at_a_time() {
        let pool = pool(4, 1000);
        let done = Arc::new(Mutex::new(Vec::new()));
        let running = Arc::new([const { AtomicBool::new(false) }; 3]);
        for number in 0..900_usize {
            let (done, running) = (Arc::clone(&done), Arc::clone(&running));
            let key = number % 3;
            let task = Box::new(move || {
                assert!(!running[key].swap(true, Ordering::SeqCst), "two tasks of key {key}");
                done.lock().push((key, number));
                thread::yield_now();
                running[key].store(false, Ordering::SeqCst);
            });
            pool.try_add_task(Some(key as u64), task).unwrap();
        }
        pool.shutdown_drain();
        let done = done.lock();
        assert_eq!(done.len(), 900);
        for key in 0..3 {
            assert!(done.iter().filter(|task| task.0 == key).is_sorted(), "key {key}");
        }
        assert!(pool.shared.state.lock().keys.is_empty());
    }

    #[test]
    fn f44_nothing_waits_behind_a_slow_task_while_a_worker_is_idle() {
        let pool = pool(2, 100);
        let _slow = occupy(&pool, None);
        let (sender, receiver) = unbounded();
        for number in 0..50 {
            pool.try_add_task(None, sends(&sender, number)).unwrap();
        }
        for number in 0..50 {
            assert_eq!(receiver.recv_timeout(DEADLINE), Ok(number));
        }
    }

    #[test]
    fn f44_tasks_waiting_for_their_key_occupy_no_worker() {
        let pool = pool(2, 100);
        let slow = occupy(&pool, Some(1));
        let (sender, receiver) = unbounded();
        for number in 0..5 {
            pool.try_add_task(Some(1), sends(&sender, number)).unwrap();
        }
        pool.try_add_task(Some(2), sends(&sender, 100)).unwrap();
        assert_eq!(receiver.recv_timeout(DEADLINE), Ok(100));
        assert_eq!(pool.queue_len(), 5);
        drop(slow);
        for number in 0..5 {
            assert_eq!(receiver.recv_timeout(DEADLINE), Ok(number));
        }
    }

    #[test]
    fn keys_take_turns() {
        let pool = pool(1, 100);
        let slow = occupy(&pool, None);
        let (sender, receiver) = unbounded();
        for key in [1, 1, 1, 2] {
            pool.try_add_task(Some(key), sends(&sender, key)).unwrap();
        }
        drop(slow);
        let order: Vec<_> = (0..4).map(|_| receiver.recv_timeout(DEADLINE).unwrap()).collect();
        assert_eq!(order, [1, 2, 1, 1], "a long queue of one key does not hold up the other");
    }

    #[test]
    fn f44_a_full_queue_hands_the_task_back() {
        let pool = pool(1, 2);
        let slow = occupy(&pool, Some(1));
        let (sender, receiver) = unbounded();
        pool.try_add_task(Some(1), sends(&sender, 1)).unwrap();
        pool.try_add_task(None, sends(&sender, 2)).unwrap();
        let error = pool.try_add_task(None, sends(&sender, 3)).unwrap_err();
        assert!(matches!(error, AddTaskError::Full(_)));
        assert_eq!(pool.queue_len(), 2);
        drop(slow);
        for _ in 0..2 {
            receiver.recv_timeout(DEADLINE).unwrap();
        }
        pool.try_add_task(None, error.into_task()).unwrap();
        assert_eq!(receiver.recv_timeout(DEADLINE), Ok(3));
    }

    #[test]
    fn a_panic_costs_neither_the_worker_nor_the_key() {
        let pool = pool(1, 10);
        let (sender, receiver) = unbounded();
        pool.try_add_task(Some(1), Box::new(|| panic!("as the test wants it"))).unwrap();
        pool.try_add_task(Some(1), sends(&sender, 1)).unwrap();
        assert_eq!(receiver.recv_timeout(DEADLINE), Ok(1));
        pool.shutdown_drain();
        assert_eq!((pool.busy(), pool.queue_len()), (0, 0));
    }

    #[test]
    fn the_counters_follow_the_tasks() {
        let pool = pool(2, 10);
        let gates = [occupy(&pool, None), occupy(&pool, None)];
        let (sender, _receiver) = unbounded();
        pool.try_add_task(None, sends(&sender, ())).unwrap();
        assert_eq!((pool.worker_count(), pool.busy(), pool.queue_len()), (2, 2, 1));
        drop(gates);
        pool.shutdown_drain();
        assert_eq!((pool.busy(), pool.queue_len()), (0, 0));
    }

    #[test]
    fn draining_runs_all_that_was_added() {
        let pool = pool(2, 100);
        let gates = [occupy(&pool, Some(1)), occupy(&pool, None)];
        let (sender, receiver) = unbounded();
        for number in 0..20 {
            pool.try_add_task((number < 10).then_some(1), sends(&sender, number)).unwrap();
        }
        thread::scope(|scope| {
            scope.spawn(|| pool.shutdown_drain());
            // Refusal shows that draining began before the workers were let go.
            while pool.try_add_task(None, Box::new(|| {})).is_ok() {
                thread::yield_now();
            }
            drop(gates);
        });
        let mut done: Vec<_> = receiver.try_iter().collect();
        done.sort_unstable();
        assert!(done.iter().copied().eq(0..20), "{done:?}");
        pool.shutdown_drain();
        pool.shutdown_discard();
    }

    #[test]
    fn discarding_forgets_what_was_not_begun() {
        let pool = pool(1, 100);
        let slow = occupy(&pool, Some(1));
        let (sender, receiver) = unbounded();
        for key in [Some(1), None, Some(2)] {
            pool.try_add_task(key, sends(&sender, ())).unwrap();
        }
        drop(sender);
        thread::scope(|scope| {
            scope.spawn(|| pool.shutdown_discard());
            let end = receiver.recv_timeout(DEADLINE);
            assert_eq!(end, Err(RecvTimeoutError::Disconnected), "every task was dropped unrun");
            drop(slow);
        });
        assert_eq!((pool.busy(), pool.queue_len()), (0, 0));
        let error = pool.try_add_task(None, Box::new(|| {})).unwrap_err();
        assert!(matches!(error, AddTaskError::Stopped(_)));
        pool.shutdown_discard();
        pool.shutdown_drain();
    }

    #[test]
    fn a_pool_may_be_dropped_by_its_own_task() {
        let pool = Arc::new(pool(1, 10));
        let (sender, receiver) = unbounded();
        let (gate, gate_rx) = bounded::<()>(0);
        let owner = Arc::clone(&pool);
        let task = Box::new(move || {
            gate_rx.recv().unwrap_err();
            drop(owner);
            sender.send(()).unwrap();
        });
        pool.try_add_task(None, task).unwrap();
        drop(pool);
        drop(gate);
        assert_eq!(receiver.recv_timeout(DEADLINE), Ok(()));
    }

    #[test]
    fn f44_who_was_refused_is_told_of_room_once() {
        let pool = pool(1, 1);
        let (told, tellings) = unbounded();
        pool.notify_room(move || told.send(()).unwrap());
        let (open_gate, gate) = unbounded::<()>();
        let (begun, begins) = unbounded();
        let task = |begun: Sender<()>, gate: Receiver<()>| -> Task {
            Box::new(move || {
                begun.send(()).unwrap();
                gate.recv().unwrap();
            })
        };
        // Running, waiting, refused twice.
        assert!(pool.try_add_task(None, task(begun.clone(), gate.clone())).is_ok());
        begins.recv_timeout(DEADLINE).unwrap();
        assert!(pool.try_add_task(None, task(begun.clone(), gate.clone())).is_ok());
        assert!(pool.try_add_task(None, Box::new(|| {})).is_err());
        assert!(pool.try_add_task(None, Box::new(|| {})).is_err());
        assert_eq!(tellings.try_recv().ok(), None);
        open_gate.send(()).unwrap();
        begins.recv_timeout(DEADLINE).unwrap();
        // The waiting task has begun, so there is room; the running one still holds its worker.
        tellings.recv_timeout(DEADLINE).unwrap();
        assert!(pool.try_add_task(None, Box::new(|| {})).is_ok());
        open_gate.send(()).unwrap();
        pool.shutdown_drain();
        assert_eq!(tellings.try_recv().ok(), None);
    }
}
