//! What storms have in common: rounds in which every slot gets ready, a few at a time, and then all go at once.

use std::rc::Rc;
use std::time::Instant;

use crate::failure::Failure;
use crate::slot::Slot;

/// Runs rounds until the run is over. One that failed at getting ready still comes to the meeting, so that the others
/// need not wait for it.
pub(super) async fn rounds<R>(
    slot: Rc<Slot>,
    get_ready: impl AsyncFn(&Rc<Slot>) -> Result<R, Failure>,
    go: impl AsyncFn(&Rc<Slot>, R) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let ready = {
            let _inside = slot.unhurried(slot.desk.getting_ready.enter()).await;
            // A run that was given up ends soon: nobody waits out what the server does not answer.
            if slot.plan.is_stopped() { None } else { Some(slot.within_time(get_ready(&slot)).await) }
        };
        let all_go = || {
            // Else nobody got ready.
            if !slot.plan.is_stopped() {
                slot.plan.storms.begin(Instant::now());
            }
            true
        };
        slot.unhurried(slot.plan.rendezvous.meet(all_go)).await;
        let outcome = match ready {
            None => Ok(()),
            Some(Ok(ready)) => {
                let _inside = slot.unhurried(slot.desk.transferring.enter()).await;
                let unit = slot.begin_now();
                let outcome = slot.within_time(go(&slot, ready)).await;
                if outcome.is_ok() {
                    slot.complete(unit);
                }
                outcome
            }
            Some(Err(failure)) => Err(failure),
        };
        if let Err(failure) = outcome {
            slot.record(&failure);
        }
        let goes_on = slot.plan.rendezvous.meet(|| {
            let now = Instant::now();
            slot.plan.storms.end(now);
            !slot.plan.is_over(now)
        });
        if !slot.unhurried(goes_on).await {
            return Ok(());
        }
    }
}
