//! Connect, log in, fetch a small file, quit: what a client does that was started for one file.

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
    let (path, content) = slot.file();
    let mut control = Control::ready(slot).await?;
    let data = control.open_data().await?;
    control.retrieve(data, path, content).await?;
    control.quit().await
}
