//! Buffers for the copy route, a few of them kept by each worker.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Bytes of a buffer. Large enough for the cost of a system call to vanish, small enough for the processor's cache.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;
/// Buffers that a worker keeps for the next transfer.
const KEPT_MAX: usize = 4;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`BUFFER_BYTES`], which goes back to its worker when dropped there.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn take() -> Buffer {
        let kept = KEPT.with(|kept| kept.borrow_mut().pop());
        Buffer(kept.unwrap_or_else(|| vec![0; BUFFER_BYTES]))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // A job's thread keeps none: it serves whichever transfer comes next, or ends.
        if runtime::current_backend().is_none() {
            return;
        }
        KEPT.with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(std::mem::take(&mut self.0));
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
