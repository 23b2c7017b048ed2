//! Round trips of the control connection, one at a time or pipelined.

use std::rc::Rc;

use protocol::command::Command;

use crate::client::Control;
use crate::failure::Failure;
use crate::measure::Step;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    let mut control = Control::open(&slot).await?;
    control.login().await?;
    let mut batch = Vec::new();
    for _ in 0..slot.plan.pipeline {
        Command::Noop.encode(&mut batch);
    }
    while let Some(unit) = slot.begin().await {
        let began = slot.at(Step::Command);
        control.send_batch(&batch).await?;
        for _ in 0..slot.plan.pipeline {
            control.expect(&[200]).await?;
            slot.complete(unit);
        }
        slot.done(Step::Command, began);
    }
    control.quit().await
}
