//! A download's window of the page cache: what may be sent without waiting, and what is fetched meanwhile.

use std::time::{Duration, Instant};

use super::fetch::Fetching;
use super::{FIRST_FETCH_BYTES, Probe, Residency, WINDOW_BYTES_MAX};
use crate::TransferError;
use crate::pace::Pace;
use crate::shared::Shared;

/// How long an answer of the kernel is believed: memory that nobody asks for goes, and some machines reclaim it before they have
/// to. Asking so often takes a download less than a thousandth of the core.
const BELIEVED_FOR: Duration = Duration::from_millis(20);

/// What is known of the file from an offset on.
pub(crate) enum Window {
    /// In the page cache until there.
    Warm { until: u64 },
    /// The file ends here.
    Ended,
    /// The file is not kept in the page cache.
    Bypassed,
}

/// The windows of one download, which go through its file from front to back.
pub(crate) struct Windows {
    probe: Probe,
    warm_until: u64,
    asked_at: Instant,
    fetch_bytes: u64,
    ahead: Option<Fetching>,
}

impl Windows {
    pub(crate) fn new(probe: Probe) -> Windows {
        let asked_at = Instant::now();
        Windows { probe, warm_until: 0, asked_at, fetch_bytes: FIRST_FETCH_BYTES, ahead: None }
    }

    /// Whether what is known from `offset` on is to be believed still; if it is, what is.
    fn known(&self, offset: u64) -> Option<u64> {
        (offset < self.warm_until && self.asked_at.elapsed() < BELIEVED_FOR).then_some(self.warm_until)
    }

    /// Makes sure that there is something to send from `offset` on, before `end`.
    pub(crate) async fn prepare(
        &mut self,
        file: &mut Shared<'_>,
        offset: u64,
        end: u64,
        pace: &mut Pace<'_>,
    ) -> Result<Window, TransferError> {
        if let Some(until) = self.known(offset) {
            return Ok(Window::Warm { until });
        }
        let mut fetched_until = None;
        if let Some(ahead) = self.ahead.take_if(|ahead| ahead.range().contains(&offset)) {
            fetched_until = Some(ahead.done(pace).await?);
        }
        let mut window = offset..end.min(offset + WINDOW_BYTES_MAX);
        // What is being fetched is waited for when its turn comes.
        if let Some(ahead) = &self.ahead
            && window.contains(&ahead.range().start)
        {
            window.end = ahead.range().start;
        }
        let residency = self.probe.ask(file.file(), &window);
        if residency != Residency::Warm {
            window.end = window.end.min(offset + self.fetch_bytes);
            let reached = match fetched_until {
                // Nobody can tell, but it was fetched.
                Some(until) if residency == Residency::Untold => until,
                Some(until)
                    if self.probe.ask(file.file(), &(offset..until.max(offset + 1))) == Residency::Warm =>
                {
                    until
                }
                _ => {
                    pace.on_cold_read();
                    Fetching::begin_in_time(file, window.clone()).await?.done(pace).await?
                }
            };
            window.end = window.end.min(reached);
            if window.is_empty() {
                return Ok(Window::Ended);
            }
            if !self.probe.keeps_what_was_fetched(file.file(), &window) {
                return Ok(Window::Bypassed);
            }
            self.fetch_bytes = WINDOW_BYTES_MAX.min(2 * self.fetch_bytes);
            self.fetch_ahead(file, window.end, end, pace);
        }
        self.warm_until = window.end;
        self.asked_at = Instant::now();
        Ok(Window::Warm { until: window.end })
    }

    /// Begins to fetch what comes after a window that had to be fetched, while that one is sent.
    /// It is a help and no need: where it cannot begin, the window is fetched when its turn comes.
    fn fetch_ahead(&mut self, file: &mut Shared<'_>, from: u64, end: u64, pace: &Pace<'_>) {
        let next = from..end.min(from + self.fetch_bytes);
        let is_under_way = self.ahead.as_ref().is_some_and(|ahead| ahead.range().contains(&from));
        if !next.is_empty() && !is_under_way && self.probe.ask(file.file(), &next) != Residency::Warm {
            self.ahead = Fetching::begin(file, next).ok();
            pace.on_cold_read();
        }
    }
}
