//! What an upload reserves of the disk, and gives back.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statfs::{EXT4_SUPER_MAGIC, fstatfs};

use super::support::{connected_pair, contents, empty_file, on_each_backend, routes, sample, writer};
use crate::kernel::injection::Call::{Cut, Reserve};
use crate::kernel::injection::Fault::{Fails, GoesWell};
use crate::kernel::injection::{Call, Fault, Script};
use crate::{Destination, Progress, TransferOptions, upload};

/// Several reservations, the last of which is not used up.
const BYTES: usize = (11 << 20) + 777;

/// What is left of these faults by an upload that reserves. Where the tests' files lie on another file system than ext4 it reserves
/// nothing, and all of them are.
fn left_where_reserved(faults: &[(Call, Fault)]) -> Vec<(Call, Fault)> {
    if is_on_ext4() { Vec::new() } else { faults.to_vec() }
}

fn is_on_ext4() -> bool {
    fstatfs(empty_file()).expect("known").filesystem_type() == EXT4_SUPER_MAGIC
}

fn to(destination: Destination, by: &TransferOptions) -> TransferOptions {
    TransferOptions { destination, ..by.clone() }
}

/// Uploads while these faults come; gives the file, how it ended, and the faults that did not come.
async fn uploaded(
    bytes: &[u8],
    options: TransferOptions,
    faults: &[(Call, Fault)],
) -> (File, Result<u64, String>, Vec<(Call, Fault)>) {
    let file = empty_file();
    let (stream, peer) = connected_pair().await;
    let peer = writer(peer, bytes.to_vec());
    let script = Script::new(faults.iter().copied());
    script.begin();
    let outcome = upload(&stream, &file, 0, options, &Progress::new()).await;
    Script::new([]).begin();
    stream.close().await;
    drop(peer.join().expect("the peer"));
    (file, outcome.map_err(|error| format!("{error:?}")), script.left())
}

#[test]
fn what_is_reserved_and_not_used_is_given_back() {
    on_each_backend(|| async {
        let bytes = sample(BYTES);
        let happens = [(Reserve, GoesWell), (Reserve, GoesWell), (Cut, GoesWell)];
        for by in routes() {
            for destination in [Destination::New, Destination::ReplacesAnother] {
                let (file, outcome, left) = uploaded(&bytes, to(destination, &by), &happens).await;
                assert_eq!(outcome, Ok(BYTES as u64));
                assert_eq!(left, left_where_reserved(&happens), "{destination:?} by {}", by.route);
                assert!(contents(&file) == bytes, "{destination:?} by {}", by.route);
                file.sync_all().expect("synced");
                let on_disk = file.metadata().expect("known").blocks() * 512;
                // A block more may be the map of the others.
                assert!(on_disk <= BYTES as u64 + 2 * 4096, "{on_disk} bytes are reserved");
            }
        }
    });
}

#[test]
fn what_is_not_the_uploads_alone_and_what_is_small_reserves_nothing() {
    on_each_backend(|| async {
        let fault = [(Reserve, Fails(Errno::EIO))];
        let (bytes, auto) = (sample(BYTES), TransferOptions::default());
        let (_, outcome, left) = uploaded(&bytes, to(Destination::InPlace, &auto), &fault).await;
        assert_eq!((outcome, left.len()), (Ok(BYTES as u64), 1));
        let (_, outcome, left) = uploaded(&bytes[..1 << 19], to(Destination::New, &auto), &fault).await;
        assert_eq!((outcome, left.len()), (Ok(1 << 19), 1));
    });
}

#[test]
fn an_upload_goes_on_where_nothing_can_be_reserved() {
    on_each_backend(|| async {
        let bytes = sample(BYTES);
        for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EOPNOTSUPP, Errno::EIO] {
            // The second piece finds no room, and the first is given back for others to have.
            let faults = [
                (Reserve, Fails(Errno::EINTR)),
                (Reserve, GoesWell),
                (Reserve, Fails(errno)),
                (Cut, GoesWell),
            ];
            let options = to(Destination::New, &TransferOptions::default());
            let (file, outcome, left) = uploaded(&bytes, options, &faults).await;
            assert_eq!((outcome, left), (Ok(BYTES as u64), left_where_reserved(&faults)), "{errno}");
            assert!(contents(&file) == bytes, "{errno}");
        }
    });
}

/// What `ALLO` has reserved is used up first.
#[test]
fn what_is_reserved_already_is_not_reserved_again() {
    on_each_backend(|| async {
        let (bytes, fault) = (sample(BYTES), [(Reserve, Fails(Errno::ENOSPC))]);
        for (reserved_until, left) in
            [(BYTES as u64, 1), (BYTES as u64 / 2, left_where_reserved(&fault).len())]
        {
            let options =
                TransferOptions { reserved_until, ..to(Destination::New, &TransferOptions::default()) };
            let (file, outcome, faults) = uploaded(&bytes, options, &fault).await;
            assert_eq!((outcome, faults.len()), (Ok(BYTES as u64), left));
            assert!(contents(&file) == bytes);
        }
    });
}

/// What another upload needs is not held for this one.
#[test]
fn what_cannot_be_reserved_whole_is_given_back_at_once() {
    on_each_backend(|| async {
        if !is_on_ext4() {
            return;
        }
        let file = empty_file();
        let (stream, mut peer) = connected_pair().await;
        let sent = file.try_clone().expect("a second descriptor");
        let progress = Rc::new(Progress::new());
        let seen = Rc::clone(&progress);
        let script = Script::new([(Reserve, GoesWell), (Reserve, Fails(Errno::ENOSPC))]);
        let storing = runtime::spawn(async move {
            script.begin();
            let options = to(Destination::New, &TransferOptions::default());
            let stored = upload(&stream, &sent, 0, options, &seen).await;
            Script::new([]).begin();
            (stored, script.left().len())
        });
        // The first piece reaches to between five and six mebibytes; the second is asked for a mebibyte before that.
        let (bytes, reserved) = (4_700_000, 5_u64 << 20);
        let peer = std::thread::spawn(move || peer.write_all(&sample(bytes)).map(|()| peer));
        let on_disk = || file.metadata().expect("known").blocks() * 512;
        let give_up_at = Instant::now() + Duration::from_secs(20);
        while progress.bytes() < bytes as u64 || on_disk() >= reserved {
            assert!(Instant::now() < give_up_at, "{} bytes are on the disk for {bytes}", on_disk());
            runtime::sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
        drop(peer.join().expect("the peer").expect("sent"));
        let (stored, left) = storing.await.expect("a task");
        assert_eq!((stored.expect("stored"), left), (bytes as u64, 0));
    });
}

#[test]
fn an_upload_fails_whose_reservation_cannot_be_given_back() {
    on_each_backend(|| async {
        let options = to(Destination::New, &TransferOptions::default());
        let faults = [(Cut, Fails(Errno::EIO))];
        let (_, outcome, left) = uploaded(&sample(BYTES), options, &faults).await;
        let failed = Err("Storage(EIO)".to_owned());
        assert_eq!(outcome, if is_on_ext4() { failed } else { Ok(BYTES as u64) });
        assert_eq!(left, left_where_reserved(&faults));
    });
}
