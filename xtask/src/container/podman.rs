//! Podman, with a storage of its own, and the containers that it runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::shell;

/// Where podman keeps what does not survive a restart of the machine. Its sockets are there, so it has to be short.
const RUN: &str = "/run/ringftpd-container";

/// Podman, and a directory for the run. Dropped, all containers end, and everything is removed.
#[derive(Debug)]
pub(super) struct Podman {
    scratch: PathBuf,
}

impl Podman {
    /// Begins with an empty storage: what a run that was killed left is removed.
    pub(super) fn open() -> anyhow::Result<Self> {
        let scratch = shell::root().join("target/container");
        let podman = Self { scratch };
        podman.remove().context("cannot remove what an earlier run left")?;
        fs::create_dir_all(&podman.scratch)
            .with_context(|| format!("cannot make {}", podman.scratch.display()))?;
        Ok(podman)
    }

    /// A directory that is there while this value is.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What tells podman and buildah where images are. Copies of whole layers, for that works on any file system.
    pub(super) fn storage_options(&self) -> [String; 6] {
        let storage = self.scratch.join("storage").display().to_string();
        ["--root", &storage, "--runroot", RUN, "--storage-driver", "vfs"].map(String::from)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut podman = Command::new("podman");
        // runc and cgroupfs do without systemd, and with any version of cgroups.
        podman.args(self.storage_options()).args(["--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        podman.args(arguments).stdin(Stdio::null());
        podman
    }

    /// Runs podman, and gives what it prints.
    pub(super) fn output(&self, arguments: &[&str]) -> anyhow::Result<String> {
        shell::output(&mut self.command(arguments))
    }

    fn remove(&self) -> anyhow::Result<()> {
        if self.scratch.join("storage").exists() {
            self.output(&["rm", "--all", "--force", "--time", "0"])?;
        }
        for folder in [&self.scratch, Path::new(RUN)] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("container: {error:#}");
        }
    }
}

/// A container. Dropped, it is killed and removed.
#[derive(Debug)]
pub(super) struct Container<'p> {
    podman: &'p Podman,
    id: String,
    pid: String,
}

impl<'p> Container<'p> {
    /// Runs an image with `options` of `podman run`, confined as far as it goes, with no network but its own loopback.
    pub(super) fn start(podman: &'p Podman, image: &str, options: &[String]) -> anyhow::Result<Self> {
        let confined = [
            "run",
            "--detach",
            "--network=none",
            "--read-only",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
            "--log-driver=k8s-file",
            // What podman asks for by itself may be more than this machine grants.
            "--ulimit=nofile=4096:4096",
            "--ulimit=nproc=1000:1000",
        ];
        let mut arguments = confined.to_vec();
        arguments.extend(options.iter().map(String::as_str));
        arguments.push(image);
        let id = podman.output(&arguments)?;
        let mut container = Self { podman, id, pid: String::new() };
        container.pid = container.inspect("{{.State.Pid}}")?;
        Ok(container)
    }

    /// What podman knows of it.
    pub(super) fn inspect(&self, format: &str) -> anyhow::Result<String> {
        self.podman.output(&["container", "inspect", "--format", format, &self.id])
    }

    /// A file of `/proc` about the server.
    pub(super) fn proc(&self, file: &str) -> anyhow::Result<String> {
        let path = Path::new("/proc").join(&self.pid).join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// A program of this machine, in the network of the container.
    pub(super) fn client(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid, "--net", "--", program]).stdin(Stdio::null());
        command
    }

    /// The log so far.
    pub(super) fn log(&self) -> anyhow::Result<String> {
        let output = self.podman.command(&["logs", &self.id]).output().context("cannot run podman")?;
        // Standard error of the container comes by standard error.
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs the health check of the image.
    pub(super) fn health(&self) -> anyhow::Result<()> {
        self.podman.output(&["healthcheck", "run", &self.id]).map(drop)
    }

    /// Stops it as an operator does; gives its exit code once it has ended.
    pub(super) fn stop(&self, seconds: u64) -> anyhow::Result<String> {
        self.podman.output(&["stop", "--time", &seconds.to_string(), &self.id])?;
        self.inspect("{{.State.Status}} {{.State.ExitCode}}")
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.podman.output(&["rm", "--force", "--volumes", "--time", "0", &self.id]) {
            eprintln!("container: {error:#}");
        }
    }
}
