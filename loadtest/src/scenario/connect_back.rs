//! The storm in active mode: every session listens, then all fetch at once, and the server connects to each. Where the
//! connection comes from is looked at, and what it brings.

use std::rc::Rc;

use super::storm;
use crate::client::{Control, DataEnd, DataListener};
use crate::failure::Failure;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    storm::rounds(slot, get_ready, go).await
}

async fn get_ready(slot: &Rc<Slot>) -> Result<(Control, DataListener), Failure> {
    let mut control = Control::ready(slot).await?;
    let listener = control.listen_data().await?;
    Ok((control, listener))
}

async fn go(slot: &Rc<Slot>, (mut control, listener): (Control, DataListener)) -> Result<(), Failure> {
    let (path, content) = slot.file();
    control.retrieve(DataEnd::Listening(listener), path, content).await?;
    control.quit().await
}
