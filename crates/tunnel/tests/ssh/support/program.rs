//! Other people's programs, run with a bound and without the user's own settings.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where a program is. Daemons are not in every user's path.
#[track_caller]
pub(crate) fn find(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: apt-get install {package}"))
}

/// A program of the Debian package `package`, which runs in `directory` and has its settings there.
#[track_caller]
pub(crate) fn program(name: &str, package: &str, directory: &Path) -> Command {
    let mut command = Command::new(find("timeout", "coreutils"));
    command.arg("--kill-after=5").arg("120").arg(find(name, package));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", directory);
    command.env("LC_ALL", "C.UTF-8").current_dir(directory).stdin(Stdio::null());
    command
}

/// Runs a program that must succeed, and gives what it printed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program that must fail, and gives all that it said.
#[track_caller]
pub(crate) fn fail(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| code != 0 && code != 124),
        "{command:?}: {}\n{}",
        output.status,
        said(&output)
    );
    said(&output)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
