//! Bounding a wait.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use thiserror::Error;

use crate::context::{self, turn_began};
use crate::timers::Timer;

/// The deadline came before the future's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

pin_project! {
    /// A future with a deadline, as [`timeout_at`] makes it.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

/// Waits for `future` until `deadline`, then drops it.
///
/// Every future of this crate may be dropped so; of others, only those that are safe to.
///
/// # Errors
///
/// [`Elapsed`] if the deadline came first. A future that is ready at its first poll wins over a deadline in the past.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.future.poll(cx) {
            return Poll::Ready(Ok(result));
        }
        this.sleep.poll_over(cx).map(|()| Err(Elapsed))
    }
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, state: State::New }
}

/// A wait for a moment, as [`sleep_until`] makes it. Once over, it stays so.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    deadline: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    New,
    Waiting {
        timer: Timer,
        /// Whom it wakes, to be compared alone.
        waker: *const (),
    },
    Over,
}

impl Sleep {
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let waker = cx.waker();
        let state = context::with(|worker| match self.state {
            State::New => {
                State::Waiting { timer: worker.timers.set(deadline, waker.clone()), waker: waker.data() }
            }
            State::Waiting { .. } if worker.timers.have_fired(deadline) => State::Over,
            State::Waiting { timer, waker: known } if known != waker.data() => {
                worker.timers.change(timer, waker);
                State::Waiting { timer, waker: waker.data() }
            }
            unchanged => unchanged,
        });
        self.state = state.expect("deadlines are waited for on workers");
        match self.state {
            State::Over => Poll::Ready(()),
            State::New | State::Waiting { .. } => Poll::Pending,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over(cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Waiting { timer, .. } = self.state {
            // A worker that stops has no timers any more.
            context::with(|worker| worker.timers.unset(timer));
        }
    }
}

/// A deadline that moves with every sign of life, and costs nothing to move.
///
/// [`touch`](IdleTimer::touch) only notes the moment. The timer underneath is armed once per idle period: when it
/// fires and there was life meanwhile, it is armed again for what is left.
pub struct IdleTimer {
    duration: Cell<Duration>,
    touched: Cell<Instant>,
    // Armed at the first wait, for never later than the deadline.
    sleep: Option<Sleep>,
}

impl IdleTimer {
    /// A timer that expires once `duration` has gone by without a touch; touched now.
    #[must_use]
    pub fn new(duration: Duration) -> IdleTimer {
        IdleTimer { duration: Cell::new(duration), touched: Cell::new(turn_began()), sleep: None }
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

    /// Ready once expired. It stays expired until touched. Where the deadline came while the worker stood still, as a stopped process
    /// does, the time begins again: a sign of life was not seen then.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.deadline();
            let sleep = self.sleep.get_or_insert_with(|| sleep_until(deadline));
            ready!(sleep.poll_over(cx));
            if Instant::now() >= deadline {
                let went_on = context::with(|worker| worker.timers.went_on_after(deadline)).flatten();
                let Some(went_on) = went_on else { return Poll::Ready(()) };
                self.touch(went_on);
            }
            self.sleep = Some(sleep_until(self.deadline()));
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
