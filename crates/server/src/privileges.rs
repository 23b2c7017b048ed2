//! Giving root up: after everything privileged is bound, and before a worker runs.

use std::ffi::CString;

use anyhow::{Context as _, bail};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Uid, User, geteuid, initgroups, setresgid, setresuid};

/// What is kept: the right to connect to clients from a port below 1024.
const KEPT: Capability = Capability::CAP_NET_BIND_SERVICE;

/// Becomes `name`, for good: its user, its groups, and of root's capabilities the right to bind privileged ports alone.
///
/// The C library carries the change of user and groups to every thread; capabilities belong to a thread, so this comes before
/// the workers are started, which inherit what is left here.
pub(crate) fn become_user(name: &str) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        bail!("--user {name} needs root: start as root, or leave it out to go on as the present user");
    }
    let user = User::from_name(name)
        .with_context(|| format!("cannot look up the user {name}"))?
        .with_context(|| format!("there is no user {name}"))?;
    if user.uid == Uid::from_raw(0) {
        bail!("--user {name} is root itself; name a user without rights");
    }
    let c_name = CString::new(name).context("a user's name has no zero byte")?;
    nix::sys::prctl::set_keepcaps(true).context("cannot keep capabilities over the change of user")?;
    initgroups(&c_name, user.gid).context("cannot take the user's groups")?;
    setresgid(user.gid, user.gid, user.gid).context("cannot take the user's group")?;
    setresuid(user.uid, user.uid, user.uid).context("cannot become the user")?;
    keep_one_capability().context("cannot give up capabilities")?;
    nix::sys::prctl::set_no_new_privs().context("cannot rule out new privileges")?;
    tracing::info!(
        user = name,
        uid = user.uid.as_raw(),
        "gave root up; kept the right to bind privileged ports"
    );
    Ok(())
}

fn keep_one_capability() -> Result<(), caps::errors::CapsError> {
    let kept: CapsHashSet = [KEPT].into_iter().collect();
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::clear(None, CapSet::Inheritable)
}
