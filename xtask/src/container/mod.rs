//! The container image, built and run for real.
//!
//! Built from nothing but what is here, and run by podman and runc as it is meant to be: with a read-only root, without any
//! capability, by a user that is not root. The network of a container is its own, with a loopback interface alone, and clients
//! enter it; so no port of this machine is used, and none can be taken.

mod checks;
pub(crate) mod image;
mod podman;
mod resolver;
mod seccomp;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use nix::unistd::geteuid;

use crate::interrupt::Interrupt;
use crate::outcome::Outcome;
use crate::requirements::{self, CONTAINER};
use crate::shell;

use checks::{Case, Volume};
use podman::Podman;

/// Where the default profile of podman and buildah is.
const DEFAULT_PROFILE: &str = "/usr/share/containers/seccomp.json";

/// What the log says where a container runs on io_uring.
const ON_IO_URING: &str = "runtime=io_uring";

const NOT_ROOT: &str = "only root may run containers with networks of their own; type: sudo --preserve-env=PATH,HOME \"$(command -v cargo)\" xtask test --only container";

/// The step of `cargo xtask test`. Where the kernel allows no containers nothing is done, and that is said.
pub(crate) fn step() -> anyhow::Result<Outcome> {
    if !geteuid().is_root() {
        return Ok(Outcome::not_done(NOT_ROOT));
    }
    requirements::provide(&CONTAINER)?;
    if let Err(reason) = try_kernel() {
        return Ok(Outcome::not_done(format!("no container can run here: {reason}")));
    }
    let mut sum = seccomp::check(Path::new(DEFAULT_PROFILE))?;
    let interrupt = Interrupt::listen()?;
    let podman = Podman::open()?;
    let image = image::build(&podman)?;
    sum += Outcome::of_named_check("the image is small and says what it is", &image::check(&podman, &image));
    let profiles = shell::root().join("deploy");
    let cases = [
        Case {
            title: "with deploy/seccomp/ringftpd.json",
            profile: Some(profiles.join("seccomp/ringftpd.json")),
            logs: &[ON_IO_URING],
            volume: Volume::Folder,
        },
        Case {
            title: "with the default profile",
            profile: None,
            // The number of the error that the profile gives, and what to do about it.
            logs: &[
                "io_uring cannot be used, so the workers run on epoll",
                "(os error ",
                "--security-opt seccomp=",
                "runtime=epoll",
            ],
            volume: Volume::Named,
        },
        Case {
            title: "with the profile for Kubernetes",
            profile: Some(profiles.join("kubernetes/io_uring/ringftpd-seccomp.json")),
            logs: &[ON_IO_URING],
            volume: Volume::Folder,
        },
    ];
    let refusal = io_uring_refusal()?;
    for case in &cases {
        interrupt.check()?;
        sum += match &refusal {
            Some(why) if case.logs.contains(&ON_IO_URING) => {
                Outcome::not_done(format!("not run {}, for {why}", case.title))
            }
            _ => checks::check(&podman, &image, case, &interrupt)?,
        };
    }
    Ok(sum)
}

/// Why no profile can open io_uring here, where the kernel itself or a filter around this machine refuses it.
fn io_uring_refusal() -> anyhow::Result<Option<String>> {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if !matches!(disabled.trim(), "" | "0") {
        return Ok(Some(format!("kernel.io_uring_disabled is {}", disabled.trim())));
    }
    let mut doctor = Command::new(shell::root().join(image::BINARY));
    let examined = doctor.args(["doctor", "/", "--runtime", "io_uring"]).output();
    let examined = examined.context("cannot run the binary of the image")?;
    let report = String::from_utf8_lossy(&examined.stdout).into_owned();
    Ok(report
        .lines()
        .find(|line| line.starts_with("problem") && line.contains("io_uring"))
        .map(str::to_owned))
}

/// What only a try can tell: whether the kernel, or the sandbox around this machine, gives what containers are made of.
fn try_kernel() -> Result<(), String> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--ipc", "--uts", "--net", "true"]);
    let output = unshare.output().map_err(|error| format!("cannot run unshare: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    if !Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        return Err(String::from("the kernel has no seccomp (CONFIG_SECCOMP_FILTER)"));
    }
    Ok(())
}
