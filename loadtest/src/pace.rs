//! When units begin: each as soon as the one before is done, or at a given rate whatever the server does.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use runtime::{Interest, Source};

use crate::plan::Plan;
use crate::slot::Desk;
use crate::worker::Share;

/// The clock of a worker ticks no faster than this; at higher rates a tick begins several units, and how late it is for each is kept.
const TICK_MIN: Duration = Duration::from_micros(100);
/// How often the lateness of a worker's loop is looked at, where no rate is given.
const HEARTBEAT: Duration = Duration::from_millis(10);

/// When units begin.
pub(crate) enum Pace {
    /// Closed loop: a slot begins its next unit when it is done with the last.
    Closed,
    /// Open loop: units begin at a rate. One that finds no slot waits for one, and its time runs.
    Open(Schedule),
}

/// The units that are due on one worker.
pub(crate) struct Schedule {
    interval: Duration,
    /// When the next unit that is not in `due` should begin.
    next: Cell<Instant>,
    due: RefCell<VecDeque<Instant>>,
    /// Slots that wait for a unit, in the order in which they came.
    idle: RefCell<BTreeMap<u64, Waker>>,
    tickets: Cell<u64>,
}

impl Pace {
    /// The pace of one worker; the units of several interleave.
    pub(crate) fn new(plan: &Plan, share: Share) -> Self {
        let Some(rate) = plan.rate else { return Self::Closed };
        #[expect(clippy::cast_precision_loss, reason = "numbers of cores and of commands")]
        let (index, slots, sessions, at_once) = (
            share.index as f64,
            share.slots(plan.sessions) as f64,
            plan.sessions as f64,
            plan.units_at_once() as f64,
        );
        // A worker begins as large a part of the units as it has of the slots.
        let interval = Duration::from_secs_f64(at_once * sessions / slots / rate);
        let next = plan.window.began + Duration::from_secs_f64(index * at_once / rate);
        let (due, idle, tickets) = (RefCell::default(), RefCell::default(), Cell::new(0));
        Self::Open(Schedule { interval, next: Cell::new(next), due, idle, tickets })
    }

    /// When the next unit begins, or should have begun; `None` once the run is over.
    pub(crate) async fn next(&self, plan: &Plan) -> Option<Instant> {
        match self {
            Self::Closed => Some(Instant::now()).filter(|&now| !plan.is_over(now)),
            Self::Open(schedule) => schedule.next(plan).await,
        }
    }

    /// Does what a rate asks for by `now`.
    pub(crate) fn tick(&self, plan: &Plan, desk: &Desk, now: Instant) {
        if let Self::Open(schedule) = self {
            schedule.tick(plan, desk, now);
        }
    }
}

impl Schedule {
    async fn next(&self, plan: &Plan) -> Option<Instant> {
        let ticket = Ticket { schedule: self, number: self.tickets.replace(self.tickets.get() + 1) };
        poll_fn(|context| {
            if plan.is_stopped() {
                return Poll::Ready(None);
            }
            // Also once the time is over: it was due before, and this slot may have been called for it.
            if let Some(began) = self.due.borrow_mut().pop_front() {
                return Poll::Ready(Some(began));
            }
            if plan.is_over(Instant::now()) {
                return Poll::Ready(None);
            }
            // In the place that it had before, however often it is polled.
            self.idle.borrow_mut().insert(ticket.number, context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Does what is to be done by `now`: calls a slot for each unit that is due, and keeps what waits.
    fn tick(&self, plan: &Plan, desk: &Desk, now: Instant) {
        let (mut recorder, at_once) = (desk.recorder.borrow_mut(), plan.units_at_once() as u64);
        let is_over = plan.is_over(now);
        // Slots that were called have taken theirs since the last tick. For these there was none.
        let left_over = if is_over { self.due.take() } else { VecDeque::new() };
        if !plan.is_stopped() {
            self.make_due(now, |due, slot_is_called| recorder.due(due, now, at_once, slot_is_called), plan);
            let waiting = (left_over.len() + self.due.borrow().len()) as u64;
            recorder.backlog(now, waiting * at_once + desk.under_way.get());
        }
        for began in left_over {
            recorder.unfinished(began, now, at_once);
        }
        if is_over {
            self.wake_all();
        }
    }

    /// Makes due what should have begun by `now`, calls a slot for each where one is idle, and tells whether one was.
    fn make_due(&self, now: Instant, mut tell: impl FnMut(Instant, bool), plan: &Plan) {
        let mut due = self.due.borrow_mut();
        while self.next.get() <= now && self.next.get() < plan.window.closes {
            let idle = self.idle.borrow_mut().pop_first();
            tell(self.next.get(), idle.is_some());
            due.push_back(self.next.replace(self.next.get() + self.interval));
            if let Some((_, waker)) = idle {
                waker.wake();
            }
        }
    }

    fn wake_all(&self) {
        for waker in self.idle.take().into_values() {
            waker.wake();
        }
    }
}

/// A slot's place among those that wait. Dropped, it does not wait any more.
struct Ticket<'a> {
    schedule: &'a Schedule,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.schedule.idle.borrow_mut().remove(&self.number);
    }
}

/// How often the clock ticks for units that begin at this interval: at the time of each, and between them where they are far apart.
fn tick_period(interval: Duration) -> Duration {
    let ticks = interval.as_nanos().div_ceil(HEARTBEAT.as_nanos()).max(1);
    // Rounded up: a tick that came a little too early would leave its unit to the next.
    let nanoseconds = u64::try_from(interval.as_nanos().div_ceil(ticks)).unwrap_or(u64::MAX);
    Duration::from_nanos(nanoseconds).max(TICK_MIN)
}

/// The first tick after `now` of those that come every `period`, one of them at `unit`. A clock that ticked at other times than units
/// begin would make each of them late by the difference, and the server would seem slow by it.
fn next_tick(unit: Instant, period: Duration, now: Instant) -> Instant {
    let rest = |time: Duration| {
        Duration::from_nanos(u64::try_from(time.as_nanos() % period.as_nanos()).unwrap_or_default())
    };
    match unit.checked_duration_since(now).map(rest) {
        Some(Duration::ZERO) => now + period,
        Some(until_tick) => now + until_tick,
        None => now + period - rest(now - unit),
    }
}

/// Ticks as long as sessions go on, and keeps how late each tick came: as late as that the worker's own loop was. It goes on
/// beyond the window, for what is measured to its end suffers from a late loop there, too.
///
/// # Errors
///
/// What the kernel's timer says.
pub(crate) async fn keep_time(plan: Arc<Plan>, desk: Rc<Desk>) -> io::Result<Infallible> {
    let (period, first) = match &desk.pace {
        Pace::Closed => (HEARTBEAT, Instant::now()),
        Pace::Open(schedule) => (tick_period(schedule.interval), schedule.next.get()),
    };
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let now = Instant::now();
    let mut expected = next_tick(first, period, now);
    let (delay, period_spec) = (TimeSpec::from_duration(expected - now), TimeSpec::from_duration(period));
    timer.set(Expiration::IntervalDelayed(delay, period_spec), TimerSetTimeFlags::empty())?;
    let timer = Source::new(OwnedFd::from(timer))?;
    loop {
        let mut count = [0; 8];
        timer.io(Interest::Readable, |fd| Ok(nix::unistd::read(fd, &mut count)?)).await?;
        let now = Instant::now();
        let count = u32::try_from(u64::from_ne_bytes(count)).unwrap_or(u32::MAX);
        desk.recorder.borrow_mut().ticked(expected, period, count, now);
        expected += period * count;
        desk.pace.tick(&plan, &desk, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use crate::measure::Window;

    /// A window of ten milliseconds that closed a while ago, and ten units in it.
    fn ten_units() -> (Plan, Desk) {
        let began = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let window = Window::of_starts(began, Duration::ZERO, Duration::from_millis(10));
        let plan = Plan::at_rate(1000.0, window, 4);
        let desk = Desk::new(&plan, Share { index: 0, workers: 1 }, Arc::default());
        (plan, desk)
    }

    #[test]
    fn what_is_due_just_before_the_close_begins_where_a_slot_is_idle() {
        let (plan, desk) = ten_units();
        let mut context = Context::from_waker(Waker::noop());
        let mut idle = pin!(desk.pace.next(&plan));
        assert!(idle.as_mut().poll(&mut context).is_pending());
        desk.pace.tick(&plan, &desk, Instant::now());
        plan.let_end();
        assert_eq!(idle.as_mut().poll(&mut context), Poll::Ready(Some(plan.window.began)));
        desk.pace.tick(&plan, &desk, Instant::now());
        let recorder = desk.recorder.borrow();
        // The others had no slot.
        assert_eq!((recorder.due, recorder.found_all_busy, recorder.unfinished), (10, 9, 9));
        assert_eq!(recorder.backlog_at_close, Some(10));
        // Each waited for the one tick that began it.
        assert_eq!(recorder.lateness.len(), 10);
        assert!(recorder.lateness.min() > 900_000_000, "{}", recorder.lateness.min());
    }

    #[test]
    fn nothing_becomes_due_in_a_run_that_was_stopped() {
        let (plan, desk) = ten_units();
        plan.stop();
        desk.pace.tick(&plan, &desk, Instant::now());
        let recorder = desk.recorder.borrow();
        assert_eq!((recorder.due, recorder.unfinished, recorder.backlog_at_close), (0, 0, None));
    }

    #[test]
    fn the_clock_ticks_when_units_are_due() {
        let began = Instant::now();
        for interval in [100_u64, 4_000, 9_999, 10_000, 27_027, 1_000_000].map(Duration::from_micros) {
            let period = tick_period(interval);
            assert!(period <= HEARTBEAT && period >= TICK_MIN, "{interval:?}");
            assert_eq!(
                period * u32::try_from(interval.as_nanos().div_ceil(period.as_nanos())).unwrap(),
                interval
            );
            for later in [0, 1, 50, 3_999, 123_457].map(Duration::from_micros) {
                let (now, tick) = (began + later, next_tick(began, period, began + later));
                assert!(tick > now && tick <= now + period);
                assert_eq!((tick - began).as_nanos() % period.as_nanos(), 0);
            }
        }
        assert_eq!(tick_period(Duration::from_nanos(1)), TICK_MIN);
        // However far away the first unit is: whoever ends the run does not wait for it.
        assert_eq!(next_tick(began + 5 * HEARTBEAT, HEARTBEAT, began), began + HEARTBEAT);
        assert_eq!(next_tick(began + HEARTBEAT + TICK_MIN, HEARTBEAT, began), began + TICK_MIN);
    }
}
