//! Waiting for the peer, with progress noted and a bound on its patience; and waiting for the limits of rate.

use std::future::poll_fn;
use std::task::{Context, Poll};

use runtime::{Interest, Source, begin_long_turn, end_long_turn, turn_began};

use crate::limits::{Limits, Reservation};
use crate::patience::Patience;
use crate::progress::Progress;
use crate::{
    COPY_TURN_BYTES_MAX, Route, SENDFILE_TURN_BYTES_MAX, TURN_BYTES_MAX, TransferError, TransferOptions,
};

/// A transfer that has moved so much takes its turns among the long ones.
const LONG_FROM_BYTES: u64 = 256 << 10;

/// One transfer's dealings with time: its turns, its progress, its limits and its peer's stalls.
pub(crate) struct Pace<'a> {
    progress: &'a Progress,
    patience: Option<Patience>,
    turn_bytes: usize,
    turn_bytes_max: usize,
    limits: &'a Limits,
    reservation: Option<Reservation<'a>>,
    portion: Portion,
}

/// How much of a limit is reserved at a time: twice as much as the last time if the peer took all of that, else what it took, and
/// half as much at least. What a slow peer has no use for would keep others waiting until it is given back.
struct Portion {
    bytes: usize,
    reserved: usize,
}

impl Portion {
    const FIRST: usize = 16 << 10;
    const MIN: usize = 4 << 10;

    /// So much of what was reserved is left.
    fn learn(&mut self, left: usize) {
        self.bytes = match left {
            // Towards the end of a file less was reserved than the peer would take.
            0 => self.bytes.max(self.reserved.saturating_mul(2)),
            left => self.reserved.saturating_sub(left).max(self.reserved / 2).max(Self::MIN),
        };
    }
}

impl<'a> Pace<'a> {
    pub(crate) fn new(progress: &'a Progress, options: &'a TransferOptions) -> Pace<'a> {
        Pace {
            progress,
            patience: options.stall_timeout.map(Patience::new),
            turn_bytes: 0,
            turn_bytes_max: TURN_BYTES_MAX,
            limits: &options.limits,
            reservation: None,
            portion: Portion { bytes: Portion::FIRST, reserved: 0 },
        }
    }

    /// The data connection took or gave `bytes`.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let now = turn_began();
        self.progress.moved(bytes, now);
        if let Some(patience) = &mut self.patience {
            patience.on_sign_of_life(now);
        }
        self.turn_bytes = self.turn_bytes.saturating_add(bytes);
        if let Some(reservation) = &mut self.reservation {
            reservation.used(bytes);
        }
    }

    /// The bytes go this way from now on.
    pub(crate) fn takes(&mut self, route: Route) {
        self.turn_bytes_max = match route {
            Route::Sendfile => SENDFILE_TURN_BYTES_MAX,
            Route::Splice | Route::RingSplice => TURN_BYTES_MAX,
            Route::Copy => COPY_TURN_BYTES_MAX,
        };
        self.progress.takes(route);
    }

    /// Bytes of the file have to be waited for.
    pub(crate) fn on_cold_read(&self) {
        self.progress.on_cold_read();
    }

    /// The peer had to wait for us: the time of that is not its fault.
    pub(crate) fn excuse(&mut self) {
        if let Some(patience) = &mut self.patience {
            patience.on_sign_of_life(turn_began());
        }
        // Waiting was a turn's end.
        self.turn_bytes = 0;
    }

    /// Bytes that may still be moved in this turn; never 0.
    fn turn_left(&self) -> usize {
        match self.turn_bytes_max.saturating_sub(self.turn_bytes) {
            0 => self.turn_bytes_max,
            left => left,
        }
    }

    /// Waits until the data connection is ready, and then until the limits let something through; gives how many bytes of
    /// `wanted` may be moved in this turn, never 0. Without limits the second wait costs nothing.
    pub(crate) async fn ready(
        &mut self,
        source: &Source,
        interest: Interest,
        wanted: u64,
    ) -> Result<usize, TransferError> {
        self.ready_for_piece(source, interest, wanted, 0).await
    }

    /// As [`ready`](Pace::ready) for one piece of a file, behind which so many bytes are still to come: what is reserved may be for
    /// them, too, so that a turn in the line is worth the same in pieces.
    pub(crate) async fn ready_for_piece(
        &mut self,
        source: &Source,
        interest: Interest,
        wanted: u64,
        to_come: u64,
    ) -> Result<usize, TransferError> {
        self.connection_ready(source, interest).await?;
        let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let wanted_now = count(wanted).clamp(1, self.turn_left());
        if self.reservation.as_ref().is_none_or(|reservation| reservation.bytes() == 0) {
            self.give_back();
            // More than this turn's end allows, too: whoever takes short turns would else stand in the line more often.
            let portion = count(wanted.saturating_add(to_come)).max(1);
            let reserved = self.limits.reserve(portion.min(self.portion.bytes)).await;
            let Some(reservation) = reserved else { return Ok(wanted_now) };
            if reservation.was_waited_for() {
                self.excuse();
                self.progress.on_limit_wait();
            }
            self.portion.reserved = reservation.bytes();
            self.reservation = Some(reservation);
        }
        Ok(self.reservation.as_ref().map_or(wanted_now, |reservation| reservation.bytes().min(wanted_now)))
    }

    /// What was reserved and not moved is for others.
    fn give_back(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.portion.learn(reservation.bytes());
        }
    }

    /// Waits until the data connection is ready: at once if it is so, unless this turn has moved enough. While the peer is waited for nothing is
    /// reserved.
    pub(crate) async fn connection_ready(
        &mut self,
        source: &Source,
        interest: Interest,
    ) -> Result<(), TransferError> {
        if self.turn_bytes >= self.turn_bytes_max {
            self.turn_bytes = 0;
            end_long_turn().await;
        }
        let mut has_waited = false;
        let ready = poll_fn(|cx| match source.poll_ready(cx, interest) {
            Poll::Ready(ready) => Poll::Ready(Some(ready)),
            Poll::Pending => {
                has_waited = true;
                self.turn_bytes = 0;
                self.give_back();
                self.poll_stalled(cx, source, interest)
            }
        });
        match ready.await {
            Some(ready) => ready.map_err(|error| TransferError::of_socket(&error))?,
            None => return Err(TransferError::Stalled),
        }
        if has_waited && self.progress.bytes() >= LONG_FROM_BYTES {
            begin_long_turn().await;
        }
        Ok(())
    }

    fn poll_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        source: &Source,
        interest: Interest,
    ) -> Poll<Option<T>> {
        let Some(patience) = &mut self.patience else { return Poll::Pending };
        let acknowledged = || {
            // An upload's peer has nothing to acknowledge.
            let unacknowledged =
                (interest == Interest::Writable).then(|| source.unacknowledged().ok()).flatten();
            unacknowledged.map(|bytes| self.progress.bytes().saturating_sub(bytes))
        };
        patience.poll_lost(cx, acknowledged).map(|()| None)
    }
}
