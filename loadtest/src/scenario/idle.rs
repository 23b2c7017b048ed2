//! Sessions that are logged in and silent. When all are, the server's memory is looked at; then each is asked whether it
//! still lives.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use protocol::command::Command;
use runtime::sleep_until;

use crate::client::Control;
use crate::failure::Failure;
use crate::slot::Slot;

/// How often a session looks whether the server's memory was looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    let entering = slot.unhurried(slot.desk.getting_ready.enter()).await;
    if slot.plan.is_stopped() {
        return Ok(());
    }
    let unit = slot.begin_now();
    let mut control = Control::open(&slot).await?;
    control.login().await?;
    drop(entering);
    slot.complete(unit);
    slot.unhurried(until_looked_at(&slot)).await;
    control.command(&Command::Noop, &[200]).await?;
    control.quit().await
}

async fn until_looked_at(slot: &Slot) {
    while !slot.plan.looked_at.load(Ordering::Relaxed) && !slot.plan.is_stopped() {
        sleep_until(Instant::now() + LOOK_AGAIN).await;
    }
}
