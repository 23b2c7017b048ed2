//! Big files, one after another in one session.

use std::rc::Rc;

use crate::failure::Failure;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    // The same dialogue; what differs is the file.
    super::stream::session(slot).await
}
