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

/// What a listing may have beyond the bytes of the first one: sizes, times and owners vary in length.
const SURPLUS_BYTES: u64 = 64 * 1024;

pub(super) async fn once(slot: &Rc<Slot>, control: &mut Control) -> Result<(), Failure> {
    let listed = &slot.plan.listed;
    let came = listing(control, listed).await?;
    let what = match (listed.lines, came.is_whole) {
        (Some(expected), true) if came.lines != expected => {
            format!("a listing of {} lines instead of {expected}", came.lines)
        }
        (Some(expected), false) => format!("a listing that goes on beyond its {expected} lines"),
        _ => return Ok(()),
    };
    Err(slot.failed(Cause::WrongContents(what)))
}

/// A listing that came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CameAsListing {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// It came to its end. It is left where there is more than was expected, for a server may send without end.
    is_whole: bool,
}

/// Lists, and counts.
pub(crate) async fn listing(control: &mut Control, listed: &Listed) -> Result<CameAsListing, Failure> {
    let path = (!listed.path.is_empty()).then_some(listed.path.as_slice());
    let command =
        if listed.by_list { Command::List(ListArgument { all: false, path }) } else { Command::Mlsd(path) };
    let data = control.open_data().await?;
    let lines_max = listed.lines.unwrap_or(u64::MAX);
    let bytes_max = listed.bytes.map_or(u64::MAX, |bytes| 2 * bytes + SURPLUS_BYTES);
    let mut came = CameAsListing { lines: 0, bytes: 0, is_whole: true };
    let count = |piece: &[u8]| {
        came.lines += piece.iter().filter(|&&byte| byte == b'\n').count() as u64;
        came.bytes += piece.len() as u64;
        if came.lines > lines_max || came.bytes > bytes_max {
            came.is_whole = false;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    control.download(data, &command, count).await?;
    Ok(came)
}
