//! The passive storm: every session holds a passive port that is not yet used, then all connect and fetch at once. Each
//! gets another file where there are several, so that a data connection that reached the wrong session is noticed.

use std::net::SocketAddr;
use std::rc::Rc;

use super::storm;
use crate::client::{Control, DataEnd};
use crate::failure::Failure;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    storm::rounds(slot, get_ready, go).await
}

async fn get_ready(slot: &Rc<Slot>) -> Result<(Control, SocketAddr), Failure> {
    let mut control = Control::ready(slot).await?;
    let address = control.passive().await?;
    Ok((control, address))
}

async fn go(slot: &Rc<Slot>, (mut control, address): (Control, SocketAddr)) -> Result<(), Failure> {
    let (path, content) = slot.file();
    let stream = control.connect_data(address).await?;
    control.retrieve(DataEnd::Connected(stream), path, content).await?;
    control.quit().await
}
