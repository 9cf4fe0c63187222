//! Connections that must get somewhere within a time that is the same for all of them.

use std::collections::VecDeque;

use super::net_handle::NetHandle;

/// Handles in the order in which their time runs out.
///
/// One wait for all entries keeps them sorted without a heap. An entry is not taken out when its
/// connection makes it in time: whoever takes it looks at the connection.
pub(crate) struct Deadlines {
    wait_ms: u64,
    entries: VecDeque<(u64, NetHandle)>,
}

impl Deadlines {
    pub(crate) fn new(wait_ms: u64) -> Self {
        Self { wait_ms, entries: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, handle: NetHandle, tick: u64) {
        self.entries.push_back((tick + self.wait_ms, handle));
    }

    /// The next handle whose time is over.
    pub(crate) fn take_due(&mut self, tick: u64) -> Option<NetHandle> {
        self.entries.front().filter(|(due, _)| *due <= tick)?;
        self.entries.pop_front().map(|(_, handle)| handle)
    }

    /// The next handle, whether its time is over or not.
    pub(crate) fn take_oldest(&mut self) -> Option<NetHandle> {
        self.entries.pop_front().map(|(_, handle)| handle)
    }

    /// When the next time is over. Drops leading entries that `is_waiting` denies.
    pub(crate) fn next_tick(&mut self, is_waiting: impl Fn(NetHandle) -> bool) -> Option<u64> {
        while let Some(&(due, handle)) = self.entries.front() {
            if is_waiting(handle) {
                return Some(due);
            }
            self.entries.pop_front();
        }
        None
    }
}
