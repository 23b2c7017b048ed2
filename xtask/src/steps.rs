//! What `cargo xtask test` does, step by step.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use nix::unistd::geteuid;

use crate::container;
use crate::fuzz;
use crate::instructions;
use crate::lab;
use crate::outcome::Outcome;
use crate::package;
use crate::requirements::{
    CARGO_DENY, CARGO_FUZZ, CHROMIUM, CLIENTS, CLIPPY, CPP_COMPILER, GIT, LIBRARIES, RUSTFMT, Requirement,
    VALGRIND,
};
use crate::shell::{cargo, check, count_tests, root};
use crate::tidy;

/// One step.
pub(crate) struct Step {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// What it is, for a heading.
    pub(crate) title: &'static str,
    /// What it cannot do without.
    pub(crate) requirements: &'static [Requirement],
    pub(crate) run: fn() -> anyhow::Result<Outcome>,
}

/// Every step, what is quick first.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "tidy", title: "the house rules", requirements: &[], run: tidy::run },
    Step {
        name: "format",
        title: "the code is formatted",
        requirements: &[RUSTFMT],
        run: || check(&mut cargo(["fmt", "--all", "--check"])),
    },
    Step { name: "clippy", title: "no warnings", requirements: &[CLIPPY], run: clippy },
    Step { name: "docs", title: "the documentation builds without warnings", requirements: &[], run: docs },
    Step {
        name: "deny",
        title: "licences, banned crates and sources of dependencies",
        requirements: &[CARGO_DENY],
        run: || {
            check(&mut cargo([
                "deny",
                "--locked",
                "check",
                "--hide-inclusion-graph",
                "bans",
                "licenses",
                "sources",
            ]))
        },
    },
    Step {
        name: "advisories",
        title: "known vulnerabilities of dependencies",
        requirements: &[CARGO_DENY, GIT],
        run: advisories,
    },
    Step {
        name: "unit",
        title: "unit tests and property tests",
        requirements: &[],
        run: || count_tests(&mut test(&["--lib", "--bins"])),
    },
    Step {
        name: "crates",
        title: "integration tests of the libraries",
        requirements: &LIBRARIES,
        run: crates,
    },
    Step {
        name: "loadtest",
        title: "the load tester against good and bad servers, and its page in a browser",
        requirements: &[CHROMIUM],
        run: loadtest,
    },
    Step {
        name: "doctests",
        title: "examples in the documentation",
        requirements: &[],
        run: || count_tests(&mut test(&["--doc"])),
    },
    Step {
        name: "io_uring",
        title: "the server and real clients, on io_uring",
        requirements: &CLIENTS,
        run: || server("io_uring"),
    },
    Step {
        name: "epoll",
        title: "the server and real clients, on epoll",
        requirements: &CLIENTS,
        run: || server("epoll"),
    },
    Step {
        name: "lab",
        title: "data connections through NAT, firewalls and proxies",
        // It installs what it needs once it knows that it may make networks.
        requirements: &[],
        run: lab::step,
    },
    Step {
        name: "container",
        title: "the container image, built and run with and without io_uring",
        // It installs what it needs once it knows that it may run containers.
        requirements: &[],
        run: container::step,
    },
    Step {
        name: "package",
        title: "the Debian package, installed, used, removed and purged",
        // It installs what it needs once it knows that it may install packages.
        requirements: &[],
        run: package::step,
    },
    Step {
        name: "loom",
        title: "every interleaving of the passive ports' borrowing",
        requirements: &[],
        run: loom,
    },
    Step {
        name: "instructions",
        title: "instructions that the pure crates take",
        requirements: &[VALGRIND],
        run: instructions::step,
    },
    Step {
        name: "fuzz",
        title: "fuzz targets of the protocol",
        requirements: &[CARGO_FUZZ, CPP_COMPILER],
        run: fuzz::run,
    },
    Step { name: "wasm", title: "the protocol without an operating system", requirements: &[], run: wasm },
];

/// `cargo test` with all of the workspace selected, so that every step shares one build of the dependencies.
fn test(targets: &[&str]) -> Command {
    let mut command = cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(targets);
    command
}

fn clippy() -> anyhow::Result<Outcome> {
    check(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn docs() -> anyhow::Result<Outcome> {
    let mut command = cargo(["doc", "--workspace", "--no-deps", "--locked"]);
    check(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Needs the advisory database. Where it cannot be fetched there is nothing to say about advisories, and that is said.
fn advisories() -> anyhow::Result<Outcome> {
    let fetched = cargo(["deny", "--locked", "fetch", "db"]).output().context("cannot run cargo deny")?;
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stderr);
        let reason =
            said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason was given").trim();
        return Ok(Outcome::not_done(format!(
            "no advisory database, so advisories are not checked: {reason}"
        )));
    }
    check(&mut cargo(["deny", "--locked", "--offline", "check", "advisories"]))
}

/// The integration tests of every crate but the server, which has steps of its own.
fn crates() -> anyhow::Result<Outcome> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(root().join("crates")).context("cannot read crates/")? {
        let path = entry?.path();
        if !path.ends_with("server") {
            targets.extend(test_targets(&path)?);
        }
    }
    test_with_server(&targets)
}

/// The load tester's integration tests.
fn loadtest() -> anyhow::Result<Outcome> {
    test_with_server(&test_targets(&root().join("loadtest"))?)
}

/// Tests that run the server, which cargo builds for its own tests alone.
fn test_with_server(targets: &[String]) -> anyhow::Result<Outcome> {
    let built = check(&mut cargo(["build", "--workspace", "--bins", "--locked"]))?;
    if built.failed > 0 {
        return Ok(built);
    }
    test_each(targets, |_| {})
}

/// The server's integration tests, on one runtime.
fn server(runtime: &str) -> anyhow::Result<Outcome> {
    let targets = test_targets(&root().join("crates/server"))?;
    test_each(&targets, |command| {
        command.env("RINGFTPD_TEST_RUNTIME", runtime);
    })
}

fn test_each(targets: &[String], prepare: impl Fn(&mut Command)) -> anyhow::Result<Outcome> {
    let mut command = test(&[]);
    for target in targets {
        command.args(["--test", target]);
    }
    prepare(&mut command);
    let mut outcome = count_tests(&mut command)?;
    if !geteuid().is_root() {
        outcome.note = Some(String::from("not root: nothing that has to be mounted was tested"));
    }
    Ok(outcome)
}

/// The names of a package's integration tests, in order: `tests/NAME.rs` and `tests/NAME/main.rs`.
fn test_targets(package: &Path) -> anyhow::Result<Vec<String>> {
    let folder = package.join("tests");
    let mut names = Vec::new();
    if !folder.is_dir() {
        return Ok(names);
    }
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let is_file = path.extension().is_some_and(|extension| extension == "rs");
        if is_file || path.join("main.rs").is_file() {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// The model checker, in a build of its own since everything is compiled with its flag.
fn loom() -> anyhow::Result<Outcome> {
    let arguments =
        ["test", "--package", "ringftpd-passive-ports", "--locked", "--release", "--test", "loom_*"];
    let mut command = cargo(arguments);
    command.args(["--target-dir", "target/loom"]).env("RUSTFLAGS", "--cfg loom");
    let outcome = count_tests(&mut command)?;
    // Without the flag the tests are empty: none that ran means that none was meant.
    Ok(if outcome.passed == 0 { outcome.with_status(false) } else { outcome })
}

fn wasm() -> anyhow::Result<Outcome> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let printed = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = printed.context("cannot ask rustc for its targets")?.stdout;
    if !Path::new(String::from_utf8_lossy(&folder).trim()).is_dir() {
        let why = format!("{TARGET} is not installed: the test wire_purity stands in for it");
        return Ok(Outcome::not_done(why));
    }
    check(&mut cargo(["build", "--package", "ringftpd-protocol", "--locked", "--target", TARGET]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_steps_are_unique() {
        for (position, step) in STEPS.iter().enumerate() {
            assert!(STEPS.iter().skip(position + 1).all(|other| other.name != step.name), "{}", step.name);
        }
    }

    /// A step picks integration tests by their names, out of all that the workspace has.
    #[test]
    fn names_of_integration_tests_are_unique() {
        let crates = fs::read_dir(root().join("crates")).expect("crates");
        let packages = crates.map(|entry| entry.expect("a crate").path()).chain([root().join("loadtest")]);
        let mut names: Vec<String> =
            packages.flat_map(|package| test_targets(&package).expect("its tests")).collect();
        names.sort();
        let doubled: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(names.len() > 20 && doubled.is_empty(), "{doubled:?}");
    }

    #[test]
    fn test_targets_are_files_and_folders_with_a_main_file() {
        let package = tempfile::tempdir().expect("a directory");
        for (folder, file) in [("tests", "plain.rs"), ("tests/many", "main.rs"), ("tests/support", "mod.rs")]
        {
            fs::create_dir_all(package.path().join(folder)).expect("a folder");
            fs::write(package.path().join(folder).join(file), "").expect("a file");
        }
        assert_eq!(test_targets(package.path()).expect("targets"), ["many", "plain"]);
        assert!(test_targets(&package.path().join("nowhere")).expect("none").is_empty());
    }
}
