//! What is noted of a transfer, once it is over, however it came to its end.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use protocol::reply::Reply;
use protocol::session::{Transfer, TransferKind};
use transfer::{Progress, TransferError};

use crate::logging::{TransferLog, TransferNote};
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
    began: Instant,
    /// For the log of transfers, where there is one, once there is a data connection.
    note: Option<(&'static TransferLog, RefCell<TransferNote>)>,
    is_connected: Cell<bool>,
}

impl Record {
    /// `note` says what is to be noted of it in a log of transfers.
    pub(crate) fn new(
        transfer: &Transfer,
        counters: &'static WorkerCounters,
        note: Option<(&'static TransferLog, TransferNote)>,
    ) -> Self {
        let direction = match transfer.what {
            TransferKind::Download { .. } => Direction::Download,
            TransferKind::Upload { .. } => Direction::Upload,
            TransferKind::Listing(_) => Direction::Listing,
        };
        counters.on_transfer(direction);
        let progress = Progress::counted_in(counters.bytes(direction));
        Self {
            direction,
            end: Cell::new(TransferEnd::Aborted),
            counters,
            // That is now.
            began: progress.last_moved(),
            progress,
            note: note.map(|(log, note)| (log, RefCell::new(note))),
            is_connected: Cell::new(false),
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

    /// The file has another name than the client asked for.
    pub(crate) fn is_of(&self, path: &[u8]) {
        if let Some((_, note)) = &self.note {
            note.borrow_mut().path = path.to_vec();
        }
    }

    /// How long it has taken so far.
    pub(crate) fn milliseconds(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// There is a data connection.
    pub(crate) fn connected(&self) {
        self.is_connected.set(true);
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
        if let Some((log, note)) = &self.note
            && self.is_connected.get()
        {
            let is_complete = self.end.get() == TransferEnd::Complete;
            log.write(&note.borrow(), self.began.elapsed(), self.progress.bytes(), is_complete);
        }
    }
}
