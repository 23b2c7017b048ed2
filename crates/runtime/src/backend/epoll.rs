//! Readiness by edge-triggered epoll.
//!
//! A descriptor is registered when somebody first has to wait for it, so a data connection that is accepted, filled
//! and closed in one go never enters the epoll set.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::Wait;
use super::watch::{EVENTS, Watch};
use crate::context;
use crate::executor::Doorbell;
use crate::source::Interest;

/// What one turn hears of; what is left is for the next.
const EVENTS_PER_TURN_MAX: usize = 256;
/// While tasks are ready the kernel is asked after so many turns, for each time costs a system call.
const TURNS_WITHOUT_LOOK_MAX: u32 = 8;
/// What the doorbell's events are called.
const DOORBELL: u64 = u64::MAX;

/// One thread's epoll instance.
pub(crate) struct Epoll {
    epoll: epoll::Epoll,
    watches: RefCell<Slab<Watch>>,
    /// Where the kernel tells what happened. Kept, lest each turn has to clear three kibibytes.
    events: RefCell<Box<[EpollEvent; EVENTS_PER_TURN_MAX]>>,
    turns_without_look: Cell<u32>,
    /// Registered, and so kept open.
    _doorbell: Arc<Doorbell>,
}

impl Epoll {
    pub(super) fn new(doorbell: Arc<Doorbell>) -> io::Result<Epoll> {
        let epoll = epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(doorbell.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, DOORBELL))?;
        Ok(Epoll {
            epoll,
            watches: RefCell::default(),
            events: RefCell::new(Box::new([EpollEvent::empty(); EVENTS_PER_TURN_MAX])),
            turns_without_look: Cell::new(0),
            _doorbell: doorbell,
        })
    }

    pub(super) fn turn(&self, wait: Wait) {
        let timeout = match wait {
            Wait::Not if self.turns_without_look.get() < TURNS_WITHOUT_LOOK_MAX => {
                return self.turns_without_look.set(self.turns_without_look.get() + 1);
            }
            Wait::Not => EpollTimeout::ZERO,
            // Rounded up: a timer that fires too early would be waited for once more.
            Wait::AtMost(time) => i32::try_from(time.as_millis() + 1)
                .ok()
                .and_then(|milliseconds| EpollTimeout::try_from(milliseconds).ok())
                .unwrap_or(EpollTimeout::MAX),
            Wait::ForEver => EpollTimeout::NONE,
        };
        self.turns_without_look.set(0);
        let mut events = self.events.borrow_mut();
        let count = match self.epoll.wait(&mut **events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => unreachable!("epoll_wait takes what it is given, and yet: {errno}"),
        };
        let mut watches = self.watches.borrow_mut();
        for event in &events[..count] {
            if let Some(watch) = usize::try_from(event.data()).ok().and_then(|key| watches.get_mut(key)) {
                watch.happened(event.events().bits());
            }
        }
    }

    /// Asks the kernel in the next turn in any case.
    pub(super) fn look(&self) {
        self.turns_without_look.set(TURNS_WITHOUT_LOOK_MAX);
    }

    pub(super) fn watch(&self, key: usize) -> Option<RefMut<'_, Watch>> {
        RefMut::filter_map(self.watches.borrow_mut(), |watches| watches.get_mut(key)).ok()
    }

    pub(super) fn poll_ready(
        &self,
        place: &Cell<Option<usize>>,
        fd: BorrowedFd<'_>,
        cx: &mut Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        let mut watches = self.watches.borrow_mut();
        if let Some(watch) = place.get().and_then(|key| watches.get_mut(key)) {
            return watch.poll_ready(cx, interest).map(Ok);
        }
        // Registering reports the state of the moment as an edge, so nothing that happened before is missed.
        let entry = watches.vacant_entry();
        let flags = EpollFlags::from_bits_retain(EVENTS) | EpollFlags::EPOLLET;
        self.epoll.add(fd, EpollEvent::new(flags, entry.key() as u64))?;
        context::with(|worker| worker.counters.polls.add(1));
        place.set(Some(entry.key()));
        entry.insert(Watch::default()).poll_ready(cx, interest).map(Ok)
    }

    pub(super) fn close(&self, fd: OwnedFd, key: Option<usize>) {
        if let Some(key) = key {
            self.watches.borrow_mut().remove(key);
            // A duplicate would keep the registration, and its events would be taken for another's. The kernel knows of it.
            let _ = self.epoll.delete(fd);
        }
    }
}
