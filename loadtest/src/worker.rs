//! One worker: a core's thread with its share of the slots.

use std::rc::Rc;
use std::sync::Arc;

use runtime::spawn;

use crate::measure::{Live, Recorder};
use crate::pace::keep_time;
use crate::plan::Plan;
use crate::slot::{Desk, Slot};

/// Which of the workers this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) index: usize,
    pub(crate) workers: usize,
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
    for slot in slots {
        if let Err(error) = slot.await {
            eprintln!("loadtest: a session's task ended: {error}");
        }
    }
    // Its timer may be gone; then there is nothing to say about lateness.
    let _ = clock.await;
    runtime::drained().await;
    let empty = Recorder::new(plan.window, Arc::default());
    desk.recorder.replace(empty)
}
