//! Connect, log in, quit.

use std::rc::Rc;

use crate::client::Control;
use crate::failure::Failure;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    while let Some(unit) = slot.begin().await {
        once(&slot).await?;
        slot.complete(unit);
    }
    Ok(())
}

pub(super) async fn once(slot: &Rc<Slot>) -> Result<(), Failure> {
    let mut control = Control::open(slot).await?;
    control.login().await?;
    control.quit().await
}
