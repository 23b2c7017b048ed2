//! An FTP client that is watched: every step is timed, every failure has its step.

mod connect;
mod control;
mod data;
mod transfer;
mod unread;

pub(crate) use connect::connect;
pub(crate) use control::Control;
pub(crate) use data::{DataEnd, DataListener, TRANSFER_ENDED};
