//! Handles that go stale, and the slots behind them.

use std::collections::VecDeque;
use std::fmt;

use slab::Slab;

/// Identifies one connection for as long as it lives, and nothing for a long time afterwards.
///
/// 20 bits of slot and 12 of generation, never 0: fits the `u32` that attach data puts on the wire.
///
/// C++: base/ostype.h net_handle_t
/// Differs: a generation, so that a number is not given to another connection while an answer, an
/// event or a worker may still hold it (F34, F81).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NetHandle(u32);

impl NetHandle {
    const INDEX_BITS: u32 = 20;
    const INDEX_MASK: u32 = (1 << Self::INDEX_BITS) - 1;
    const GENERATION_MAX: u16 = (u32::MAX >> Self::INDEX_BITS) as u16;

    fn new(index: usize, generation: u16) -> Self {
        debug_assert!(index <= Self::INDEX_MASK as usize);
        debug_assert!((1..=Self::GENERATION_MAX).contains(&generation));
        Self(u32::from(generation) << Self::INDEX_BITS | index as u32)
    }

    /// The four bytes that travel inside attach data and come back unread.
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// Any `u32` is accepted: a forged or stale one simply finds no connection.
    pub const fn from_u32(raw: u32) -> Self {
        Self(raw)
    }

    /// The slot. Small and dense, so it can index a `Vec`; says nothing about the generation.
    pub const fn index(self) -> usize {
        (self.0 & Self::INDEX_MASK) as usize
    }

    const fn generation(self) -> u16 {
        (self.0 >> Self::INDEX_BITS) as u16
    }
}

impl fmt::Display for NetHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

/// A slot that has used up its generations rests this long before it starts over, so that no
/// handle is given out again sooner. Longer than any request stays in flight.
pub(crate) const HANDLE_REST_MS: u64 = 10 * 60 * 1000;

/// A slab whose keys go stale when their entry is removed.
pub(crate) struct Slots<T> {
    /// `None` only in a slot that rests.
    entries: Slab<Option<T>>,
    /// By slot; [`Slots::RESTING`] in a slot that rests, which no handle carries.
    generations: Vec<u16>,
    /// Slot and the tick at which its rest ends, oldest first.
    resting: VecDeque<(u32, u64)>,
    index_max: usize,
}

impl<T> Slots<T> {
    const RESTING: u16 = 0;

    pub(crate) fn new() -> Self {
        Self {
            entries: Slab::new(),
            generations: Vec::new(),
            resting: VecDeque::new(),
            index_max: NetHandle::INDEX_MASK as usize,
        }
    }

    /// `None` when every slot is taken.
    pub(crate) fn insert(&mut self, value: T, tick: u64) -> Option<NetHandle> {
        self.end_rests(tick);
        if self.entries.len() == self.entries.capacity() {
            // By a quarter, not by doubling: an idle connection should not pay for an absent one.
            self.entries.reserve_exact((self.entries.len() / 4).max(64));
        }
        let entry = self.entries.vacant_entry();
        let index = entry.key();
        if index > self.index_max {
            return None;
        }
        entry.insert(Some(value));
        if index == self.generations.len() {
            self.generations.push(1);
        }
        Some(NetHandle::new(index, self.generations[index]))
    }

    pub(crate) fn remove(&mut self, handle: NetHandle, tick: u64) -> Option<T> {
        let value = self.get_slot(handle)?.take()?;
        let index = handle.index();
        if handle.generation() == NetHandle::GENERATION_MAX {
            self.generations[index] = Self::RESTING;
            self.resting.push_back((index as u32, tick + HANDLE_REST_MS));
        } else {
            self.generations[index] += 1;
            self.entries.remove(index);
        }
        Some(value)
    }

    pub(crate) fn get(&self, handle: NetHandle) -> Option<&T> {
        if *self.generations.get(handle.index())? != handle.generation() {
            return None;
        }
        self.entries.get(handle.index())?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, handle: NetHandle) -> Option<&mut T> {
        self.get_slot(handle)?.as_mut()
    }

    /// How many entries are alive.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.resting.len()
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = NetHandle> + '_ {
        let alive = self.entries.iter().filter(|(_, value)| value.is_some());
        alive.map(|(index, _)| NetHandle::new(index, self.generations[index]))
    }

    #[inline]
    fn get_slot(&mut self, handle: NetHandle) -> Option<&mut Option<T>> {
        if *self.generations.get(handle.index())? != handle.generation() {
            return None;
        }
        self.entries.get_mut(handle.index())
    }

    fn end_rests(&mut self, tick: u64) {
        while let Some(&(index, until)) = self.resting.front() {
            if until > tick {
                return;
            }
            self.resting.pop_front();
            self.generations[index as usize] = 1;
            self.entries.remove(index as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn f34_a_closed_handle_never_reaches_its_successor() {
        let mut slots = Slots::new();
        let old = slots.insert("old", 0).unwrap();
        assert_eq!(slots.remove(old, 0), Some("old"));
        let new = slots.insert("new", 0).unwrap();
        assert_eq!(old.index(), new.index());
        assert_ne!(old, new);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old, 0), None);
        assert_eq!(slots.get(new), Some(&"new"));
    }

    #[test]
    fn f81_no_handle_is_given_out_twice_within_the_rest() {
        let mut slots = Slots::new();
        let mut closed_at = HashMap::new();
        // Three ticks a connection: slots wrap several times within and beyond the rest.
        for tick in (0..3 * HANDLE_REST_MS).step_by(37) {
            let handle = slots.insert((), tick).unwrap();
            if let Some(before) = closed_at.insert(handle, tick) {
                assert!(tick - before >= HANDLE_REST_MS, "{handle} came back after {before}");
            }
            slots.remove(handle, tick).unwrap();
        }
        let used = slots.generations.len();
        assert!(used > 1, "no slot ever wrapped");
        assert!(used < 20, "{used} slots for one connection at a time");
    }

    #[test]
    fn a_handle_survives_the_trip_through_attach_data() {
        let mut slots = Slots::new();
        let handles: Vec<_> = (0..100).map(|i| slots.insert(i, 0).unwrap()).collect();
        for (i, handle) in handles.into_iter().enumerate() {
            let wire = handle.to_u32().to_be_bytes();
            assert_ne!(wire, [0; 4]);
            assert_eq!(slots.get(NetHandle::from_u32(u32::from_be_bytes(wire))), Some(&i));
        }
    }

    #[test]
    fn a_forged_handle_finds_nothing() {
        let mut slots = Slots::new();
        let handle = slots.insert((), 0).unwrap();
        for raw in [0, 1, u32::MAX, handle.to_u32() ^ 1, handle.to_u32() + (1 << 20)] {
            assert_eq!(slots.get(NetHandle::from_u32(raw)), None);
        }
    }

    #[test]
    fn a_slot_that_rests_is_found_by_no_handle() {
        let mut slots = Slots::new();
        for _ in 0..NetHandle::GENERATION_MAX {
            let handle = slots.insert((), 0).unwrap();
            assert_eq!(handle.index(), 0);
            slots.remove(handle, 0);
        }
        for generation in 0..=u32::from(NetHandle::GENERATION_MAX) {
            let handle = NetHandle::from_u32(generation << NetHandle::INDEX_BITS);
            assert_eq!(slots.get(handle), None);
            assert_eq!(slots.remove(handle, 0), None);
        }
        assert_eq!((slots.len(), slots.handles().count()), (0, 0));
        assert_eq!(slots.insert((), HANDLE_REST_MS - 1).map(NetHandle::index), Some(1));
        assert_eq!(slots.insert((), HANDLE_REST_MS), Some(NetHandle::new(0, 1)));
    }

    #[test]
    fn a_full_table_refuses_and_recovers() {
        let mut slots = Slots::new();
        slots.index_max = 2;
        let handles: Vec<_> = (0..3).map(|i| slots.insert(i, 0).unwrap()).collect();
        assert_eq!(slots.insert(3, 0), None);
        assert_eq!((slots.len(), slots.handles().count()), (3, 3));
        slots.remove(handles[1], 0);
        assert_eq!(slots.insert(4, 0).map(NetHandle::index), Some(1));
    }
}
