//! A slot: one of the sessions that are had at once. It runs sessions of its scenario one after another.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use runtime::sleep_until;

use crate::content::Content;
use crate::failure::{Cause, Failure};
use crate::gate::Gate;
use crate::limits::takes_sources;
use crate::measure::{Live, Recorder, Step};
use crate::pace::Pace;
use crate::plan::{Plan, Side};
use crate::random::Random;
use crate::worker::Share;

/// What a slot waits after a failure before it tries again; doubled with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What the slots of one worker share.
pub(crate) struct Desk {
    pub(crate) recorder: RefCell<Recorder>,
    pub(crate) pace: Pace,
    /// Units that have begun and not ended.
    pub(crate) under_way: Cell<u64>,
    /// Passed by sessions that get ready for a storm.
    pub(crate) getting_ready: Gate,
    /// Passed by data connections of a storm.
    pub(crate) transferring: Gate,
}

impl Desk {
    /// A worker's part of `plan`.
    pub(crate) fn new(plan: &Plan, share: Share, live: Arc<Live>) -> Self {
        Self {
            recorder: RefCell::new(Recorder::new(plan.window, live)),
            pace: Pace::new(plan, share),
            under_way: Cell::new(0),
            getting_ready: Gate::new(plan.ready_at_once / share.workers),
            transferring: Gate::new(plan.data_connections_max.div_ceil(share.workers)),
        }
    }
}

/// One of the sessions that are had at once.
pub(crate) struct Slot {
    pub(crate) plan: Arc<Plan>,
    pub(crate) desk: Rc<Desk>,
    /// From 0, over all workers.
    pub(crate) number: usize,
    source: Option<IpAddr>,
    pub(crate) random: Random,
    /// Units begun so far.
    pub(crate) begun: Cell<u64>,
    /// When the units under way began, and how many of them are not complete.
    under_way: Cell<Option<(Instant, u64)>>,
    step: Cell<Step>,
    touched: Cell<Instant>,
    /// Nothing is asked of the server: no time runs out.
    waits: Cell<bool>,
    is_unmeasured: Cell<bool>,
    /// How many files of it may be at either server.
    leaves_files: [Cell<u64>; 2],
}

/// A slot that is gone with its unit was not waited for, and its files stay where they are.
impl Drop for Slot {
    fn drop(&mut self) {
        self.leave_unfinished();
        let files = self.leaves_files.iter().map(Cell::get).sum::<u64>();
        self.desk.recorder.borrow_mut().files_left += files;
    }
}

/// A unit that was begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    /// When; at a given rate, when it should have begun.
    pub(crate) began: Instant,
}

impl Slot {
    pub(crate) fn new(plan: Arc<Plan>, desk: Rc<Desk>, number: usize) -> Self {
        let source = (!plan.sources.is_empty()).then(|| plan.sources[number % plan.sources.len()]);
        let random = Random::new(plan.seed ^ (number as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
        Self {
            plan,
            desk,
            number,
            source,
            random,
            begun: Cell::new(0),
            under_way: Cell::new(None),
            step: Cell::new(Step::Connect),
            touched: Cell::new(Instant::now()),
            waits: Cell::new(false),
            is_unmeasured: Cell::new(false),
            leaves_files: Default::default(),
        }
    }

    /// The address to come from to that one; the kernel's choice where it is on another machine or of another family.
    pub(crate) fn source_for(&self, address: SocketAddr) -> Option<IpAddr> {
        self.source.filter(|_| takes_sources(address))
    }

    /// Waits for the next unit's turn; `None` once the run is over.
    pub(crate) async fn begin(&self) -> Option<Unit> {
        if self.plan.is_stopped() {
            return None;
        }
        self.waits.set(true);
        let began = self.desk.pace.next(&self.plan).await;
        self.waits.set(false);
        self.touch(Instant::now());
        self.begun.set(self.begun.get() + u64::from(began.is_some()));
        self.set_under_way(began.map(|began| (began, self.plan.units_at_once() as u64)));
        began.map(|began| Unit { began })
    }

    /// Begins a unit without waiting for a turn.
    pub(crate) fn begin_now(&self) -> Unit {
        self.begun.set(self.begun.get() + 1);
        Unit { began: Instant::now() }
    }

    /// Whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        self.plan.is_over(Instant::now())
    }

    /// A unit is complete; whether it counts.
    pub(crate) fn complete(&self, unit: Unit) -> bool {
        let now = Instant::now();
        self.touch(now);
        let left = self.under_way.get().filter(|&(_, left)| left > 1);
        self.set_under_way(left.map(|(began, left)| (began, left - 1)));
        self.desk.recorder.borrow_mut().unit(unit.began, now)
    }

    /// A step begins now.
    pub(crate) fn at(&self, step: Step) -> Instant {
        let now = Instant::now();
        self.step.set(step);
        self.touched.set(now);
        now
    }

    /// A step that began at `began` is done.
    pub(crate) fn done(&self, step: Step, began: Instant) {
        let now = Instant::now();
        self.touched.set(now);
        if !self.is_unmeasured.get() {
            self.desk.recorder.borrow_mut().step(step, began, now);
        }
    }

    pub(crate) fn touch(&self, now: Instant) {
        self.touched.set(now);
    }

    /// Bytes of files were moved.
    pub(crate) fn moved(&self, bytes: u64) {
        if !self.is_unmeasured.get() {
            self.desk.recorder.borrow_mut().bytes(bytes, self.touched.get());
        }
    }

    pub(crate) fn remark(&self, name: &'static str) {
        self.desk.recorder.borrow_mut().remark(name, 1);
    }

    /// There may be another file of this slot's at that server from now on, or the one of the name that it always has.
    pub(crate) fn leaves_a_file(&self, side: Side) {
        let files = &self.leaves_files[side as usize];
        let before = if self.plan.endpoint(side).stored.want_fresh_names() { files.get() } else { 0 };
        files.set(before + 1);
    }

    /// It was deleted.
    pub(crate) fn leaves_no_file(&self, side: Side) {
        self.leaves_files[side as usize].set(0);
    }

    /// Whether there may be one.
    pub(crate) fn may_have_a_file(&self, side: Side) -> bool {
        self.leaves_files[side as usize].get() > 0
    }

    /// A unit, or the way to it, failed.
    pub(crate) fn record(&self, failure: &Failure) {
        self.desk.recorder.borrow_mut().failure(failure, Instant::now());
    }

    /// What is under way from now on; what was until then.
    fn set_under_way(&self, units: Option<(Instant, u64)>) -> Option<(Instant, u64)> {
        let before = self.under_way.replace(units);
        let count = |units: Option<(Instant, u64)>| units.map_or(0, |(_, left)| left);
        self.desk.under_way.set(self.desk.under_way.get() + count(units) - count(before));
        before
    }

    /// What is under way has come to its end, and units that are not complete never will be.
    fn leave_unfinished(&self) {
        if let Some((began, left)) = self.set_under_way(None) {
            self.desk.recorder.borrow_mut().unfinished(began, Instant::now(), left);
        }
    }

    /// A failure of the current step.
    pub(crate) fn failed(&self, cause: impl Into<Cause>) -> Failure {
        Failure { step: self.step.get(), cause: cause.into() }
    }

    /// The file that this slot fetches.
    pub(crate) fn file(&self) -> (&[u8], &Content) {
        self.file_at(Side::Server)
    }

    /// The file that it fetches from that server.
    pub(crate) fn file_at(&self, side: Side) -> (&[u8], &Content) {
        let files = &self.plan.endpoint(side).files;
        let (path, content) = &files[self.number % files.len()];
        (path, content)
    }

    /// Does something with the server that is not measured.
    pub(crate) async fn unmeasured<T>(&self, what: impl Future<Output = T>) -> T {
        self.is_unmeasured.set(true);
        let result = what.await;
        self.is_unmeasured.set(false);
        result
    }

    /// Waits for something else than the server, for which no time runs out.
    pub(crate) async fn unhurried<T>(&self, waited_for: impl Future<Output = T>) -> T {
        self.waits.set(true);
        let result = waited_for.await;
        self.waits.set(false);
        self.touch(Instant::now());
        result
    }

    /// Runs sessions until the run is over, whatever fails.
    pub(crate) async fn run<F>(self: Rc<Self>, session: impl Fn(Rc<Self>) -> F)
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let mut pause = PAUSE_MIN;
        loop {
            let begun = self.begun.get();
            // The session before may have been cut off in the middle of what is not measured.
            self.is_unmeasured.set(false);
            let live = Arc::clone(&self.desk.recorder.borrow().live);
            live.sessions.fetch_add(1, Ordering::Relaxed);
            let outcome = Box::pin(self.within_time(session(Rc::clone(&self)))).await;
            live.sessions.fetch_sub(1, Ordering::Relaxed);
            let Err(failure) = outcome else { return };
            let now = Instant::now();
            self.record(&failure);
            // A failure has its place among the errors; one that nothing came of has waited, too.
            if matches!(failure.cause, Cause::TimedOut) {
                self.leave_unfinished();
            }
            self.set_under_way(None);
            if self.is_over() {
                return;
            }
            let units = self.begun.get() - begun;
            // The schedule alone says when the next unit begins: what is due while a slot pauses would seem slow by that.
            if units > 0 && self.plan.rate.is_some() {
                continue;
            }
            // One that failed in the middle of its life comes back soon; one that cannot even begin leaves the server be.
            pause = if units > 1 { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            sleep_until(now + pause).await;
        }
    }

    /// Runs one session, whatever comes of it.
    pub(crate) async fn run_once<F>(self: Rc<Self>, session: impl FnOnce(Rc<Self>) -> F)
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let live = Arc::clone(&self.desk.recorder.borrow().live);
        live.sessions.fetch_add(1, Ordering::Relaxed);
        let outcome = Box::pin(self.within_time(session(Rc::clone(&self)))).await;
        live.sessions.fetch_sub(1, Ordering::Relaxed);
        if let Err(failure) = outcome {
            self.record(&failure);
        }
    }

    /// Runs a session that is no part of a load: there is no run whose end would end it.
    pub(crate) async fn within_all_time<T>(
        &self,
        session: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = self.plan.time_to_end();
        let (mut session, mut end) = (pin!(session), pin!(sleep_until(Instant::now() + limit)));
        let bounded = std::future::poll_fn(|context| {
            if let Poll::Ready(outcome) = session.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            end.as_mut().poll(context).map(|()| Err(self.failed(Cause::TooLong(limit))))
        });
        self.within_time(bounded).await
    }

    /// Runs a session, or a part of one, until nothing has happened in it for too long.
    pub(crate) async fn within_time<T>(
        &self,
        session: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.touch(Instant::now());
        let mut session = pin!(session);
        let timeout = self.plan.timeout;
        let mut alarm: Pin<Box<dyn Future<Output = ()>>> = Box::pin(sleep_until(Instant::now() + timeout));
        std::future::poll_fn(|context| {
            if let Poll::Ready(outcome) = session.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            loop {
                ready!(alarm.as_mut().poll(context));
                let (now, deadline) = (Instant::now(), self.touched.get() + timeout);
                if now >= deadline && !self.waits.get() {
                    return Poll::Ready(Err(self.failed(Cause::TimedOut)));
                }
                let next = if self.waits.get() { now + timeout } else { deadline };
                alarm = Box::pin(sleep_until(next));
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Window;

    /// Of two servers that exchange files one may be on this machine and the other not.
    #[test]
    fn an_address_of_loopback_is_for_servers_on_loopback() {
        let window = Window::new(Instant::now(), Duration::ZERO, Duration::ZERO);
        let mut plan = Plan::at_rate(1.0, window, 1);
        let source = IpAddr::from([127, 0, 1, 1]);
        plan.sources = vec![source];
        let plan = Arc::new(plan);
        let desk = Rc::new(Desk::new(&plan, Share { index: 0, workers: 1 }, Arc::default()));
        let slot = Slot::new(plan, desk, 0);
        assert_eq!(slot.source_for(SocketAddr::from(([127, 0, 0, 1], 21))), Some(source));
        assert_eq!(slot.source_for(SocketAddr::from(([192, 0, 2, 1], 21))), None);
        assert_eq!(slot.source_for(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 21))), None);
    }
}
