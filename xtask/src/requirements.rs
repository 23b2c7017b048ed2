//! The programs that the steps use, and where they come from.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::shell;

/// A program that a step cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// A program of a Debian package.
    Debian { program: &'static str, package: &'static str },
    /// A cargo subcommand that is installed by cargo. Another version that is there already will do.
    CargoTool { subcommand: &'static str, package: &'static str, version: &'static str },
    /// A cargo subcommand that is a component of the toolchain.
    Component { subcommand: &'static str, component: &'static str },
}

const fn debian(program: &'static str, package: &'static str) -> Requirement {
    Requirement::Debian { program, package }
}

pub(crate) const RUSTFMT: Requirement = Requirement::Component { subcommand: "fmt", component: "rustfmt" };
pub(crate) const CLIPPY: Requirement = Requirement::Component { subcommand: "clippy", component: "clippy" };
pub(crate) const CARGO_DENY: Requirement =
    Requirement::CargoTool { subcommand: "deny", package: "cargo-deny", version: "0.20.2" };
pub(crate) const CARGO_FUZZ: Requirement =
    Requirement::CargoTool { subcommand: "fuzz", package: "cargo-fuzz", version: "0.13.2" };
/// The advisory database is a repository.
pub(crate) const GIT: Requirement = debian("git", "git");
/// libFuzzer is compiled from C++.
pub(crate) const CPP_COMPILER: Requirement = debian("c++", "g++");

/// Counts instructions.
pub(crate) const VALGRIND: Requirement = debian("valgrind", "valgrind");

/// The load tester's page is looked at in a browser.
pub(crate) const CHROMIUM: Requirement = debian("chromium", "chromium");

/// What the integration tests run: other people's FTP clients, a Prometheus, what looks at the unit file, and what gives a
/// program a terminal or another time.
pub(crate) const CLIENTS: [Requirement; 15] = [
    debian("aria2c", "aria2"),
    debian("busybox", "busybox"),
    debian("curl", "curl"),
    debian("faketime", "faketime"),
    debian("inetutils-ftp", "inetutils-ftp"),
    debian("lftp", "lftp"),
    debian("ncftpget", "ncftp"),
    debian("prometheus", "prometheus"),
    debian("python3", "python3"),
    debian("rclone", "rclone"),
    debian("script", "bsdutils"),
    debian("systemd-analyze", "systemd"),
    debian("strace", "strace"),
    debian("tnftp", "tnftp"),
    debian("wget", "wget"),
];

/// What the tests of the libraries run: the tunnel goes through a real SSH server, between networks of its own; files come
/// and go on images of every file system.
pub(crate) const LIBRARIES: [Requirement; 9] = [
    debian("curl", "curl"),
    debian("ip", "iproute2"),
    debian("lftp", "lftp"),
    debian("mkfs.btrfs", "btrfs-progs"),
    debian("mkfs.ext4", "e2fsprogs"),
    debian("mkfs.xfs", "xfsprogs"),
    debian("python3", "python3"),
    debian("ssh", "openssh-client"),
    debian("sshd", "openssh-server"),
];

/// What the network laboratory is made of.
pub(crate) const LAB: [Requirement; 6] = [
    debian("curl", "curl"),
    debian("dnsmasq", "dnsmasq-base"),
    debian("haproxy", "haproxy"),
    debian("ip", "iproute2"),
    debian("lftp", "lftp"),
    debian("nft", "nftables"),
];

/// What builds and runs containers, and the clients that go into them.
pub(crate) const CONTAINER: [Requirement; 7] = [
    debian("buildah", "buildah"),
    debian("curl", "curl"),
    debian("dnsmasq", "dnsmasq-base"),
    debian("lftp", "lftp"),
    debian("nsenter", "util-linux"),
    debian("podman", "podman"),
    debian("runc", "runc"),
];

/// What the Debian package is made by.
pub(crate) const PACKAGE: [Requirement; 3] =
    [debian("dpkg-deb", "dpkg"), debian("gzip", "gzip"), debian("strip", "binutils")];

/// What the test of the package runs, and what the package depends on.
pub(crate) const PACKAGE_TEST: [Requirement; 6] = [
    debian("adduser", "adduser"),
    debian("curl", "curl"),
    debian("ip", "iproute2"),
    debian("lintian", "lintian"),
    debian("nsenter", "util-linux"),
    debian("setpriv", "util-linux"),
];

impl Requirement {
    fn is_met(self) -> bool {
        match self {
            Self::Debian { program, .. } => shell::is_in_path(program),
            Self::CargoTool { subcommand, .. } | Self::Component { subcommand, .. } => {
                shell::succeeds_quietly(&mut shell::cargo([subcommand, "--version"]))
            }
        }
    }
}

/// Installs what is missing.
///
/// # Errors
///
/// If something is missing that this user may not install, with what to type; or if installing it fails.
pub(crate) fn provide(requirements: &[Requirement]) -> anyhow::Result<()> {
    let missing: Vec<_> = requirements.iter().copied().filter(|requirement| !requirement.is_met()).collect();
    let packages: Vec<_> = missing
        .iter()
        .filter_map(|requirement| match *requirement {
            Requirement::Debian { package, .. } => Some(package),
            _ => None,
        })
        .collect();
    if !packages.is_empty() {
        install_debian(&packages)?;
    }
    for requirement in missing {
        match requirement {
            Requirement::Debian { .. } => {}
            Requirement::CargoTool { package, version, .. } => {
                eprintln!("{package} is missing: compiling it, which takes some minutes");
                install(&mut shell::cargo(["install", "--locked", "--version", version, package]))?;
            }
            Requirement::Component { component, .. } => {
                install(Command::new("rustup").args(["component", "add", component]))
                    .with_context(|| format!("{component} of this Rust toolchain is missing"))?;
            }
        }
        if !requirement.is_met() {
            bail!("{requirement:?} was installed and is still not there; is its folder in PATH?");
        }
    }
    Ok(())
}

fn install_debian(packages: &[&str]) -> anyhow::Result<()> {
    let packages_text = packages.join(" ");
    if !shell::is_in_path("apt-get") {
        bail!("programs of these Debian packages are missing, and there is no apt-get here: {packages_text}");
    }
    if !is_root()? {
        bail!(
            "some programs are missing. Type this, and try again:\n  \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages_text}"
        );
    }
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    install(apt_get().arg("update"))?;
    install(apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

fn install(command: &mut Command) -> anyhow::Result<()> {
    if !shell::succeeds(command)? {
        bail!("installing failed");
    }
    Ok(())
}

fn is_root() -> anyhow::Result<bool> {
    let output = Command::new("id").arg("-u").output().context("cannot tell who this is")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_asked_for() {
        assert!(debian("sh", "dash").is_met());
        assert!(!debian("no-such-program", "no-such-package").is_met());
        provide(&[debian("sh", "dash")]).expect("nothing is to be done");
    }
}
