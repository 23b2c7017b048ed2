//! What is noted of a transfer, once it is over, however it came to its end.

use std::cell::Cell;

use protocol::reply::Reply;
use protocol::session::{Transfer, TransferKind};
use transfer::{Progress, TransferError};

use crate::metrics::{Direction, Passed, TransferEnd, TransferFigures, WorkerCounters};
use crate::replies;

/// The record of a transfer: shared by its steps, and closed when the last of them lets go of it. Whoever drops a transfer in
/// the middle has aborted it.
#[derive(Debug)]
pub(crate) struct Record {
    progress: Progress,
    direction: Direction,
    end: Cell<TransferEnd>,
    counters: &'static WorkerCounters,
}

impl Record {
    pub(crate) fn new(transfer: &Transfer, counters: &'static WorkerCounters) -> Self {
        let direction = match transfer.what {
            TransferKind::Download { .. } => Direction::Download,
            TransferKind::Upload { .. } => Direction::Upload,
            TransferKind::Listing(_) => Direction::Listing,
        };
        counters.on_transfer(direction);
        Self {
            progress: Progress::counted_in(counters.bytes(direction)),
            direction,
            end: Cell::new(TransferEnd::Aborted),
            counters,
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn counters(&self) -> &'static WorkerCounters {
        self.counters
    }

    /// How the log calls it.
    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// It ends like this.
    pub(crate) fn ends(&self, end: TransferEnd) {
        self.end.set(end);
    }

    /// It failed on its way; gives the reply that says so.
    pub(crate) fn failed(&self, error: &TransferError) -> Reply {
        if matches!(error, TransferError::Stalled) {
            self.counters.on_deadline(Passed::Stall);
        }
        replies::transfer(error)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.counters.on_transfer_ended(&TransferFigures {
            direction: self.direction,
            route: self.progress.route(),
            end: self.end.get(),
            cold_reads: self.progress.cold_reads(),
            limit_waits: self.progress.limit_waits(),
        });
    }
}
