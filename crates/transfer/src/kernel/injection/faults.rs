//! In the tests: a script of what happens instead of calls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::Call;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails so.
    Fails(Errno),
    /// It moves at most so many bytes.
    StopsAfter(usize),
    /// Nothing.
    GoesWell,
}

type Faults = VecDeque<(Call, Fault)>;

/// The faults still to come, in order for each call.
#[derive(Clone)]
pub(crate) struct Script(Option<Arc<Mutex<Faults>>>);

thread_local! {
    static PLAYED: RefCell<Script> = const { RefCell::new(Script(None)) };
}

impl Script {
    pub(crate) fn new(faults: impl IntoIterator<Item = (Call, Fault)>) -> Script {
        Script(Some(Arc::new(Mutex::new(faults.into_iter().collect()))))
    }

    /// Plays it on this thread from now on.
    pub(crate) fn begin(&self) {
        PLAYED.replace(self.clone());
    }

    /// The faults that have not come.
    pub(crate) fn left(&self) -> Vec<(Call, Fault)> {
        self.0.as_ref().map_or_else(Vec::new, |script| {
            script.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
        })
    }

    pub(crate) fn of_this_thread() -> Script {
        PLAYED.with_borrow(Clone::clone)
    }

    /// Plays it while `work` is done.
    pub(crate) fn played<T>(self, work: impl FnOnce() -> T) -> T {
        let before = PLAYED.replace(self);
        let done = work();
        PLAYED.replace(before);
        done
    }

    fn next(&self, call: Call) -> Fault {
        let Some(script) = &self.0 else { return Fault::GoesWell };
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        let next = script.iter().position(|(which, _)| *which == call);
        next.and_then(|at| script.remove(at)).map_or(Fault::GoesWell, |(_, fault)| fault)
    }
}

/// Says how many of `bytes` the call may move, or how it fails.
pub(crate) fn allowed(call: Call, bytes: usize) -> io::Result<usize> {
    match Script::of_this_thread().next(call) {
        Fault::Fails(errno) => Err(errno.into()),
        Fault::StopsAfter(some) => Ok(bytes.min(some)),
        Fault::GoesWell => Ok(bytes),
    }
}
