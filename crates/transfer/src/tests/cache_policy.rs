//! What uploads leave in the page cache.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::support::{connected_pair, contents, empty_file, on_each_backend, routes, sample, writer};
use crate::kernel;
use crate::{CachePolicy, Progress, TransferOptions, TransferType, upload};

/// Several pieces of writing behind, and no multiple of a block.
const BYTES: usize = (21 << 20) + 777;

fn cached_pages(file: &File) -> u64 {
    kernel::cachestat(file, &(0..u64::MAX / 2)).expect("known").cached
}

async fn stored(offset: u64, bytes: &[u8], options: TransferOptions) -> File {
    let file = empty_file();
    let (stream, peer) = connected_pair().await;
    let peer = writer(peer, bytes.to_vec());
    let received = upload(&stream, &file, offset, options, &Progress::new()).await.expect("stored");
    assert_eq!(received, bytes.len() as u64);
    stream.close().await;
    drop(peer.join().expect("the peer"));
    file
}

#[test]
fn what_is_dropped_is_not_in_the_page_cache() {
    on_each_backend(|| async {
        let bytes = sample(BYTES);
        let whole = (BYTES as u64).div_ceil(4096);
        for by in routes() {
            let kept = stored(0, &bytes, by.clone()).await;
            assert_eq!(cached_pages(&kept), whole, "kept, by {}", by.route);
            for cache_policy in [CachePolicy::DropBehind, CachePolicy::Direct] {
                let options = TransferOptions { cache_policy, ..by.clone() };
                let file = stored(0, &bytes, options).await;
                // A page at each piece's edge may stay, and with it the block of pages that it was allocated with.
                let left = cached_pages(&file);
                assert!(
                    left * 8 < whole,
                    "{left} of {whole} pages stay with {cache_policy:?} by {}",
                    by.route
                );
                assert!(contents(&file) == bytes, "{cache_policy:?} by {}", by.route);
            }
        }
    });
}

/// After a restart, and in a text, writes do not begin at a block.
#[test]
fn direct_writes_need_no_aligned_beginning() {
    on_each_backend(|| async {
        let direct = TransferOptions { cache_policy: CachePolicy::Direct, ..TransferOptions::default() };
        for offset in [1, 4095, 4096, 4097, 1 << 20] {
            for size in [0, 1, 4095, 4096, (1 << 20) - 1, 1 << 20, (2 << 20) + 5] {
                let bytes = sample(size);
                let file = stored(offset, &bytes, direct.clone()).await;
                let mut found = vec![0; size];
                file.read_exact_at(&mut found, offset).expect("read");
                assert!(found == bytes, "{size} bytes at {offset}");
                let end = if size == 0 { 0 } else { offset + size as u64 };
                assert_eq!(file.metadata().expect("its size").len(), end);
            }
        }
        let text = TransferOptions { transfer_type: TransferType::Ascii, ..direct };
        assert_eq!(contents(&stored(0, b"one\r\ntwo\r\n", text).await), b"one\ntwo\n");
    });
}

#[test]
fn a_file_is_opened_after_a_direct_upload_as_before() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    on_each_backend(|| async {
        let direct = TransferOptions { cache_policy: CachePolicy::Direct, ..TransferOptions::default() };
        let file = stored(0, &sample(2 << 20), direct).await;
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL).expect("flags"));
        assert!(!flags.contains(OFlag::O_DIRECT));
    });
}
