//! A hash table of fixed room whose entries keep their place.
//!
//! The table of std rehashes and allocates when it grows, or when removals have worn it out: pauses that
//! whoever waits for the shard would share. This one is as large as it will ever be from the start, probes
//! linearly at half load, and closes the gap behind a removed entry, so that no operation takes more than a
//! short probe. What an entry is looked up by, its slot, holds until the entry is removed, which lets lists
//! run through the entries (see [`crate::chain`]).

use std::hash::{BuildHasher, Hash};
use std::ops::{Index, IndexMut};

use foldhash::quality::RandomState;

/// No slot: the end of a list.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// The most entries a table may have room for: buckets are counted twofold, in 32 bits.
pub(crate) const CAPACITY_MAX: u32 = 1 << 28;

/// Entries found by key, or by slot.
pub(crate) struct Table<K, V> {
    /// Slot plus one; zero is an empty bucket, so that fresh memory need not be written.
    buckets: Box<[u32]>,
    slots: Vec<Slot<K, V>>,
    /// The first of the vacated slots.
    vacant: u32,
    capacity: u32,
    occupied: u32,
    /// Keyed anew in every process, for clients choose their addresses.
    hasher: RandomState,
}

enum Slot<K, V> {
    Occupied { hash: u32, key: K, value: V },
    Vacant { next: u32 },
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// A table with room for `capacity` entries, at least one.
    pub(crate) fn with_capacity(capacity: u32) -> Table<K, V> {
        let capacity = capacity.clamp(1, CAPACITY_MAX);
        Table {
            buckets: vec![0; (capacity as usize * 2).next_power_of_two()].into_boxed_slice(),
            slots: Vec::with_capacity(capacity as usize),
            vacant: NO_SLOT,
            capacity,
            occupied: 0,
            hasher: RandomState::default(),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.occupied == self.capacity
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.occupied as usize
    }

    /// The slot of the entry with this key.
    pub(crate) fn find(&self, key: K) -> Option<u32> {
        let mut bucket = self.home(self.hash(key));
        while let Some(slot) = self.buckets[bucket].checked_sub(1) {
            if matches!(&self.slots[slot as usize], Slot::Occupied { key: other, .. } if *other == key) {
                return Some(slot);
            }
            bucket = self.after(bucket);
        }
        None
    }

    /// The entry in this slot, if there is one.
    pub(crate) fn get(&self, slot: u32) -> Option<&V> {
        match self.slots.get(slot as usize) {
            Some(Slot::Occupied { value, .. }) => Some(value),
            _ => None,
        }
    }

    /// Adds an entry whose key the table does not have, and which it has room for.
    pub(crate) fn insert(&mut self, key: K, value: V) -> u32 {
        assert!(!self.is_full(), "an entry is added to a full table");
        let hash = self.hash(key);
        let slot = self.take_slot(Slot::Occupied { hash, key, value });
        let mut bucket = self.home(hash);
        while self.buckets[bucket] != 0 {
            bucket = self.after(bucket);
        }
        self.buckets[bucket] = slot + 1;
        self.occupied += 1;
        slot
    }

    /// Takes the entry out of an occupied slot.
    pub(crate) fn remove(&mut self, slot: u32) -> V {
        let emptied = std::mem::replace(&mut self.slots[slot as usize], Slot::Vacant { next: self.vacant });
        let Slot::Occupied { hash, value, .. } = emptied else {
            unreachable!("slot {slot} is removed twice");
        };
        self.vacant = slot;
        self.occupied -= 1;
        let mut bucket = self.home(hash);
        while self.buckets[bucket] != slot + 1 {
            bucket = self.after(bucket);
        }
        self.close_gap(bucket);
        value
    }

    /// Moves later entries of the run into the gap, where that brings them no nearer than their home.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.buckets.len() - 1;
        let mut bucket = self.after(gap);
        while let Some(slot) = self.buckets[bucket].checked_sub(1) {
            let from_home = bucket.wrapping_sub(self.home(self.hash_in(slot))) & mask;
            let from_gap = bucket.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.buckets[gap] = slot + 1;
                gap = bucket;
            }
            bucket = self.after(bucket);
        }
        self.buckets[gap] = 0;
    }

    fn take_slot(&mut self, content: Slot<K, V>) -> u32 {
        if self.vacant == NO_SLOT {
            self.slots.push(content);
            // As many slots as entries at most, whose number has 32 bits.
            return self.occupied;
        }
        let slot = self.vacant;
        if let Slot::Vacant { next } = std::mem::replace(&mut self.slots[slot as usize], content) {
            self.vacant = next;
        }
        slot
    }

    fn hash_in(&self, slot: u32) -> u32 {
        match &self.slots[slot as usize] {
            Slot::Occupied { hash, .. } => *hash,
            Slot::Vacant { .. } => unreachable!("a bucket leads to slot {slot}, which is vacant"),
        }
    }

    fn hash(&self, key: K) -> u32 {
        (self.hasher.hash_one(key) >> 32) as u32
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    fn after(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }
}

impl<K, V> Index<u32> for Table<K, V> {
    type Output = V;

    fn index(&self, slot: u32) -> &V {
        match &self.slots[slot as usize] {
            Slot::Occupied { value, .. } => value,
            Slot::Vacant { .. } => unreachable!("slot {slot} is read, which is vacant"),
        }
    }
}

impl<K, V> IndexMut<u32> for Table<K, V> {
    fn index_mut(&mut self, slot: u32) -> &mut V {
        match &mut self.slots[slot as usize] {
            Slot::Occupied { value, .. } => value,
            Slot::Vacant { .. } => unreachable!("slot {slot} is written, which is vacant"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few keys and a small table, so that runs form, wrap round the end, and are cut.
        #[test]
        fn it_does_what_the_table_of_std_does(steps in prop::collection::vec((any::<bool>(), 0_u16..40), 0..400)) {
            let mut table = Table::with_capacity(16);
            let mut model = HashMap::new();
            for (adds, key) in steps {
                match (table.find(key), adds) {
                    (None, true) if !table.is_full() => {
                        let slot = table.insert(key, u32::from(key) * 3);
                        prop_assert!(model.insert(key, slot).is_none());
                    }
                    (Some(slot), false) => {
                        prop_assert_eq!(table.remove(slot), u32::from(key) * 3);
                        prop_assert_eq!(model.remove(&key), Some(slot));
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len(), model.len());
                for key in 0..40 {
                    prop_assert_eq!(table.find(key), model.get(&key).copied());
                }
                for (key, slot) in &model {
                    prop_assert_eq!(table.get(*slot), Some(&(u32::from(*key) * 3)));
                }
            }
        }
    }

    #[test]
    fn it_is_full_at_its_capacity() {
        let mut table = Table::with_capacity(3);
        for key in 0..3 {
            assert!(!table.is_full());
            table.insert(key, ());
        }
        assert!(table.is_full());
    }
}
