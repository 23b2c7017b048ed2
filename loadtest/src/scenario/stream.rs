//! Many small transfers in one session: what a mirroring client does.

use std::rc::Rc;

use crate::client::Control;
use crate::failure::Failure;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    let (path, content) = slot.file();
    let mut control = Control::ready(&slot).await?;
    while let Some(unit) = slot.begin().await {
        let data = control.open_data().await?;
        control.retrieve(data, path, content).await?;
        slot.complete(unit);
    }
    control.quit().await
}
