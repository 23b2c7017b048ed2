//! What came by a control connection and was not taken yet.

/// Bytes that are taken from the front and added at the end. To take some moves none of the others: many replies may come at once, and
/// each of them would move all that are behind it.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    /// So many at the front are taken.
    taken: usize,
}

impl Unread {
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            self.bytes.clear();
            self.taken = 0;
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_stays_where_it_is() {
        let mut unread = Unread::default();
        unread.add(b"200 One.\r\n200 Two.\r\n");
        let (second, length) = (unread.rest()[10..].as_ptr(), unread.rest().len());
        unread.take(10);
        assert_eq!((unread.rest().as_ptr(), unread.rest()), (second, &b"200 Two.\r\n"[..]));
        unread.add(b"200 Three.\r\n");
        assert_eq!(unread.rest(), b"200 Two.\r\n200 Three.\r\n");
        unread.take(length - 10 + 12);
        assert!(unread.is_empty());
        // Nothing of it is kept for ever.
        unread.add(b"x");
        assert_eq!((unread.bytes.len(), unread.rest()), (1, &b"x"[..]));
    }
}
