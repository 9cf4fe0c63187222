//! Order, bounds and ends, without sleeping.

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

#[test]
fn f44_what_waits_for_a_key_comes_in_one_batch_and_in_order() {
    let (batches, done) = unbounded();
    let (open_gate, gate) = unbounded::<()>();
    let number = |n| NonZeroUsize::new(n).unwrap();
    let work = move |batch: Vec<u32>| {
        batches.send(batch).unwrap();
        gate.recv().unwrap();
    };
    let pool = ThreadPool::with_batches("test", number(1), number(100), number(4), work);
    let pool = pool.unwrap();
    pool.try_add_task(Some(1), 0).unwrap();
    assert_eq!(done.recv_timeout(DEADLINE).unwrap(), [0]);
    for job in 1..=6 {
        pool.try_add_task(Some(1), job).unwrap();
    }
    pool.try_add_task(Some(2), 20).unwrap();
    pool.try_add_task(None, 30).unwrap();
    pool.try_add_task(None, 31).unwrap();
    assert_eq!(pool.queue_len(), 9);
    (0..6).for_each(|_| open_gate.send(()).unwrap());
    pool.shutdown_drain();
    let batches: Vec<_> = done.try_iter().collect();
    // The key goes to the end of the queue after each batch.
    assert_eq!(batches, [vec![20], vec![30], vec![31], vec![1, 2, 3, 4], vec![5, 6]]);
    assert_eq!(pool.queue_len(), 0);
}
