//! Notifications on their way to a sender. It has a limit: when it is reached, the oldest one is
//! dropped, since a late notification is worth less than a fresh one.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;

use parking_lot::Mutex;

use super::notification::Notification;
use super::push_session::Ticket;

/// Notifications that wait for one provider, unless the configuration says otherwise.
pub const QUEUE_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("a number from 1");

/// A notification and who wants to know what becomes of it.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is to be sent.
    pub notification: Notification,
    /// Who asked for it.
    pub ticket: Ticket,
    /// How often it was tried.
    pub attempts: u32,
}

/// Between the loop and the thread of one provider.
#[derive(Debug)]
pub struct PushQueue {
    len_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Those that may go at once, in the order in which they came.
    ready: VecDeque<Job>,
    /// Those that failed once, by the time at which they are due.
    later: BTreeMap<(u64, u64), Job>,
    /// How many were taken and have not ended.
    under_way: usize,
    /// Tells apart what is due at the same time.
    serial: u64,
    /// How many were dropped for want of room.
    dropped: u64,
    /// Nothing is tried again from here on.
    closed: bool,
}

impl Waiting {
    fn len(&self) -> usize {
        self.ready.len() + self.later.len()
    }

    fn drop_oldest(&mut self, len_max: usize) -> Option<Job> {
        if self.len() <= len_max {
            return None;
        }
        self.dropped += 1;
        self.later.pop_first().map(|(_, job)| job).or_else(|| self.ready.pop_front())
    }
}

impl PushQueue {
    /// An empty queue for so many notifications.
    pub fn new(len_max: NonZeroUsize) -> Self {
        Self { len_max: len_max.get(), waiting: Mutex::default() }
    }

    /// Adds a notification. Gives back the one that had to go for it.
    pub fn push(&self, job: Job) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        waiting.ready.push_back(job);
        waiting.drop_oldest(self.len_max)
    }

    /// Adds one that was taken and failed, to be tried again at this time. Gives back the one that
    /// had to go for it; once the queue is closed, that is always itself.
    pub fn push_later(&self, job: Job, due_ms: u64) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        waiting.under_way -= 1;
        if waiting.closed {
            return Some(job);
        }
        waiting.serial += 1;
        let key = (due_ms, waiting.serial);
        waiting.later.insert(key, job);
        waiting.drop_oldest(self.len_max)
    }

    /// The next one that may go at this time. Those that were tried before come first: they are the
    /// older ones.
    pub fn take(&self, now_ms: u64) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        let job = match waiting.later.first_entry() {
            Some(entry) if entry.key().0 <= now_ms => Some(entry.remove()),
            _ => waiting.ready.pop_front(),
        };
        waiting.under_way += usize::from(job.is_some());
        job
    }

    /// One that was taken has ended, and who asked for it has been told.
    pub fn end(&self) {
        self.waiting.lock().under_way -= 1;
    }

    /// When the next one is due that was tried before.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.waiting.lock().later.keys().next().map(|(due_ms, _)| *due_ms)
    }

    /// From here on nothing is tried again. Gives back what waited for that.
    pub fn close(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        std::mem::take(&mut waiting.later).into_values().collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether none waits and none is under way.
    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// How many wait or are under way.
    pub fn left(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.len() + waiting.under_way
    }

    /// How many were dropped for want of room, since the start.
    pub fn dropped(&self) -> u64 {
        self.waiting.lock().dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push_server::testing::job;

    fn queue(len_max: usize) -> PushQueue {
        PushQueue::new(NonZeroUsize::new(len_max).unwrap())
    }

    fn users(jobs: impl IntoIterator<Item = Job>) -> Vec<u32> {
        jobs.into_iter().map(|job| job.notification.user_id).collect()
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let queue = queue(2);
        assert!(queue.push(job(1)).is_none() && queue.push(job(2)).is_none());
        assert_eq!(users(queue.push(job(3))), [1]);
        // What was tried before is older than what was not.
        let tried = queue.take(0).unwrap();
        assert!(queue.push(job(4)).is_none());
        assert_eq!(users(queue.push_later(tried, 500)), [2]);
        assert_eq!((queue.len(), queue.left(), queue.dropped()), (2, 2, 2));
        assert_eq!(users(std::iter::from_fn(|| queue.take(0))), [3, 4]);
        assert_eq!((queue.len(), queue.left()), (0, 2));
        queue.end();
        queue.end();
        assert!(queue.is_empty());
    }

    #[test]
    fn what_failed_comes_again_when_it_is_due() {
        let queue = queue(9);
        for (user, due_ms) in [(1, 200), (2, 100), (3, 100)] {
            assert!(queue.push(job(user)).is_none());
            let job = queue.take(0).unwrap();
            assert!(queue.push_later(job, due_ms).is_none());
        }
        assert!(queue.push(job(4)).is_none());
        assert_eq!(queue.next_due_ms(), Some(100));
        assert_eq!(users(queue.take(99)), [4]);
        assert!(queue.take(99).is_none());
        assert_eq!(users(std::iter::from_fn(|| queue.take(100))), [2, 3]);
        assert_eq!((queue.next_due_ms(), users(queue.take(200))), (Some(200), vec![1]));
    }

    #[test]
    fn a_closed_queue_ends_with_what_may_go_at_once() {
        let queue = queue(9);
        for user in [1, 2, 3] {
            assert!(queue.push(job(user)).is_none());
        }
        let [one, two] = [(); 2].map(|()| queue.take(0).unwrap());
        assert!(queue.push_later(one, 100).is_none());
        assert_eq!(users(queue.close()), [1]);
        assert_eq!(users(queue.push_later(two, 100)), [2]);
        assert_eq!((users(queue.take(0)), queue.dropped()), (vec![3], 0));
    }
}
