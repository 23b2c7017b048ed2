//! A first session, before the load: does the server answer, what does it know, what is in the file?

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use protocol::command::Command;
use sha2::{Digest, Sha256};

use crate::client::Control;
use crate::content::Content;
use crate::failure::{Cause, Failure};
use crate::plan::{DataMode, Listed, Plan, Side};
use crate::scenario::listing;
use crate::slot::{Desk, Slot};
use crate::worker::Share;

/// A file up to this size is compared byte by byte, a longer one by its hash.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// What the first sessions found.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) data: DataMode,
    /// What the first of the files contains.
    pub(crate) content: Option<Content>,
    /// What the other server's first file contains.
    pub(crate) other_content: Option<Content>,
    pub(crate) listed: Listed,
    /// Whether the server tells the SHA-256 of a file, and whether the other one does.
    pub(crate) tells_hashes: bool,
    pub(crate) other_tells_hashes: bool,
}

/// A slot that is not part of any load.
fn lone_slot(plan: &Arc<Plan>) -> Rc<Slot> {
    let desk = Rc::new(Desk::new(plan, Share { index: 0, workers: 1 }, Arc::default()));
    Rc::new(Slot::new(Arc::clone(plan), desk, 0))
}

/// Logs in and does once what the scenario needs.
pub(crate) async fn probe(plan: Arc<Plan>) -> Result<Probed, Failure> {
    let slot = lone_slot(&plan);
    let session = async {
        if !(plan.scenario.fetches() || plan.scenario.lists() || plan.scenario.stores()) {
            let mut control = Control::open(&slot).await?;
            control.login().await?;
            control.quit().await?;
            let listed = plan.listed.clone();
            return Ok(Probed {
                data: plan.data,
                content: None,
                other_content: None,
                listed,
                tells_hashes: false,
                other_tells_hashes: false,
            });
        }
        let mut control = Control::ready(&slot).await?;
        let data = known_mode(&plan, &mut control).await?;
        control.prefer(data);
        let content = if plan.scenario.fetches() {
            Some(contents(&plan, Side::Server, &mut control).await?)
        } else {
            None
        };
        let listed =
            if plan.scenario.lists() { listed(&plan, &mut control).await? } else { plan.listed.clone() };
        let tells_hashes = plan.scenario.stores() && can_tell_hashes(&mut control).await?;
        control.quit().await?;
        let mut probed =
            Probed { data, content, other_content: None, listed, tells_hashes, other_tells_hashes: false };
        if plan.scenario.has_two_servers() {
            let mut control = Control::ready_at(&slot, Side::Other).await?;
            // Both have to know how data connections are asked for.
            control.prefer(probed.data);
            if probed.data == DataMode::Epsv {
                probed.data = known_mode(&plan, &mut control).await?;
                control.prefer(probed.data);
            }
            probed.other_content = Some(contents(&plan, Side::Other, &mut control).await?);
            probed.other_tells_hashes = can_tell_hashes(&mut control).await?;
            control.quit().await?;
        }
        Ok(probed)
    };
    slot.within_all_time(session).await
}

/// `EPSV` where the server knows it.
async fn known_mode(plan: &Plan, control: &mut Control) -> Result<DataMode, Failure> {
    if plan.data == DataMode::Pasv {
        return Ok(DataMode::Pasv);
    }
    match control.passive().await {
        Ok(_) => Ok(DataMode::Epsv),
        Err(failure) if is_unknown(&failure) => Ok(DataMode::Pasv),
        Err(failure) => Err(failure),
    }
}

/// Whether the server says of itself that it knows `HASH` with SHA-256 (draft-bryan-ftpext-hash). One that does not is not asked to: some
/// hang up on an `OPTS` that they do not know.
async fn can_tell_hashes(control: &mut Control) -> Result<bool, Failure> {
    control.send(&Command::Feat).await?;
    control
        .reply(|reply| {
            let mut names = reply.lines().filter_map(|line| {
                let line = line.trim_ascii().to_ascii_uppercase();
                line.strip_prefix(b"HASH ").map(<[u8]>::to_vec)
            });
            reply.code.number() == 211 && names.any(|names| is_among(&names, b"SHA-256"))
        })
        .await
}

/// Whether a name is in such a list: `SHA-1;SHA-256*;SHA-512`, the one that is chosen with an asterisk.
fn is_among(names: &[u8], name: &[u8]) -> bool {
    names
        .split(|&byte| byte == b';')
        .any(|one| one.trim_ascii().strip_suffix(b"*").unwrap_or(one.trim_ascii()) == name)
}

fn is_unknown(failure: &Failure) -> bool {
    matches!(&failure.cause, Cause::Reply { code, .. } if [500, 502].contains(&code.number()))
}

async fn contents(plan: &Plan, side: Side, control: &mut Control) -> Result<Content, Failure> {
    let path = &plan.endpoint(side).files[0].0;
    let data = control.open_data().await?;
    let (mut kept, mut hash, mut length) = (Vec::new(), Sha256::new(), 0);
    let take = |bytes: &[u8]| {
        length += bytes.len() as u64;
        hash.update(bytes);
        if kept.len() <= KEPT_BYTES_MAX {
            kept.extend_from_slice(bytes);
        }
        ControlFlow::Continue(())
    };
    control.download(data, &Command::Retr(path), take).await?;
    if kept.len() as u64 == length {
        return Ok(Content::bytes(kept));
    }
    Ok(Content::Digest { length, sha256: hash.finalize().into() })
}

async fn listed(plan: &Plan, control: &mut Control) -> Result<Listed, Failure> {
    let mut listed = plan.listed.clone();
    let found = match listing(control, &listed).await {
        Err(failure) if is_unknown(&failure) => {
            listed.by_list = true;
            listing(control, &listed).await?
        }
        found => found?,
    };
    (listed.lines, listed.bytes) = (Some(found.lines), Some(found.bytes));
    Ok(listed)
}

/// Whether an abandoned file is in the directory that is stored into; `None` where the server does not list it, as many do with
/// an empty one.
pub(crate) async fn published(plan: Arc<Plan>) -> Result<Option<bool>, Failure> {
    let slot = lone_slot(&plan);
    let session = async {
        let mut control = Control::ready(&slot).await?;
        let data = control.open_data().await?;
        let folder = &plan.server.upload_folder;
        let folder = folder.strip_suffix(b"/").unwrap_or(folder);
        let path = (!folder.is_empty()).then_some(folder);
        let prefix = plan.abandoned_prefix().into_bytes();
        // Of the names no more is kept than may be the beginning of such a one.
        let (mut is_there, mut end) = (false, Vec::new());
        let argument = protocol::command::ListArgument { all: true, path };
        let look = |bytes: &[u8]| {
            end.extend_from_slice(bytes);
            is_there |= end.windows(prefix.len()).any(|name| name == prefix);
            end.drain(..end.len().saturating_sub(prefix.len() - 1));
            ControlFlow::Continue(())
        };
        let is_listed = match control.download(data, &Command::Nlst(argument), look).await {
            Err(Failure { cause: Cause::Reply { code, .. }, .. }) if matches!(code.number(), 450 | 550) => {
                false
            }
            listed => listed.map(|()| true)?,
        };
        control.quit().await?;
        Ok(is_listed.then_some(is_there))
    };
    slot.within_all_time(session).await
}
