//! The deadlines of one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

/// One deadline among the others of its thread, in the order in which they fire.
pub(crate) type Timer = (Instant, u64);

/// Who is to be woken when.
#[derive(Default)]
pub(crate) struct Timers {
    waiting: RefCell<BTreeMap<Timer, Waker>>,
    set: Cell<u64>,
    /// The moment up to which all have fired.
    fired: Cell<Option<Instant>>,
    /// When the thread last went on after it had stood still.
    went_on: Cell<Option<Instant>>,
}

/// A timer that fires this much too late says that its thread stood still: the process was stopped, or its machine.
const STOOD_STILL: Duration = Duration::from_secs(1);

impl Timers {
    pub(crate) fn set(&self, deadline: Instant, waker: Waker) -> Timer {
        let timer = (deadline, self.set.get());
        self.set.set(timer.1 + 1);
        self.waiting.borrow_mut().insert(timer, waker);
        timer
    }

    /// The timer is to wake somebody else, if it has not fired yet.
    pub(crate) fn change(&self, timer: Timer, waker: &Waker) {
        if let Some(known) = self.waiting.borrow_mut().get_mut(&timer) {
            known.clone_from(waker);
        }
    }

    /// Whether timers with this deadline have fired.
    pub(crate) fn have_fired(&self, deadline: Instant) -> bool {
        self.fired.get().is_some_and(|fired| deadline <= fired)
    }

    pub(crate) fn unset(&self, timer: Timer) {
        self.waiting.borrow_mut().remove(&timer);
    }

    /// When the next one fires.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.borrow().first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    /// When the thread last went on after it had stood still, if that was later than `deadline`: whoever had that deadline may have
    /// done his part, and was not heard.
    pub(crate) fn went_on_after(&self, deadline: Instant) -> Option<Instant> {
        self.went_on.get().filter(|went_on| *went_on > deadline)
    }

    /// Wakes those whose time has come.
    pub(crate) fn fire(&self, now: Instant) {
        let looked_before = self.fired.replace(Some(now));
        // One that was set when its time was over already is late by no fault of the thread.
        let due = self.next().map(|first| looked_before.map_or(first, |before| first.max(before)));
        if due.is_some_and(|due| now.saturating_duration_since(due) >= STOOD_STILL) {
            self.went_on.set(Some(now));
        }
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_fires_once_in_its_time() {
        let (timers, now) = (Timers::default(), Instant::now());
        let woken: [Arc<Woken>; 3] = Default::default();
        let after = |seconds| now + Duration::from_secs(seconds);
        let wakers = woken.clone().map(Waker::from);
        let late = timers.set(after(2), wakers[1].clone());
        timers.change(late, &wakers[0]);
        let soon = timers.set(after(1), wakers[1].clone());
        timers.set(after(1), wakers[2].clone());
        let never = timers.set(after(1), wakers[2].clone());
        timers.unset(never);
        assert_eq!(timers.next(), Some(after(1)));
        timers.fire(now);
        timers.fire(after(1));
        timers.fire(after(1));
        assert!(timers.have_fired(after(1)) && !timers.have_fired(after(2)));
        timers.change(soon, &wakers[0]);
        assert_eq!(woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed)), [0, 1, 1]);
        timers.fire(after(2));
        assert_eq!((woken[0].0.load(Ordering::Relaxed), timers.next()), (1, None));
    }

    #[test]
    fn a_thread_that_stood_still_is_known_by_its_late_timers() {
        let (timers, now) = (Timers::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let waker = Waker::from(Arc::<Woken>::default());
        timers.set(after(5), waker.clone());
        timers.fire(after(5) + STOOD_STILL / 2);
        assert_eq!(timers.went_on_after(after(5)), None);
        timers.set(after(10), waker);
        timers.fire(after(20));
        assert_eq!(timers.went_on_after(after(10)), Some(after(20)));
        assert_eq!(timers.went_on_after(after(20)), None, "that is another one's time");
        timers.set(after(1), Waker::from(Arc::<Woken>::default()));
        timers.fire(after(20) + STOOD_STILL / 2);
        assert_eq!(timers.went_on_after(after(20)), None, "it was set too late");
    }
}
