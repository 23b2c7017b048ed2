//! Running other programs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::outcome::Outcome;

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The cargo that runs this program, in the top of the repository.
pub(crate) fn cargo<I>(arguments: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

/// Shows the command and runs it; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    show(command);
    let status = command.status().with_context(|| format!("cannot run {}", name(command)))?;
    Ok(status.success())
}

/// Runs the command as one check.
pub(crate) fn check(command: &mut Command) -> anyhow::Result<Outcome> {
    Ok(Outcome::of_check(succeeds(command)?))
}

/// Runs the command, and counts the tests that it reports.
pub(crate) fn count_tests(command: &mut Command) -> anyhow::Result<Outcome> {
    show(command);
    let started = command.stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("cannot run {}", name(command)))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let mut sum = Outcome::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read what the tests say")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(counts) = Outcome::of_libtest_line(&line) {
            sum += counts;
        }
    }
    let status = child.wait().context("cannot wait for the tests")?;
    Ok(sum.with_status(status.success()))
}

/// Whether the command can be run and succeeds. What it says is not shown.
pub(crate) fn succeeds_quietly(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// What a program prints, if it succeeds.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("{command:?}: {}\n{}\n{}", output.status, said(&output.stdout), said(&output.stderr));
    }
    Ok(said(&output.stdout))
}

/// Whether a program of this name is in the search path.
pub(crate) fn is_in_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn show(command: &Command) {
    let variables = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}='{}' ", name.to_string_lossy(), value.to_string_lossy()))
    });
    let arguments = command.get_args().map(|argument| format!(" {}", argument.to_string_lossy()));
    eprintln!("$ {}{}{}", variables.collect::<String>(), name(command), arguments.collect::<String>());
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
