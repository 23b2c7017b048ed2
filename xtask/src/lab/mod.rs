//! `cargo xtask lab`: the network laboratory.
//!
//! Machines that are network namespaces, translators and firewalls that are the kernel's own, and real clients: every way of
//! bringing about a data connection, in every situation of `table.rs`, has to work or to fail with the very reply that is
//! promised there. Nothing of it touches this machine's own network, and nothing of it stays.

mod active;
mod balancer;
mod cell;
mod client;
mod control;
mod firewall;
mod fxp;
mod namespace;
mod other_servers;
mod plan;
mod prerequisites;
mod resolver;
mod rows;
mod scratch;
mod server;
mod table;
mod world;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::interrupt::Interrupt;
use crate::lab::scratch::Scratch;
use crate::lab::world::World;
use crate::outcome::Outcome;
use crate::requirements::{self, LAB};
use crate::shell;

/// Only one laboratory at a time: they would have the same names.
const LOCK: &str = "/run/ringftpd-lab.lock";

/// What can be said to the laboratory.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Try this server instead of the one that was built beside this program.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,

    /// Only the situations and checks with this in their title.
    #[arg(long, value_name = "WORDS", default_value = "")]
    only: String,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This many cells and checks are as they have to be.
    Passed(usize),
    /// So many are, and so many are not.
    Failed { passed: usize, failed: usize },
    /// It cannot be done here; the reason, with what would mend it.
    Refused(String),
    /// It can perhaps be done here, but not by this user.
    NotRoot,
}

/// `cargo xtask lab`: runs the laboratory and says how it ended; 2 is the exit status where it cannot be done.
pub(crate) fn command(options: &Options) -> anyhow::Result<ExitCode> {
    Ok(match run(options)? {
        Verdict::Passed(passed) => {
            println!("{passed} passed, 0 failed");
            ExitCode::SUCCESS
        }
        Verdict::Failed { passed, failed } => {
            println!("{passed} passed, {failed} failed");
            ExitCode::FAILURE
        }
        Verdict::Refused(reason) => refused(&reason),
        Verdict::NotRoot => refused(prerequisites::NOT_ROOT),
    })
}

fn refused(reason: &str) -> ExitCode {
    eprintln!("lab: {reason}");
    ExitCode::from(2)
}

/// The laboratory as a step of `cargo xtask test`: where it cannot be done, that is a failure, unless it is for want of root.
pub(crate) fn step() -> anyhow::Result<Outcome> {
    Ok(match run(&Options::default())? {
        Verdict::Passed(passed) => Outcome { passed: passed as u64, ..Outcome::default() },
        Verdict::Failed { passed, failed } => {
            Outcome { passed: passed as u64, failed: failed as u64, ..Outcome::default() }
        }
        Verdict::Refused(reason) => Outcome { failed: 1, note: Some(reason), ..Outcome::default() },
        Verdict::NotRoot => Outcome::not_done(prerequisites::NOT_ROOT),
    })
}

/// What cells and checks came to so far.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

/// What everything in the laboratory works with.
#[derive(Debug)]
struct Lab {
    world: World,
    /// The server to try.
    binary: PathBuf,
    scratch: Scratch,
    /// What the project keeps between runs: other people's servers.
    cache: PathBuf,
    interrupt: Interrupt,
}

/// Runs the laboratory: the table, and the checks that are no cell of it.
pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    if !prerequisites::is_root() {
        return Ok(Verdict::NotRoot);
    }
    if let Err(error) = requirements::provide(&LAB) {
        return Ok(Verdict::Refused(format!("{error:#}")));
    }
    let lock = File::create(LOCK).with_context(|| format!("cannot create {LOCK}"))?;
    if lock.try_lock().is_err() {
        return Ok(Verdict::Refused(String::from(
            "another laboratory is running on this machine; wait for its end",
        )));
    }
    namespace::remove_leftovers().context("cannot take down what an earlier run left")?;
    if let Err(reason) = prerequisites::try_kernel() {
        return Ok(Verdict::Refused(reason));
    }
    let interrupt = Interrupt::listen()?;
    let lab = Lab::open(options, interrupt)?;
    let mut tally = Tally::default();
    rows::check_all(&lab, &options.only, &mut tally)?;
    for check in active::CHECKS.iter().chain(fxp::CHECKS) {
        if check.title.contains(&options.only) {
            lab.interrupt.check()?;
            let outcome = (check.run)(&lab);
            // What failed in an interrupted run says nothing of the server.
            lab.interrupt.check()?;
            tally.take(check.title, outcome.map_err(|error| format!("{error:#}")));
        }
    }
    ensure!(tally.passed + tally.failed > 0, "no title has \"{}\" in it", options.only);
    Ok(match tally {
        Tally { passed, failed: 0 } => Verdict::Passed(passed),
        Tally { passed, failed } => Verdict::Failed { passed, failed },
    })
}

/// Something that has to hold, besides the table.
struct Check {
    title: &'static str,
    run: fn(&Lab) -> anyhow::Result<()>,
}

impl Tally {
    fn take(&mut self, title: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {title}");
            }
            Err(complaint) => {
                self.failed += 1;
                println!("FAILED  {title}\n{}", indented(&complaint));
            }
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}\n")).collect()
}

impl Lab {
    fn open(options: &Options, interrupt: Interrupt) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let binary = match &options.server {
            Some(server) => server.clone(),
            None => {
                let built =
                    shell::succeeds(&mut shell::cargo(["build", "--locked", "--package", "ringftpd"]))?;
                ensure!(built, "the server does not build");
                program.with_file_name("ringftpd")
            }
        };
        let binary =
            fs::canonicalize(&binary).with_context(|| format!("no server at {}", binary.display()))?;
        let target = program.ancestors().nth(2).unwrap_or(Path::new("target"));
        let scratch = Scratch::create()?;
        let world = World::create()?;
        Ok(Self { world, binary, scratch, cache: target.join("other-servers"), interrupt })
    }
}

/// How long anything may take that has to happen. No good run comes near it.
const PATIENCE: Duration = Duration::from_secs(20);
