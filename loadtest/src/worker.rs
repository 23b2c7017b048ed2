//! One worker: a core's thread with its share of the slots.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::{Task, TaskError, sleep_until, spawn};

use crate::measure::{Live, Recorder};
use crate::pace::keep_time;
use crate::plan::Plan;
use crate::slot::{Desk, Slot};

/// How often it is looked whether the run's time is over and the sessions have come to their end.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Which of the workers this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) index: usize,
    pub(crate) workers: usize,
}

impl Share {
    /// How many of the slots are its own.
    pub(crate) fn slots(self, sessions: usize) -> usize {
        sessions.saturating_sub(self.index).div_ceil(self.workers)
    }
}

/// Runs the slots of one worker to the end of the run.
pub(crate) async fn work(plan: Arc<Plan>, share: Share, live: Arc<Live>) -> Recorder {
    let desk = Rc::new(Desk::new(&plan, share, live));
    let clock = spawn(keep_time(Arc::clone(&plan), Rc::clone(&desk)));
    let slots: Vec<_> = (share.index..plan.sessions)
        .step_by(share.workers)
        .map(|number| {
            let slot = Rc::new(Slot::new(Arc::clone(&plan), Rc::clone(&desk), number));
            spawn(plan.scenario.run(slot))
        })
        .collect();
    while !(plan.is_over(Instant::now()) && slots.iter().all(Task::is_finished)) {
        if plan.is_abandoned() {
            slots.iter().for_each(Task::abort);
        }
        sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
    // It ticks for the sessions. Its timer may be gone; then there is nothing to say about lateness.
    clock.abort();
    let _ = clock.await;
    for slot in slots {
        match slot.await {
            Ok(()) => {}
            Err(TaskError::Aborted) if plan.is_abandoned() => {}
            Err(error) => eprintln!("loadtest: a session's task ended: {error}"),
        }
    }
    // What was due since the last tick is not lost.
    desk.pace.tick(&plan, &desk, Instant::now());
    runtime::drained().await;
    let empty = Recorder::new(plan.window, Arc::default());
    desk.recorder.replace(empty)
}
