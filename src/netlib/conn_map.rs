//! A service's half of its connections.

use super::net_handle::NetHandle;

/// What a service knows of its connections of one class, by handle.
///
/// A sparse index of four bytes a slot in front of a dense table, so that a look-up costs two array
/// accesses, a sweep touches live entries alone, and a class with few connections stays small.
///
/// C++: base/imconn.h ConnMap_t
#[derive(Debug)]
pub struct ConnMap<C> {
    /// Slot of the handle to 1 + place in `entries`, 0 for none.
    places: Vec<u32>,
    entries: Vec<(NetHandle, C)>,
}

impl<C> Default for ConnMap<C> {
    fn default() -> Self {
        Self { places: Vec::new(), entries: Vec::new() }
    }
}

impl<C> ConnMap<C> {
    /// Adds the service's half of a new connection.
    ///
    /// # Panics
    /// When the slot still holds an entry: then a `close` forgot to remove its state.
    pub fn insert(&mut self, handle: NetHandle, conn: C) {
        let index = handle.index();
        if self.places.len() <= index {
            self.places.resize(index + 1, 0);
        }
        assert_eq!(self.places[index], 0, "slot {index} was not cleared on close");
        self.entries.push((handle, conn));
        self.places[index] = self.entries.len() as u32;
    }

    /// Takes the entry out; a second call finds nothing, which makes `close` idempotent.
    pub fn remove(&mut self, handle: NetHandle) -> Option<C> {
        let place = self.place(handle)?;
        self.places[handle.index()] = 0;
        let (_, conn) = self.entries.swap_remove(place);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places[moved.index()] = place as u32 + 1;
        }
        Some(conn)
    }

    /// The entry of a live connection.
    pub fn get(&self, handle: NetHandle) -> Option<&C> {
        self.place(handle).map(|place| &self.entries[place].1)
    }

    /// The entry of a live connection.
    pub fn get_mut(&mut self, handle: NetHandle) -> Option<&mut C> {
        self.place(handle).map(|place| &mut self.entries[place].1)
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All handles, in no particular order. Collect them before closing while walking.
    pub fn handles(&self) -> impl Iterator<Item = NetHandle> + '_ {
        self.entries.iter().map(|(handle, _)| *handle)
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (NetHandle, &C)> {
        self.entries.iter().map(|(handle, conn)| (*handle, conn))
    }

    /// All entries, in no particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (NetHandle, &mut C)> {
        self.entries.iter_mut().map(|(handle, conn)| (*handle, conn))
    }

    fn place(&self, handle: NetHandle) -> Option<usize> {
        let place = (*self.places.get(handle.index())?).checked_sub(1)? as usize;
        (self.entries[place].0 == handle).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlib::net_handle::Slots;

    #[test]
    fn a_stale_handle_finds_nothing_and_removes_nothing() {
        let (mut slots, mut map) = (Slots::new(), ConnMap::default());
        let old = slots.insert((), 0).unwrap();
        map.insert(old, 'a');
        assert_eq!(map.remove(old), Some('a'));
        slots.remove(old, 0);
        let new = slots.insert((), 0).unwrap();
        map.insert(new, 'b');
        assert_eq!(map.get(old), None);
        assert_eq!(map.remove(old), None);
        assert_eq!(map.get(new), Some(&'b'));
    }

    #[test]
    #[should_panic(expected = "slot 0 was not cleared on close")]
    fn a_forgotten_entry_is_noticed() {
        let mut slots = Slots::new();
        let mut map = ConnMap::default();
        let old = slots.insert((), 0).unwrap();
        map.insert(old, ());
        slots.remove(old, 0);
        map.insert(slots.insert((), 0).unwrap(), ());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map(steps in prop::collection::vec(any::<(bool, u8)>(), 1..300)) {
            let (mut slots, mut map) = (Slots::new(), ConnMap::default());
            let mut model = Vec::new();
            for (add, pick) in steps {
                if add || model.is_empty() {
                    let handle = slots.insert((), 0).unwrap();
                    map.insert(handle, pick);
                    model.push((handle, pick));
                } else {
                    let (handle, value) = model.swap_remove(pick as usize % model.len());
                    slots.remove(handle, 0);
                    prop_assert_eq!(map.remove(handle), Some(value));
                    prop_assert_eq!(map.get(handle), None);
                }
                prop_assert_eq!(map.len(), model.len());
                for (handle, value) in &model {
                    prop_assert_eq!(map.get(*handle), Some(value));
                }
            }
        }
    }
}
