//! Buffers that the kernel takes from when it receives, and that go back to it as soon as they are read.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// Bytes of a buffer: a command, or some hundred pipelined ones.
const BUFFER_BYTES: u16 = 2048;
/// How many there are; a power of two. They are read and given back in every turn, so that few are out at once.
const BUFFERS: u16 = 256;
/// The group by which requests name them.
pub(super) const GROUP: u16 = 0;
/// The kernel wants the ring of buffers at a page's beginning.
const PAGE_BYTES: usize = 4096;

/// The buffers of one ring, registered with it.
pub(super) struct ProvidedBuffers {
    /// `BUFFERS` entries, shared with the kernel, which reads those up to the tail.
    entries: NonNull<BufRingEntry>,
    /// `BUFFERS` times `BUFFER_BYTES`, written by the kernel.
    memory: NonNull<u8>,
    /// What the shared tail says; the kernel never writes it.
    tail: u16,
}

impl ProvidedBuffers {
    const ENTRIES_LAYOUT: Layout =
        match Layout::from_size_align(BUFFERS as usize * size_of::<BufRingEntry>(), PAGE_BYTES) {
            Ok(layout) => layout,
            Err(_) => panic!("not a layout"),
        };
    const MEMORY_LAYOUT: Layout =
        match Layout::from_size_align(BUFFERS as usize * BUFFER_BYTES as usize, PAGE_BYTES) {
            Ok(layout) => layout,
            Err(_) => panic!("not a layout"),
        };

    /// Registers fresh buffers with the ring.
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<ProvidedBuffers> {
        let mut buffers = ProvidedBuffers {
            entries: allocate(Self::ENTRIES_LAYOUT).cast(),
            memory: allocate(Self::MEMORY_LAYOUT),
            tail: 0,
        };
        let address = buffers.entries.as_ptr() as u64;
        // SAFETY: the entries live until `unregister`, or for ever where that fails.
        unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS, GROUP, 0) }?;
        for id in 0..BUFFERS {
            buffers.push(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// What was received into a buffer, by a completion with this result. The borrow ends before the buffer is given back.
    pub(super) fn received(&self, id: u16, result: i32) -> &[u8] {
        let length = usize::try_from(result).unwrap_or(0).min(usize::from(BUFFER_BYTES));
        // SAFETY: the buffer is one of ours.
        let start = unsafe { self.memory.add(usize::from(id % BUFFERS) * usize::from(BUFFER_BYTES)) };
        // SAFETY: the kernel named the buffer in a completion and does not write to it before it is given back; the memory
        // was zeroed, so all of it is initialised.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }
    }

    /// Gives a buffer back to the kernel, which sees it after [`publish`](Self::publish).
    pub(super) fn push(&mut self, id: u16) {
        let slot = usize::from(self.tail % BUFFERS);
        let start = usize::from(id % BUFFERS) * usize::from(BUFFER_BYTES);
        // SAFETY: the buffer is one of ours.
        let address = unsafe { self.memory.add(start) };
        // SAFETY: the slot is one of ours, and beyond the tail: the kernel does not read it.
        let mut entry = unsafe { self.entries.add(slot) };
        // SAFETY: as above, and nothing else refers to the entry.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(address.as_ptr() as u64);
        entry.set_len(u32::from(BUFFER_BYTES));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was given back.
    pub(super) fn publish(&self) {
        // SAFETY: it is the address of the first entry of the ring.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is aligned, lives as long as the entries, and is written here alone, atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Takes the buffers from the kernel and frees them. Where it does not let go of them they are never freed.
    pub(super) fn unregister(self, submitter: &Submitter<'_>) {
        if submitter.unregister_buf_ring(GROUP).is_ok() {
            // SAFETY: allocated with this layout, and the kernel no longer knows of it.
            unsafe { dealloc(self.entries.as_ptr().cast(), Self::ENTRIES_LAYOUT) };
            // SAFETY: the same.
            unsafe { dealloc(self.memory.as_ptr(), Self::MEMORY_LAYOUT) };
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layouts are not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
