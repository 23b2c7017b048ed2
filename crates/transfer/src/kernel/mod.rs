//! The system calls of the data engine, in one place.
//!
//! Each of them can be made to fail by the tests ([`injection`]), so that every row of the table of faults in the crate's
//! documentation has one.
#![allow(unsafe_code)]

pub(crate) mod injection;

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use nix::fcntl::{
    FallocateFlags, FcntlArg, OFlag, PosixFadviseAdvice, SpliceFFlags, fallocate, fcntl, posix_fadvise,
    splice,
};
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::statvfs::FsFlags;
use rustix::io::{ReadWriteFlags, preadv2};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use storage::MountId;

use injection::{Call, allowed};

/// cachestat(2), Linux 6.5: one number on all architectures, and not in libc yet.
const SYS_CACHESTAT: libc::c_long = 451;

#[repr(C)]
struct CachestatRange {
    offset: u64,
    length: u64,
}

/// What the kernel knows of a range, in pages.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Cachestat {
    /// Pages in the page cache.
    pub(crate) cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Asks how much of a range is in the page cache.
pub(crate) fn cachestat(file: &File, range: &Range<u64>) -> io::Result<Cachestat> {
    allowed(Call::Cachestat, 0)?;
    let asked = CachestatRange { offset: range.start, length: range.end - range.start };
    let mut answer = Cachestat::default();
    // SAFETY: both structures are laid out as the kernel's, and live until the call returns.
    let failed =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const asked, &raw mut answer, 0_u32) };
    if failed == 0 { Ok(answer) } else { Err(io::Error::last_os_error()) }
}

/// Marks in `resident` which pages of a file are in the page cache, from a page's beginning at `offset` on, one byte a page.
///
/// Unlike cachestat(2) it looks through the layers of a stacked file system. To whoever neither owns the file nor may write
/// it, the kernel says that all pages are there.
pub(crate) fn mincore(file: &File, offset: u64, page_bytes: usize, resident: &mut [u8]) -> io::Result<()> {
    allowed(Call::Mincore, 0)?;
    let length = page_bytes * resident.len();
    let (protection, offset) = (libc::PROT_READ, file_offset(offset)?);
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let mapped = unsafe {
        libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), offset)
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is `length` bytes long, and `resident` has a byte for each of its pages.
    let failed = unsafe { libc::mincore(mapped, length, resident.as_mut_ptr()) };
    let outcome = if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the mapping was made above, and nothing refers to it: it was asked about and never accessed.
    unsafe { libc::munmap(mapped, length) };
    outcome
}

/// Bytes of a page of this machine.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: it refers to no memory of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// Reads from the page cache alone: `EAGAIN` where that would mean to wait for the disk, `EOPNOTSUPP` where the
/// file system cannot tell.
pub(crate) fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let length = allowed(Call::ReadCached, buffer.len())?;
    file_offset(offset)?;
    Ok(preadv2(file, &mut [IoSliceMut::new(&mut buffer[..length])], offset, ReadWriteFlags::NOWAIT)?)
}

/// pread(2), again if a signal interrupted it.
pub(crate) fn read(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    uninterrupted(|| {
        let length = allowed(Call::Read, buffer.len())?;
        file.read_at(&mut buffer[..length], offset)
    })
}

/// pwrite(2) until all is written.
pub(crate) fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = uninterrupted(|| {
            let length = allowed(Call::Write, bytes.len())?;
            file.write_at(&bytes[..length], offset)
        })?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// recv(2), without waiting.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let length = allowed(Call::Receive, buffer.len())?;
    Ok(recv(socket, &mut buffer[..length], RecvFlags::DONTWAIT)?.0)
}

/// When the kernel puts bytes on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    /// At once.
    Now,
    /// With the end of the connection, which follows at once: both go in one segment, where they would be two.
    WithEnd,
}

/// send(2), without waiting.
pub(crate) fn send_some(socket: impl AsFd, bytes: &[u8], push: Push) -> io::Result<usize> {
    let length = allowed(Call::Send, bytes.len())?;
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if push == Push::WithEnd {
        flags |= SendFlags::MORE;
    }
    Ok(send(socket, &bytes[..length], flags)?)
}

/// sendfile(2) of at most `count` bytes from `offset`.
pub(crate) fn sendfile(socket: impl AsFd, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let count = allowed(Call::Sendfile, count)?;
    let mut offset = file_offset(offset)?;
    Ok(nix::sys::sendfile::sendfile64(socket, file, Some(&mut offset), count)?)
}

/// sendfile(2) to a device that throws the bytes away, which brings them into the page cache and copies none of them.
pub(crate) fn bring(nowhere: &File, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    uninterrupted(|| {
        let count = allowed(Call::Bring, count)?;
        let mut offset = file_offset(offset)?;
        Ok(nix::sys::sendfile::sendfile64(nowhere, file, Some(&mut offset), count)?)
    })
}

/// splice(2) of at most `count` bytes from a socket into a pipe, without waiting for either.
pub(crate) fn splice_from_socket(socket: impl AsFd, pipe: impl AsFd, count: usize) -> io::Result<usize> {
    let count = allowed(Call::SpliceFromSocket, count)?;
    Ok(splice(
        socket,
        None,
        pipe,
        None,
        count,
        SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK,
    )?)
}

/// splice(2) of at most `count` bytes from a pipe to a socket, without waiting for either.
pub(crate) fn splice_to_socket(pipe: impl AsFd, socket: impl AsFd, count: usize) -> io::Result<usize> {
    let count = allowed(Call::SpliceToSocket, count)?;
    Ok(splice(
        pipe,
        None,
        socket,
        None,
        count,
        SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK,
    )?)
}

/// splice(2) of at most `count` bytes from `offset` of a file into a pipe, again if a signal interrupted it.
pub(crate) fn splice_from_file(file: &File, offset: u64, pipe: impl AsFd, count: usize) -> io::Result<usize> {
    uninterrupted(|| {
        let count = allowed(Call::SpliceFromFile, count)?;
        let mut offset = file_offset(offset)?;
        Ok(splice(file, Some(&mut offset), &pipe, None, count, SpliceFFlags::SPLICE_F_MOVE)?)
    })
}

/// splice(2) of at most `count` bytes from a pipe to `offset` of a file, again if a signal interrupted it.
pub(crate) fn splice_to_file(pipe: impl AsFd, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    uninterrupted(|| {
        let count = allowed(Call::SpliceToFile, count)?;
        let mut offset = file_offset(offset)?;
        Ok(splice(&pipe, None, file, Some(&mut offset), count, SpliceFFlags::SPLICE_F_MOVE)?)
    })
}

/// read(2) from a pipe, again if a signal interrupted it.
pub(crate) fn read_pipe(pipe: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    uninterrupted(|| {
        let length = allowed(Call::ReadPipe, buffer.len())?;
        Ok(nix::unistd::read(&pipe, &mut buffer[..length])?)
    })
}

/// A pipe, neither end of which waits.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    allowed(Call::Pipe, 0)?;
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?)
}

/// Sets a pipe's capacity, in bytes, and gives the one that it has then.
pub(crate) fn set_pipe_capacity(pipe: impl AsFd, bytes: usize) -> io::Result<usize> {
    let wanted = i32::try_from(bytes).unwrap_or(i32::MAX);
    let granted =
        allowed(Call::PipeCapacity, 0).and_then(|_| Ok(fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(wanted))?));
    let capacity = match granted {
        Ok(capacity) => capacity,
        // The user's pipes hold too many pages already.
        Err(_) => fcntl(&pipe, FcntlArg::F_GETPIPE_SZ)?,
    };
    usize::try_from(capacity).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// A second descriptor of the same open file.
pub(crate) fn duplicate(file: &File) -> io::Result<File> {
    allowed(Call::Duplicate, 0)?;
    file.try_clone()
}

/// Tells the kernel that a range will be read, so that it begins to.
pub(crate) fn will_need(file: &File, offset: u64, length: u64) {
    advise(file, offset, length, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
}

/// Tells the kernel that a range will not be read soon, so that it drops what the disk has of it.
pub(crate) fn wont_need(file: &File, offset: u64, length: u64) {
    advise(file, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

fn advise(file: &File, offset: u64, length: u64, advice: PosixFadviseAdvice) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    // Where advice is not taken, things go on as without it.
    let _ = posix_fadvise(file, offset, length, advice);
}

/// Brings what was written of a range to the disk, and waits for it.
pub(crate) fn write_back(file: &File, range: &Range<u64>) -> io::Result<()> {
    allowed(Call::WriteBack, 0)?;
    let (offset, length) = (file_offset(range.start)?, file_offset(range.end - range.start)?);
    let flags =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: it refers to no memory of ours.
    let failed = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Begins to bring what was written of a file to the disk. What goes wrong with it, whoever waits for the disk is told.
pub(crate) fn begin_write_back(file: &File) {
    // SAFETY: it refers to no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Bytes that this user may still have on the file's file system.
pub(crate) fn free_bytes(file: &File) -> io::Result<u64> {
    let known = nix::sys::statvfs::fstatvfs(file)?;
    Ok(known.blocks_available() * known.fragment_size())
}

/// Reserves the blocks of a range. The file's size does not change.
pub(crate) fn reserve(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let (offset, bytes) = (file_offset(offset)?, file_offset(bytes)?);
    uninterrupted(|| {
        allowed(Call::Reserve, 0)?;
        Ok(fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, bytes)?)
    })
}

/// Cuts a file at `size`, and gives back the blocks beyond it.
pub(crate) fn cut(file: &File, size: u64) -> io::Result<()> {
    uninterrupted(|| {
        allowed(Call::Cut, 0)?;
        file.set_len(size)
    })
}

/// Switches `O_DIRECT` of an open file, for all its descriptors.
pub(crate) fn set_direct(file: &File, on: bool) -> io::Result<()> {
    if on {
        allowed(Call::SetDirect, 0)?;
    }
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    let wanted = if on { flags | OFlag::O_DIRECT } else { flags & !OFlag::O_DIRECT };
    if wanted != flags {
        fcntl(file, FcntlArg::F_SETFL(wanted))?;
    }
    Ok(())
}

/// Asks which mounted file system a file is on, which never waits.
pub(crate) fn mount_of(file: &File) -> io::Result<MountId> {
    allowed(Call::MountOf, 0)?;
    MountId::of(file)
}

/// What a file lies on, and how that is mounted.
pub(crate) struct Mounted {
    pub(crate) kind: FsType,
    /// Whether it is noted when a file was read.
    pub(crate) notes_reads: bool,
}

/// Asks what the file lies on, which may wait.
pub(crate) fn mounted(file: &File) -> io::Result<Mounted> {
    allowed(Call::Mounted, 0)?;
    let known = fstatfs(file)?;
    let silent = FsFlags::ST_NOATIME | FsFlags::ST_RDONLY;
    Ok(Mounted { kind: known.filesystem_type(), notes_reads: !known.flags().intersects(silent) })
}

/// An offset as the kernel counts it: up to 2^63 - 1.
fn file_offset(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
}

/// Makes a call again as long as signals interrupt it.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
