//! Listings of a big directory, one after another in one session.

use std::ops::ControlFlow;
use std::rc::Rc;

use protocol::command::{Command, ListArgument};

use crate::client::Control;
use crate::failure::{Cause, Failure};
use crate::plan::Listed;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    let mut control = Control::ready(&slot).await?;
    while let Some(unit) = slot.begin().await {
        once(&slot, &mut control).await?;
        slot.complete(unit);
    }
    control.quit().await
}

pub(super) async fn once(slot: &Rc<Slot>, control: &mut Control) -> Result<(), Failure> {
    let listed = &slot.plan.listed;
    let lines = listing(control, listed).await?;
    match listed.lines {
        Some(expected) if lines != expected => {
            Err(slot
                .failed(Cause::WrongContents(format!("a listing of {lines} lines instead of {expected}"))))
        }
        _ => Ok(()),
    }
}

/// Lists, and counts the lines.
pub(crate) async fn listing(control: &mut Control, listed: &Listed) -> Result<u64, Failure> {
    let path = (!listed.path.is_empty()).then_some(listed.path.as_slice());
    let command =
        if listed.by_list { Command::List(ListArgument { all: false, path }) } else { Command::Mlsd(path) };
    let data = control.open_data().await?;
    let mut lines = 0;
    let count = |piece: &[u8]| {
        lines += piece.iter().filter(|&&byte| byte == b'\n').count() as u64;
        ControlFlow::Continue(())
    };
    control.download(data, &command, count).await?;
    Ok(lines)
}
