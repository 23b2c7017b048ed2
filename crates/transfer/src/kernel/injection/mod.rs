//! Faults on demand: what a test has prepared happens instead of the system call that comes next.
//!
//! A script belongs to the thread that plays it and follows the work that this thread hands to others, so that tests beside
//! each other do not disturb one another. Outside the tests of this crate there is nothing here but functions that do
//! nothing.

#[cfg(test)]
mod faults;
#[cfg(not(test))]
mod nothing;

#[cfg(test)]
pub(crate) use faults::{Fault, Script, allowed};
#[cfg(not(test))]
pub(crate) use nothing::{Script, allowed};

/// The calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Cachestat,
    Mincore,
    ReadCached,
    Read,
    Write,
    Receive,
    Send,
    Sendfile,
    Bring,
    SpliceFromSocket,
    SpliceToSocket,
    SpliceFromFile,
    SpliceToFile,
    RingSplice,
    ReadPipe,
    Pipe,
    PipeCapacity,
    Duplicate,
    WriteBack,
    SetDirect,
    Reserve,
    Cut,
    MountOf,
    Mounted,
}
