//! `cargo xtask package`: the Debian package.
//!
//! Made by `dpkg-deb` from a tree of files: the package is one binary and texts, and what tools for packages do beyond that
//! would be compiled for longer than it takes to read this.

mod documents;
mod install;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::requirements::{self, PACKAGE};
use crate::shell;

pub(crate) use install::step;

/// How to make the package.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The directory to put it in.
    #[arg(long, value_name = "DIR", default_value = "target/debian")]
    output: PathBuf,
}

/// Compiles the server and makes the package.
///
/// # Errors
///
/// If a program that it takes is missing, or something fails.
pub(crate) fn command(options: &Options) -> anyhow::Result<()> {
    requirements::provide(&PACKAGE)?;
    let package = build(Profile::Release, &options.output)?;
    println!("{}", package.display());
    Ok(())
}

/// How the server is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Release,
    /// As the tests have it already.
    Dev,
}

/// Makes the package in a directory; gives its path.
fn build(profile: Profile, output: &Path) -> anyhow::Result<PathBuf> {
    let root = shell::root();
    let (name, folder) = match profile {
        Profile::Release => ("release", "release"),
        Profile::Dev => ("dev", "debug"),
    };
    let mut cargo = shell::cargo(["build", "--locked", "--package", "ringftpd", "--profile", name]);
    cargo.args(["--target-dir", "target"]);
    ensure!(shell::succeeds(&mut cargo)?, "the server does not build");

    let output = root.join(output);
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let scratch = tempfile::tempdir_in(&output).context("no room for the files of the package")?;
    let control = tree::fill(scratch.path(), &root.join("target").join(folder).join("ringftpd"))?;
    let package = output.join(format!("ringftpd_{}_{}.deb", control.version, control.architecture));
    let mut dpkg_deb = Command::new("dpkg-deb");
    dpkg_deb.args(["--root-owner-group", "-Zxz", "--build"]).arg(scratch.path()).arg(&package);
    shell::output(&mut dpkg_deb)?;
    Ok(package)
}
