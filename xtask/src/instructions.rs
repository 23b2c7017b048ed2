//! `cargo xtask instructions`, and the step of the same name: how many instructions the pure crates take for what they do
//! all the time. Times are noise on a busy machine; instructions, counted on a simulated processor, are not.
//!
//! A case is done a few times and many times, and the difference divided: what the start of the program takes, and of the
//! case, is in both and falls out. The counts that hold stand in `benches/instructions.toml`, with the compiler that they are of:
//! another compiler makes other code of the same source, so under another one the bound is wide, and that is said.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::outcome::Outcome;
use crate::shell::{cargo, root, succeeds};

/// Where the counts are kept.
const KEPT: &str = "benches/instructions.toml";

/// The counts are of code for this processor.
const MACHINE: &str = "x86_64";

/// How much a count may grow, in per cent: under the compiler that it is of, and under another.
const GROWTH_PERCENT_MAX: f64 = 3.0;
const GROWTH_PERCENT_MAX_ELSEWHERE: f64 = 25.0;

/// How often a case is done.
const TIMES_FEW: u32 = 100;
const TIMES_MANY: u32 = 1100;

/// Counts of instructions for each time, by case.
type Counts = BTreeMap<String, f64>;

/// What to do with the counts.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Keep the counts of now as those that hold.
    #[arg(long)]
    update: bool,
}

/// Counts, shows, and keeps the counts if asked; whether none has grown too much.
///
/// # Errors
///
/// If they cannot be counted here.
pub(crate) fn command(options: &Options) -> anyhow::Result<bool> {
    if !options.update {
        return Ok(!step()?.is_failure());
    }
    ensure!(std::env::consts::ARCH == MACHINE, "the counts are of {MACHINE}, and this is another machine");
    let text = written(&compiler()?, &count()?);
    fs::write(root().join(KEPT), &text)?;
    print!("{text}");
    Ok(true)
}

/// Counts, and compares with the counts that hold.
///
/// # Errors
///
/// If they cannot be counted here.
pub(crate) fn step() -> anyhow::Result<Outcome> {
    if std::env::consts::ARCH != MACHINE {
        return Ok(Outcome::not_done(format!("the counts are of {MACHINE}, and this is another machine")));
    }
    let kept = fs::read_to_string(root().join(KEPT)).with_context(|| format!("cannot read {KEPT}"))?;
    let (of_compiler, kept) = read(&kept)?;
    let compiler = compiler()?;
    let most = if compiler == of_compiler { GROWTH_PERCENT_MAX } else { GROWTH_PERCENT_MAX_ELSEWHERE };
    let verdicts = compare(&kept, &count()?, most);
    let mut outcome = Outcome::default();
    for Verdict { line, good } in &verdicts {
        println!("{line}");
        outcome += Outcome::of_check(*good);
    }
    if compiler != of_compiler {
        outcome.note = Some(format!(
            "the counts are of {of_compiler}, and this is {compiler}: they may grow by {most}% instead of {GROWTH_PERCENT_MAX}%"
        ));
    }
    if outcome.is_failure() {
        println!("If that is as it should be: cargo xtask instructions --update");
    }
    Ok(outcome)
}

/// What comes of one case.
#[derive(Debug, PartialEq)]
struct Verdict {
    line: String,
    good: bool,
}

fn compare(kept: &Counts, counted: &Counts, growth_percent_max: f64) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (case, now) in counted {
        verdicts.push(match kept.get(case) {
            None => Verdict {
                line: format!("FAILED  {case}: {now:.0}, and {KEPT} has no count of it"),
                good: false,
            },
            Some(before) => {
                let growth_percent = (now / before - 1.0) * 100.0;
                let good = growth_percent <= growth_percent_max;
                let verdict = if good { "ok    " } else { "FAILED" };
                Verdict {
                    line: format!("{verdict}  {case}: {now:.0}, kept {before:.0}, {growth_percent:+.1}%"),
                    good,
                }
            }
        });
    }
    for case in kept.keys().filter(|case| !counted.contains_key(*case)) {
        verdicts.push(Verdict {
            line: format!("FAILED  {case}: {KEPT} has it, and the program does not"),
            good: false,
        });
    }
    verdicts
}

/// Counts every case.
fn count() -> anyhow::Result<Counts> {
    let mut build = cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "ringftpd-bench-programs",
        "--bin",
        "instructions",
    ]);
    ensure!(succeeds(&mut build)?, "the cases do not build");
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let program = program.ancestors().nth(2).unwrap_or(Path::new("target")).join("release/instructions");
    let named = Command::new(&program).output().context("cannot run the cases")?;
    let names = String::from_utf8(named.stdout)?;
    let mut counts = Counts::new();
    for case in names.lines() {
        let [few, many] = [TIMES_FEW, TIMES_MANY].map(|times| collected(&program, case, times));
        let all =
            many?.checked_sub(few?).with_context(|| format!("{case} took less when done more often"))?;
        #[expect(clippy::cast_precision_loss, reason = "some millions")]
        counts.insert(case.to_owned(), all as f64 / f64::from(TIMES_MANY - TIMES_FEW));
    }
    ensure!(!counts.is_empty(), "there are no cases");
    Ok(counts)
}

/// The instructions of one run of the program.
fn collected(program: &PathBuf, case: &str, times: u32) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(case)
        .arg(times.to_string());
    let output = valgrind.output().context("cannot run valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{case}: {}", said.trim());
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = line.with_context(|| format!("valgrind counted nothing: {}", said.trim()))?;
    Ok(number.trim().parse()?)
}

/// The compiler in words: its version, and that of what it makes machine code with.
fn compiler() -> anyhow::Result<String> {
    let output =
        Command::new("rustc").args(["--version", "--verbose"]).output().context("cannot run rustc")?;
    let said = String::from_utf8(output.stdout)?;
    let of = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Ok(format!("rustc {}, LLVM {}", of("release:").unwrap_or("?"), of("LLVM version:").unwrap_or("?")))
}

fn written(compiler: &str, counts: &Counts) -> String {
    let mut text = format!(
        "# Instructions for each time, counted by `cargo xtask instructions --update`. `cargo xtask test` fails where one\n\
         # grows by more than {GROWTH_PERCENT_MAX}%.\n\ncompiler = \"{compiler}\"\n\n[instructions]\n"
    );
    for (case, count) in counts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\"{case}\" = {count:.0}");
    }
    text
}

/// Reads what [`written`] wrote.
fn read(text: &str) -> anyhow::Result<(String, Counts)> {
    let (mut compiler, mut counts) = (None, Counts::new());
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match line.split_once(" = ") {
            Some(("compiler", value)) => compiler = Some(value.trim_matches('"').to_owned()),
            Some((case, count)) => {
                counts.insert(case.trim_matches('"').to_owned(), count.parse()?);
            }
            None if line == "[instructions]" => {}
            None => bail!("{KEPT}: this is not understood: {line}"),
        }
    }
    Ok((compiler.with_context(|| format!("{KEPT} does not say of which compiler it is"))?, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> Counts {
        pairs.iter().map(|&(case, count)| (case.to_owned(), count)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let counts = counts(&[("session: EPSV, RETR to 226", 1234.0), ("parse PORT", 99.0)]);
        let text = written("rustc 1.2.3, LLVM 4.5", &counts);
        assert_eq!(read(&text).expect("it is good"), (String::from("rustc 1.2.3, LLVM 4.5"), counts));
        assert!(read("[instructions]\n").is_err());
        assert!(read("compiler = \"x\"\nnonsense\n").is_err());
    }

    #[test]
    fn growth_fails_and_so_does_what_is_missing() {
        let kept = counts(&[("grown", 100.0), ("shrunk", 100.0), ("gone", 100.0)]);
        let now = counts(&[("grown", 104.0), ("shrunk", 50.0), ("new", 1.0)]);
        let good =
            |most| -> Vec<bool> { compare(&kept, &now, most).iter().map(|verdict| verdict.good).collect() };
        assert_eq!(good(3.0), [false, false, true, false]);
        assert_eq!(good(25.0), [true, false, true, false]);
    }
}
