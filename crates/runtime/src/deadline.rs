//! Bounding a wait.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::Sleep;

/// The deadline came before the future's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

/// Waits for `future` until `deadline`, then drops it.
///
/// Every future of this crate may be dropped so; of others, only those that are safe to.
///
/// # Errors
///
/// [`Elapsed`] if the deadline came first. A future that is ready at its first poll wins over a deadline in the past.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| Elapsed)
}

/// Waits until `deadline`, to the millisecond.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline.into()).await;
}

/// A deadline that moves with every sign of life, and costs nothing to move.
///
/// [`touch`](IdleTimer::touch) only notes the moment. The timer underneath is armed once per idle period: when it
/// fires and there was life meanwhile, it is armed again for what is left.
pub struct IdleTimer {
    duration: Cell<Duration>,
    touched: Cell<Instant>,
    // Armed at the first wait, for never later than the deadline.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    /// A timer that expires once `duration` has gone by without a touch; touched now.
    #[must_use]
    pub fn new(duration: Duration) -> IdleTimer {
        IdleTimer { duration: Cell::new(duration), touched: Cell::new(Instant::now()), sleep: None }
    }

    /// A sign of life at `now`.
    pub fn touch(&self, now: Instant) {
        self.touched.set(now);
    }

    /// The moment at which the timer expires if it is not touched before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.touched.get() + self.duration.get()
    }

    /// Changes the idle time allowed, from the next poll on; the moment of the last touch stays.
    pub fn set_duration(&mut self, duration: Duration) {
        if duration < self.duration.get() {
            // The timer would fire too late for the nearer deadline.
            self.sleep = None;
        }
        self.duration.set(duration);
    }

    /// Ready once expired. It stays expired until touched.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.deadline();
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
    }

    /// Waits until expired. Dropping the future loses nothing.
    pub async fn expired(&mut self) {
        poll_fn(|cx| self.poll_expired(cx)).await;
    }
}

impl fmt::Debug for IdleTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleTimer")
            .field("duration", &self.duration.get())
            .field("touched", &self.touched.get())
            .finish_non_exhaustive()
    }
}
