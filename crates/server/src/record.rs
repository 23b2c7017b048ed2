//! What is noted of a transfer, once it is over, however it came to its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use accounts::AccountSession;
use protocol::reply::Reply;
use protocol::session::{Transfer, TransferEnd, TransferKind, TransferType};
use storage::StorageError;
use transfer::{Progress, TransferError};

use crate::logging::{TransferLog, TransferNote, loggable};
use crate::metrics::{self, Direction, Passed, TransferFigures, WorkerCounters};
use crate::replies;

/// Who asks for something, as the logs call it.
#[derive(Debug, Clone)]
pub(crate) struct SessionLabel {
    pub(crate) id: u64,
    pub(crate) peer: IpAddr,
    /// As the client gave it.
    pub(crate) user: Box<[u8]>,
}

/// The record of a transfer: shared by its steps, and closed when the last of them lets go of it. Whoever drops a transfer in
/// the middle has aborted it.
#[derive(Debug)]
pub(crate) struct Record {
    session: SessionLabel,
    /// The session's place among those of its account, which the transfer keeps though the client says `REIN`.
    account: Option<Rc<AccountSession>>,
    transfer: Transfer,
    /// The path of an upload whose name the server chose.
    path_chosen: OnceCell<Vec<u8>>,
    progress: Progress,
    end: RefCell<TransferEnd>,
    counters: &'static WorkerCounters,
    began: Instant,
    log: Option<&'static TransferLog>,
    is_connected: Cell<bool>,
    /// What it failed of is for the operator to mend, and not for the client.
    is_own_fault: Cell<bool>,
}

impl Record {
    /// `log` is the log of transfers, where there is one.
    pub(crate) fn new(
        session: SessionLabel,
        account: Option<Rc<AccountSession>>,
        transfer: Transfer,
        counters: &'static WorkerCounters,
        log: Option<&'static TransferLog>,
    ) -> Self {
        let direction = direction_of(&transfer.what);
        counters.on_transfer(direction);
        let progress = Progress::counted_in(counters.bytes(direction));
        Self {
            session,
            account,
            transfer,
            path_chosen: OnceCell::new(),
            end: RefCell::new(TransferEnd::Aborted),
            counters,
            // That is now.
            began: progress.last_moved(),
            progress,
            log,
            is_connected: Cell::new(false),
            is_own_fault: Cell::new(false),
        }
    }

    pub(crate) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn counters(&self) -> &'static WorkerCounters {
        self.counters
    }

    /// The server has chosen the name.
    pub(crate) fn is_of(&self, path: &[u8]) {
        self.path_chosen.get_or_init(|| path.to_vec());
    }

    /// There is a data connection.
    pub(crate) fn connected(&self) {
        self.is_connected.set(true);
    }

    /// It ends like this, which is given back.
    pub(crate) fn ends(&self, end: TransferEnd) -> TransferEnd {
        self.end.replace(end.clone());
        end
    }

    /// It failed on its way; gives the reply that says so.
    pub(crate) fn failed(&self, error: &TransferError) -> Reply {
        match error {
            TransferError::Stalled => self.counters.on_deadline(Passed::Stall),
            TransferError::Internal(_) => drop(self.failed_inside(&error)),
            TransferError::Storage(_) | TransferError::Resources(_) | TransferError::StorageFull => {
                self.is_own_fault.set(true);
            }
            TransferError::PeerReset
            | TransferError::Network(_)
            | TransferError::SourceShrank { .. }
            | TransferError::QuotaExceeded
            | TransferError::FileTooLarge => {}
        }
        replies::transfer(error)
    }

    /// Its file could not be opened; gives the reply that says so.
    pub(crate) fn refused(&self, error: StorageError) -> Reply {
        // For more than there is anybody can ask.
        self.is_own_fault.set(is_own_fault(error) && error != StorageError::Full);
        replies::storage(error)
    }

    /// All bytes of an upload have come, and it could not get its name; gives the reply that says so.
    pub(crate) fn not_stored(&self, error: StorageError) -> Reply {
        self.is_own_fault.set(is_own_fault(error));
        replies::storage(error)
    }

    /// It failed for a reason that concerns nobody but the operator; gives the reply that says where to look.
    pub(crate) fn failed_inside(&self, error: &impl fmt::Display) -> Reply {
        self.is_own_fault.set(true);
        tracing::error!(session = self.session.id, path = %loggable(self.path()), %error, "a transfer could not go on");
        replies::INTERNAL
    }

    fn path(&self) -> &[u8] {
        self.path_chosen.get().map_or(self.transfer.what.path().as_bytes(), Vec::as_slice)
    }

    /// Says in the server's log how it ended.
    fn tell(&self, end: &TransferEnd) {
        let SessionLabel { id: session, peer, user, .. } = &self.session;
        let (user, path) = (loggable(user), loggable(self.path()));
        let bytes = self.progress.bytes();
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let what = direction_of(&self.transfer.what).name();
        match (end, &self.transfer.what) {
            (TransferEnd::Complete, TransferKind::Download { .. }) => {
                tracing::info!(session, %peer, %user, %path, bytes, milliseconds, "sent");
            }
            (TransferEnd::Complete, TransferKind::Upload { .. }) => {
                tracing::info!(session, %peer, %user, %path, bytes, milliseconds, "received");
            }
            (TransferEnd::Complete, TransferKind::Listing(_)) => {
                tracing::debug!(session, %path, bytes, milliseconds, "listed");
            }
            (TransferEnd::Aborted, _) => {
                tracing::info!(session, %peer, %user, what, %path, bytes, milliseconds, "transfer aborted");
            }
            (TransferEnd::Failed(reply), _) if self.is_own_fault.get() => {
                tracing::warn!(session, %peer, %user, what, %path, bytes, milliseconds, reply = %shown(reply), "transfer failed");
            }
            (TransferEnd::Failed(reply), _) => {
                tracing::info!(session, %peer, %user, what, %path, bytes, milliseconds, reply = %shown(reply), "transfer failed");
            }
            (TransferEnd::Refused(reply), _) if self.is_own_fault.get() => {
                tracing::warn!(session, %peer, %user, what, %path, reply = %shown(reply), "transfer refused");
            }
            (TransferEnd::Refused(reply), _) => {
                tracing::debug!(session, %peer, what, %path, reply = %shown(reply), "transfer refused");
            }
            (TransferEnd::NotSetUp, _) => {}
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let end = self.end.replace(TransferEnd::Aborted);
        let transfer = &self.transfer;
        self.counters.on_transfer_ended(&TransferFigures {
            direction: direction_of(&transfer.what),
            route: self.progress.route(),
            end: match end {
                TransferEnd::Complete => metrics::TransferEnd::Complete,
                TransferEnd::Refused(_) | TransferEnd::NotSetUp => metrics::TransferEnd::Refused,
                TransferEnd::Failed(_) => metrics::TransferEnd::Failed,
                TransferEnd::Aborted => metrics::TransferEnd::Aborted,
            },
            cold_reads: self.progress.cold_reads(),
            limit_waits: self.progress.limit_waits(),
        });
        self.tell(&end);
        if let Some(log) = self.log
            && self.is_connected.get()
            && !matches!(transfer.what, TransferKind::Listing(_))
        {
            log.write(&TransferNote {
                peer: self.session.peer,
                user: &self.session.user,
                is_anonymous: self.account.as_ref().is_some_and(|account| account.is_anonymous()),
                path: self.path(),
                is_ascii: transfer.transfer_type == TransferType::Ascii,
                is_upload: matches!(transfer.what, TransferKind::Upload { .. }),
                took: self.began.elapsed(),
                bytes: self.progress.bytes(),
                is_complete: end == TransferEnd::Complete,
            });
        }
    }
}

fn direction_of(what: &TransferKind) -> Direction {
    match what {
        TransferKind::Download { .. } => Direction::Download,
        TransferKind::Upload { .. } => Direction::Upload,
        TransferKind::Listing(_) => Direction::Listing,
    }
}

fn shown(reply: &Reply) -> impl fmt::Display + '_ {
    fmt::from_fn(|out| {
        let mut line = Vec::new();
        reply.encode(&mut line);
        write!(out, "{}", line.trim_ascii_end().escape_ascii())
    })
}

fn is_own_fault(error: StorageError) -> bool {
    matches!(
        error,
        StorageError::System(_)
            | StorageError::OutOfDescriptors
            | StorageError::ReadOnly
            | StorageError::Full
    )
}
