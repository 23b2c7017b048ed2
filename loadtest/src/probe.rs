//! A first session, before the load: does the server answer, what does it know, what is in the file?

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use protocol::command::{Command, ListArgument};
use protocol::line::LINE_BYTES_MAX;

use crate::client::{Control, DataEnd};
use crate::content::{Content, Fetched};
use crate::failure::{Cause, Failure};
use crate::plan::{DataMode, Listed, Plan, Side};
use crate::scenario::listing;
use crate::slot::{Desk, Slot};
use crate::stored::{StoredRules, rules};
use crate::worker::Share;

/// What the first sessions found.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) data: DataMode,
    pub(crate) listed: Listed,
    pub(crate) server: ProbedServer,
    /// The other server, where there is one.
    pub(crate) other: Option<ProbedServer>,
}

/// What one of them found.
#[derive(Debug)]
pub(crate) struct ProbedServer {
    /// What the first of its files contains.
    pub(crate) content: Option<Content>,
    /// Whether it tells the SHA-256 of a file.
    pub(crate) tells_hashes: bool,
    pub(crate) stored: StoredRules,
}

/// A slot that is not part of any load.
fn lone_slot(plan: &Arc<Plan>) -> Rc<Slot> {
    let desk = Rc::new(Desk::new(plan, Share { index: 0, workers: 1 }, Arc::default()));
    Rc::new(Slot::new(Arc::clone(plan), desk, 0))
}

/// Logs in and does once what the scenario needs.
///
/// # Errors
///
/// What failed, and with which of the servers.
pub(crate) async fn probe(plan: Arc<Plan>) -> Result<Probed, (Side, Failure)> {
    let slot = lone_slot(&plan);
    let session = first_session(&plan, &slot);
    let (mut data, listed, server) =
        slot.within_all_time(session).await.map_err(|failure| (Side::Server, failure))?;
    let mut other = None;
    if plan.scenario.has_two_servers() {
        let session = other_session(&plan, &slot, data);
        let (common, probed) =
            slot.within_all_time(session).await.map_err(|failure| (Side::Other, failure))?;
        (data, other) = (common, Some(probed));
    }
    Ok(Probed { data, listed, server, other })
}

async fn first_session(plan: &Plan, slot: &Rc<Slot>) -> Result<(DataMode, Listed, ProbedServer), Failure> {
    if !(plan.scenario.fetches() || plan.scenario.lists() || plan.scenario.stores()) {
        let mut control = Control::open(slot).await?;
        control.login().await?;
        control.quit().await?;
        let server = ProbedServer { content: None, tells_hashes: false, stored: StoredRules::ALL };
        return Ok((plan.data, plan.listed.clone(), server));
    }
    let mut control = Control::ready(slot).await?;
    let data = known_mode(plan, &mut control).await?;
    control.prefer(data);
    let server = ask(plan, Side::Server, &mut control).await?;
    let listed = if plan.scenario.lists() { listed(plan, &mut control).await? } else { plan.listed.clone() };
    control.quit().await?;
    Ok((data, listed, server))
}

/// With the other server. How data connections are asked for is what both know.
async fn other_session(
    plan: &Plan,
    slot: &Rc<Slot>,
    mut data: DataMode,
) -> Result<(DataMode, ProbedServer), Failure> {
    let mut control = Control::ready_at(slot, Side::Other).await?;
    if data == DataMode::Epsv {
        data = known_mode(plan, &mut control).await?;
    }
    control.prefer(data);
    let other = ask(plan, Side::Other, &mut control).await?;
    control.quit().await?;
    Ok((data, other))
}

/// What is asked of each server.
async fn ask(plan: &Plan, side: Side, control: &mut Control) -> Result<ProbedServer, Failure> {
    let content = if plan.scenario.fetches() { Some(contents(plan, side, control).await?) } else { None };
    let tells_hashes = plan.scenario.stores() && can_tell_hashes(control).await?;
    let stored = if plan.stores_files() { rules(plan, side, control).await? } else { StoredRules::ALL };
    Ok(ProbedServer { content, tells_hashes, stored })
}

/// `EPSV` and `EPRT` where the server knows what of them is used. Servers say in many ways that they do not.
async fn known_mode(plan: &Plan, control: &mut Control) -> Result<DataMode, Failure> {
    if plan.data == DataMode::Pasv {
        return Ok(DataMode::Pasv);
    }
    if plan.scenario.has_servers_connect() {
        match control.listen_data().await {
            Ok(_) => {}
            // There is no other command for another family.
            Err(failure) if is_refusal(&failure) && control.peer().is_ipv4() => return Ok(DataMode::Pasv),
            Err(failure) => return Err(failure),
        }
    }
    if plan.scenario.has_servers_listen() {
        match control.passive().await {
            Ok(_) => {}
            Err(failure) if is_refusal(&failure) => return Ok(DataMode::Pasv),
            Err(failure) => return Err(failure),
        }
    }
    Ok(DataMode::Epsv)
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

fn is_refusal(failure: &Failure) -> bool {
    matches!(&failure.cause, Cause::Reply { code, .. } if (500..600).contains(&code.number()))
}

fn is_unknown(failure: &Failure) -> bool {
    matches!(&failure.cause, Cause::Reply { code, .. } if [500, 502].contains(&code.number()))
}

/// What the first file contains: compared with what is known of it, kept where nothing is.
async fn contents(plan: &Plan, side: Side, control: &mut Control) -> Result<Content, Failure> {
    let (path, known) = &plan.endpoint(side).files[0];
    // As the load will fetch it: some servers know only one way.
    let data = if plan.scenario.has_servers_listen() {
        control.open_data().await?
    } else {
        DataEnd::Listening(control.listen_data().await?)
    };
    if known.length() > 0 {
        control.retrieve(data, path, known).await?;
        return Ok(known.clone());
    }
    let mut fetched = Fetched::new(plan.kept_bytes_max);
    let take = |bytes: &[u8]| {
        fetched.take(bytes);
        ControlFlow::Continue(())
    };
    control.download(data, &Command::Retr(path), take).await?;
    Ok(fetched.finish())
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

/// Abandoned files that were in the directory that is stored into, and whether each could be deleted.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) deleted: usize,
    pub(crate) kept: usize,
}

/// Looks for abandoned files, and deletes them.
///
/// # Errors
///
/// If it cannot be told which there are. Many servers refuse to list an empty directory as they refuse one that may not be read, and
/// some hide what was stored: so a file is stored to be found, and a listing without it tells nothing.
pub(crate) async fn published(plan: Arc<Plan>) -> Result<Published, Failure> {
    let slot = lone_slot(&plan);
    let session = async {
        let mut control = Control::ready(&slot).await?;
        control.prefer(plan.data);
        let folder = &plan.server.upload_folder;
        let folder = folder.strip_suffix(b"/").unwrap_or(folder);
        if !folder.is_empty() {
            control.command(&Command::Cwd(Some(folder)), &[250]).await?;
        }
        let to_be_found = format!("{}to-be-found", plan.upload_prefix()).into_bytes();
        let data = control.open_data().await?;
        control.store(data, &to_be_found, 0, |_, _| {}).await?;
        let listed = names(&mut control, &[&to_be_found, plan.abandoned_prefix().as_bytes()]).await;
        control.command(&Command::Dele(&to_be_found), &[250]).await?;
        let listed = listed?;
        if !listed.contains(&to_be_found) {
            let what = String::from("a listing without the file that was stored to be found in it");
            return Err(slot.failed(Cause::WrongContents(what)));
        }
        let mut published = Published::default();
        for name in listed.iter().filter(|&name| *name != to_be_found) {
            match control.command(&Command::Dele(name), &[250]).await {
                Ok(_) => published.deleted += 1,
                Err(Failure { cause: Cause::Reply { .. }, .. }) => published.kept += 1,
                Err(failure) => return Err(failure),
            }
        }
        control.quit().await?;
        Ok(published)
    };
    slot.within_all_time(session).await
}

/// The names in the directory that the session is in, of those that begin so.
async fn names(control: &mut Control, beginnings: &[&[u8]]) -> Result<Vec<Vec<u8>>, Failure> {
    let data = control.open_data().await?;
    let (mut found, mut line) = (Vec::new(), Vec::new());
    let take = |bytes: &[u8]| {
        for &byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    // Some tell names with the directory.
                    let name = line.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                    if beginnings.iter().any(|beginning| name.starts_with(beginning)) {
                        found.push(name.to_vec());
                    }
                    line.clear();
                }
                // No name of ours is longer, and a server may send without end.
                _ if line.len() < LINE_BYTES_MAX => line.push(byte),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    };
    control.download(data, &Command::Nlst(ListArgument { all: false, path: None }), take).await?;
    Ok(found)
}
