//! A small file goes without an allocation.
#![allow(unsafe_code)] // An allocator that counts has no other way.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::{connected_pair, file_of, on_each_backend, reader, sample};
use transfer::{Progress, TransferOptions, download};

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // During a thread's end there is nobody left to count for.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_small_warm_download_allocates_nothing() {
    on_each_backend(|| async {
        for size in [1, 1024, 2048, 100_000] {
            let file = file_of(&sample(size));
            let (stream, peer) = connected_pair().await;
            let peer = reader(peer);
            let progress = Progress::new();
            let range = 0..size as u64;
            let mut allocations = u32::MAX;
            // The first fills the worker's pools.
            for _ in 0..2 {
                let options = TransferOptions {
                    stall_timeout: Some(std::time::Duration::from_secs(60)),
                    ..TransferOptions::default()
                };
                let before = ALLOCATIONS.get();
                download(&file, range.clone(), &stream, options, &progress).await.expect("sent");
                allocations = ALLOCATIONS.get() - before;
            }
            assert_eq!(allocations, 0, "{size} bytes");
            stream.close().await;
            assert_eq!(peer.join().expect("the peer").len(), 2 * size);
        }
    });
}
