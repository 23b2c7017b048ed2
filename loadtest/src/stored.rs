//! What a server lets its clients do with what they stored. Many let them store, and nothing else: a drop box.

use crate::client::Control;
use crate::content::Content;
use crate::failure::{Cause, Failure};
use crate::plan::{Plan, Side};
use protocol::command::Command;

/// What may be done with a file that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredRules {
    /// Another may be stored in its place.
    pub(crate) overwrites: bool,
    /// It may be deleted.
    pub(crate) deletes: bool,
    /// It may be fetched.
    pub(crate) sends: bool,
}

impl StoredRules {
    /// What a server is taken for until it was asked.
    pub(crate) const ALL: Self = Self { overwrites: true, deletes: true, sends: true };

    /// Whether each upload takes a name that none had before it: there is no other way to store again.
    pub(crate) fn want_fresh_names(self) -> bool {
        !self.overwrites && !self.deletes
    }

    /// Whether a file has to go before another takes its name.
    pub(crate) fn want_room(self) -> bool {
        !self.overwrites && self.deletes
    }
}

/// Finds them out, with a file of its own.
///
/// # Errors
///
/// If nothing can be stored, or the session fails.
pub(crate) async fn rules(plan: &Plan, side: Side, control: &mut Control) -> Result<StoredRules, Failure> {
    let mut path = plan.endpoint(side).upload_folder.clone();
    // A name that no run had: one may have left its file there for good.
    path.extend_from_slice(format!("{}first-{:x}", plan.upload_prefix(), plan.mark).as_bytes());
    store(control, &path, b'1').await?;
    let overwrites = is_allowed(store(control, &path, b'2').await)?;
    let content = Content::bytes(vec![if overwrites { b'2' } else { b'1' }]);
    let data = control.open_data().await?;
    let sends = match control.retrieve(data, &path, &content).await {
        // Whether it is right what is stored is looked at in the run.
        Err(Failure { cause: Cause::WrongContents(_), .. }) => true,
        fetched => is_allowed(fetched)?,
    };
    let deletes = is_allowed(control.command(&Command::Dele(&path), &[250]).await.map(drop))?;
    Ok(StoredRules { overwrites, deletes, sends })
}

async fn store(control: &mut Control, path: &[u8], byte: u8) -> Result<(), Failure> {
    let data = control.open_data().await?;
    control.store(data, path, 1, |_, piece| piece.fill(byte)).await
}

/// Whether the server did it, or said no.
fn is_allowed(outcome: Result<(), Failure>) -> Result<bool, Failure> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Failure { cause: Cause::Reply { code, .. }, .. }) if code.number() >= 400 => Ok(false),
        Err(failure) => Err(failure),
    }
}
