//! The seccomp profiles: the default one and three calls more.
//!
//! `deploy/seccomp/ringftpd.json` is for whoever resolves such a profile for the container at hand: Docker, Podman, CRI-O. That
//! of `deploy/kubernetes` is the same, resolved for a container without capabilities, for containerd, which hands a profile to the
//! runtime as it is and would take rules for this and that capability as rules for all.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use crate::outcome::Outcome;
use crate::shell;

/// From the top of the repository.
const PROFILE: &str = "deploy/seccomp/ringftpd.json";
const RUNTIME_PROFILE: &str = "deploy/kubernetes/io_uring/ringftpd-seccomp.json";

/// Set to write the profiles anew, from the default one of this machine.
const UPDATE: &str = "UPDATE_SECCOMP";

/// The calls that io_uring is made of.
const CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// Compares the profiles with the default one of this machine.
pub(super) fn check(default: &Path) -> anyhow::Result<Outcome> {
    let profile = with_io_uring(read(default)?)?;
    let checks = [
        ("the seccomp profile is the default one and three calls of io_uring", PROFILE, profile.clone()),
        ("the profile for Kubernetes is the same", RUNTIME_PROFILE, for_runtimes(&profile)?),
    ];
    let mut sum = Outcome::default();
    for (title, file, expected) in checks {
        sum += Outcome::of_named_check(title, &compare(file, &expected));
    }
    Ok(sum)
}

fn compare(file: &str, expected: &Value) -> anyhow::Result<()> {
    let path = shell::root().join(file);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, format!("{expected:#}\n")).with_context(|| format!("cannot write {file}"))?;
    }
    ensure!(
        read(&path)? == *expected,
        "{file} differs from what comes of the default profile of this machine; {UPDATE}=1 writes it anew"
    );
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// A default profile and one rule more.
fn with_io_uring(mut default: Value) -> anyhow::Result<Value> {
    let rules = default["syscalls"].as_array_mut().context("a profile has rules")?;
    let allowed = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW");
    let names = allowed.filter_map(|rule| rule["names"].as_array()).flatten();
    let io_uring = names.filter_map(Value::as_str).find(|name| name.starts_with("io_uring"));
    ensure!(io_uring.is_none(), "the default profile of this machine allows io_uring by itself");
    rules.push(json!({ "names": CALLS, "action": "SCMP_ACT_ALLOW" }));
    Ok(default)
}

/// What is left of a profile for a container without capabilities, in the form of the runtime's specification.
fn for_runtimes(profile: &Value) -> anyhow::Result<Value> {
    let rules = profile["syscalls"].as_array().context("a profile has rules")?;
    let is_for_all = |rule: &&Value| rule["includes"]["caps"].as_array().is_none_or(Vec::is_empty);
    let resolved = |rule: &Value| {
        let kept = ["names", "action", "args", "errnoRet"].into_iter();
        Value::Object(kept.filter_map(|key| Some((key.to_owned(), rule.get(key)?.clone()))).collect())
    };
    let mut whole = Map::new();
    for key in ["defaultAction", "defaultErrnoRet"] {
        whole.extend(profile.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    // Calls that an architecture does not have are passed over.
    whole.insert(
        String::from("architectures"),
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
    );
    whole.insert(String::from("syscalls"), rules.iter().filter(is_for_all).map(resolved).collect());
    Ok(Value::Object(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every call that some rule allows, in order.
    fn allowed(profile: &Value) -> Vec<&str> {
        let rules = profile["syscalls"].as_array().expect("rules").iter();
        let allowing = rules.filter(|rule| rule["action"] == "SCMP_ACT_ALLOW");
        let names = allowing.flat_map(|rule| rule["names"].as_array().expect("names"));
        let mut names: Vec<&str> = names.map(|name| name.as_str().expect("a name")).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[test]
    fn the_profiles_agree_and_allow_what_they_are_for() {
        let profile = read(&shell::root().join(PROFILE)).expect("a profile");
        let runtime = read(&shell::root().join(RUNTIME_PROFILE)).expect("a profile");
        assert_eq!(for_runtimes(&profile).expect("a profile"), runtime);
        for profile in [&profile, &runtime] {
            assert!(CALLS.iter().all(|call| allowed(profile).contains(call)));
        }
        // What a capability opens is closed without.
        assert!(allowed(&profile).contains(&"bpf") && !allowed(&runtime).contains(&"bpf"));
    }

    #[test]
    fn a_default_profile_with_io_uring_is_not_extended() {
        let rule = json!({ "names": ["read", "io_uring_enter"], "action": "SCMP_ACT_ALLOW" });
        assert!(with_io_uring(json!({ "syscalls": [rule] })).is_err());
    }
}
