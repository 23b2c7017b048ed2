//! Sessions that are logged in and silent. At the end each is asked whether it still lives.

use std::rc::Rc;

use protocol::command::Command;
use runtime::sleep_until;

use crate::client::Control;
use crate::failure::Failure;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    let Some(unit) = slot.begin().await else { return Ok(()) };
    let entering = slot.unhurried(slot.desk.getting_ready.enter()).await;
    let mut control = Control::open(&slot).await?;
    control.login().await?;
    drop(entering);
    slot.complete(unit);
    slot.unhurried(sleep_until(slot.plan.window.closes)).await;
    control.command(&Command::Noop, &[200]).await?;
    control.quit().await
}
