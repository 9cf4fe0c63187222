//! The one door through which other threads reach the loop.

use std::fmt;
use std::sync::Arc;

use mio::Waker;
use parking_lot::Mutex;

/// Items on their way from other threads to the loop thread, in order.
///
/// C++: db_proxy_server/ProxyConn.h CProxyConn::s_response_pdu_list
/// Differs: the first item of a batch wakes the loop, so that no answer waits for a turn (F43).
pub struct ResponseList<T> {
    items: Arc<Mutex<Vec<T>>>,
    waker: Arc<Waker>,
}

impl<T> Clone for ResponseList<T> {
    fn clone(&self) -> Self {
        Self { items: Arc::clone(&self.items), waker: Arc::clone(&self.waker) }
    }
}

impl<T> fmt::Debug for ResponseList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseList").field("items", &self.items.lock().len()).finish()
    }
}

impl<T> ResponseList<T> {
    /// A list whose pushes end the sleep of the loop that `waker` belongs to.
    pub fn new(waker: Arc<Waker>) -> Self {
        Self { items: Arc::default(), waker }
    }

    /// Called by any thread.
    pub fn push(&self, item: T) {
        let mut items = self.items.lock();
        let was_empty = items.is_empty();
        items.push(item);
        drop(items);
        // A non-empty list means that a wake is already on its way.
        if was_empty && let Err(error) = self.waker.wake() {
            // The item stays listed: the loop finds it at its next turn.
            log::error!("waking the loop: {error}");
        }
    }

    /// Called by the loop, which then works on the items without holding the lock.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.items.lock())
    }

    /// Whether the loop has taken everything.
    pub fn is_empty(&self) -> bool {
        self.items.lock().is_empty()
    }
}
