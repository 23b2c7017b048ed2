//! Doubly linked lists that run through the entries of a [`Table`], so that an entry leaves the middle of one
//! in constant time and without memory of its own.

use std::hash::Hash;

use crate::table::{NO_SLOT, Table};

/// A list: its two ends and its length. The links stand in the entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    first: u32,
    last: u32,
    length: u32,
}

/// An entry's neighbours in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    before: u32,
    after: u32,
}

impl Links {
    /// The links of an entry that is in no list.
    pub(crate) const NONE: Links = Links { before: NO_SLOT, after: NO_SLOT };
}

/// An entry that can be in lists, of each kind in one at a time.
pub(crate) trait Linked<Kind> {
    /// The links for lists of this kind.
    fn links(&mut self) -> &mut Links;
}

impl Chain {
    pub(crate) const EMPTY: Chain = Chain { first: NO_SLOT, last: NO_SLOT, length: 0 };

    /// The slot of the entry that has been in the list the longest.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.first != NO_SLOT).then_some(self.first)
    }

    /// The slot of the entry that was added last.
    pub(crate) fn last(&self) -> Option<u32> {
        (self.last != NO_SLOT).then_some(self.last)
    }

    pub(crate) fn len(&self) -> usize {
        self.length as usize
    }

    /// Adds the entry in `slot`, which is in no list of this kind, at the end.
    pub(crate) fn push<Kind, K, V>(&mut self, entries: &mut Table<K, V>, slot: u32)
    where
        K: Copy + Eq + Hash,
        V: Linked<Kind>,
    {
        *entries[slot].links() = Links { before: self.last, after: NO_SLOT };
        match self.last() {
            Some(last) => entries[last].links().after = slot,
            None => self.first = slot,
        }
        self.last = slot;
        self.length += 1;
    }

    /// Takes the entry in `slot`, which is in this list, out of it.
    pub(crate) fn unlink<Kind, K, V>(&mut self, entries: &mut Table<K, V>, slot: u32)
    where
        K: Copy + Eq + Hash,
        V: Linked<Kind>,
    {
        let Links { before, after } = std::mem::replace(entries[slot].links(), Links::NONE);
        if before == NO_SLOT {
            self.first = after;
        } else {
            entries[before].links().after = after;
        }
        if after == NO_SLOT {
            self.last = before;
        } else {
            entries[after].links().before = before;
        }
        self.length -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(Links);

    impl Linked<()> for Entry {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn walk(chain: &Chain, entries: &mut Table<u8, Entry>) -> Vec<u32> {
        let mut slots = Vec::new();
        let mut next = chain.first().unwrap_or(NO_SLOT);
        while next != NO_SLOT {
            slots.push(next);
            next = entries[next].links().after;
        }
        slots
    }

    #[test]
    fn entries_leave_from_anywhere() {
        let mut entries = Table::with_capacity(4);
        let mut chain = Chain::EMPTY;
        let slots: Vec<u32> = (0..4).map(|key| entries.insert(key, Entry(Links::NONE))).collect();
        for slot in &slots {
            chain.push(&mut entries, *slot);
        }
        assert_eq!(walk(&chain, &mut entries), slots);
        chain.unlink(&mut entries, slots[1]);
        assert_eq!(walk(&chain, &mut entries), [slots[0], slots[2], slots[3]]);
        chain.unlink(&mut entries, slots[0]);
        chain.unlink(&mut entries, slots[3]);
        assert_eq!((chain.first(), chain.last(), chain.len()), (Some(slots[2]), Some(slots[2]), 1));
        chain.unlink(&mut entries, slots[2]);
        assert_eq!((chain.first(), chain.last(), chain.len()), (None, None, 0));
        chain.push(&mut entries, slots[3]);
        assert_eq!(walk(&chain, &mut entries), [slots[3]]);
    }
}
