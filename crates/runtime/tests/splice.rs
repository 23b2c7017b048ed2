//! Bytes move between files and pipes on either backend, and a dropped operation still has its descriptors.

mod support;

use std::cell::Cell;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

use runtime::Places;
use runtime::splice::{SpliceEnd, splice};
use support::{alone, on_each_backend, open_descriptors};

fn pipe() -> (Arc<File>, Arc<File>) {
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    (Arc::new(File::from(reader)), Arc::new(File::from(writer)))
}

fn file_of(bytes: &[u8]) -> Arc<File> {
    let file = tempfile_here();
    file.write_all_at(bytes, 0).expect("written");
    Arc::new(file)
}

/// A file without a name.
fn tempfile_here() -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_TMPFILE);
    options.open(env!("CARGO_TARGET_TMPDIR")).expect("an unnamed file")
}

fn of_pipe(end: &Arc<File>) -> SpliceEnd {
    SpliceEnd { descriptor: end.clone(), offset: None }
}

fn at(file: &Arc<File>, offset: u64) -> SpliceEnd {
    SpliceEnd { descriptor: file.clone(), offset: Some(offset) }
}

fn places() -> Places {
    Places::common().expect("a worker")
}

#[test]
fn files_and_pipes_exchange_bytes() {
    let _alone = alone();
    on_each_backend(|| async {
        let (reader, writer) = pipe();
        let source = file_of(b"0123456789");
        assert_eq!(splice(at(&source, 3), of_pipe(&writer), 4, &places()).await.expect("moved"), 4);
        assert_eq!(splice(at(&source, 10), of_pipe(&writer), 4, &places()).await.expect("the end"), 0);
        let target = file_of(b"----------");
        assert_eq!(splice(of_pipe(&reader), at(&target, 5), 100, &places()).await.expect("moved"), 4);
        let mut bytes = [0; 10];
        target.read_exact_at(&mut bytes, 0).expect("read");
        assert_eq!(&bytes, b"-----3456-");
    });
}

#[test]
fn the_kernels_refusals_are_errors() {
    let _alone = alone();
    on_each_backend(|| async {
        let file = file_of(b"0123456789");
        let neither_is_a_pipe = splice(at(&file, 0), at(&file, 5), 1, &places()).await.expect_err("no pipe");
        assert_eq!(neither_is_a_pipe.raw_os_error(), Some(libc::EINVAL));
        let (_, writer) = pipe();
        let too_far =
            splice(at(&file, u64::MAX), of_pipe(&writer), 1, &places()).await.expect_err("no such place");
        assert_eq!(too_far.raw_os_error(), Some(libc::EFBIG));
    });
}

/// The pipe is empty, so the operation waits; its future goes, and then the caller's own handles.
#[test]
fn a_dropped_operation_keeps_what_it_works_on() {
    let _alone = alone();
    on_each_backend(|| async {
        let before = open_descriptors();
        let (reader, writer) = pipe();
        let target = file_of(b"");
        let seen = target.try_clone().expect("a second handle");
        let begun = Rc::new(Cell::new(false));
        let moving = {
            let begun = Rc::clone(&begun);
            let (from, to) = (of_pipe(&reader), at(&target, 0));
            let mut splicing = Box::pin(async move { splice(from, to, 5, &places()).await });
            runtime::spawn(poll_fn(move |cx| {
                let polled = splicing.as_mut().poll(cx);
                begun.set(true);
                polled
            }))
        };
        while !begun.get() {
            runtime::blocking(std::thread::yield_now).await.expect("a job");
        }
        moving.abort();
        assert!(moving.await.is_err());
        drop((reader, target));
        (&*writer).write_all(b"late!").expect("somebody still reads");
        drop(writer);
        let mut bytes = Vec::new();
        while bytes.len() < 5 {
            bytes.clear();
            let mut from_start =
                File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&seen)))
                    .expect("the file is there");
            from_start.read_to_end(&mut bytes).expect("read");
            runtime::blocking(std::thread::yield_now).await.expect("a job");
        }
        assert_eq!(bytes, b"late!");
        drop(seen);
        // The operation's own handles go when its completion is seen, a moment later.
        while open_descriptors() > before {
            runtime::blocking(std::thread::yield_now).await.expect("a job");
        }
    });
}
