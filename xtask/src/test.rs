//! `cargo xtask test`: the steps one after the other, and the summary.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::outcome::Outcome;
use crate::requirements;
use crate::steps::{STEPS, Step};

/// Which steps to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run this step only; may be given more than once.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,

    /// Name the steps, and run none.
    #[arg(long)]
    list: bool,

    /// Go on with the next step after one that failed.
    #[arg(long)]
    keep_going: bool,
}

/// A step that was run.
struct Done {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// Runs the steps that `options` choose; whether none failed.
///
/// # Errors
///
/// If a step is not known, or if something that the steps need is missing and cannot be installed.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let steps = chosen(&options.only)?;
    if options.list {
        for step in steps {
            println!("{:<12}{}", step.name, step.title);
        }
        return Ok(true);
    }
    let mut done = Vec::new();
    for step in &steps {
        let finished = run_one(step);
        let failed = finished.outcome.is_failure();
        done.push(finished);
        if failed && !options.keep_going {
            break;
        }
    }
    Ok(summarize(&steps, &done))
}

fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static Step>> {
    if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        bail!("there is no step {unknown}; --list names them");
    }
    let is_chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(is_chosen).collect())
}

fn run_one(step: &Step) -> Done {
    println!("\n==== {}: {} ====", step.name, step.title);
    let began = Instant::now();
    let outcome = requirements::provide(step.requirements).and_then(|()| (step.run)());
    let outcome = outcome.unwrap_or_else(|error| {
        println!("{error:#}");
        Outcome { failed: 1, note: Some(String::from("it could not be run")), ..Outcome::default() }
    });
    let took = began.elapsed();
    if let Some(note) = &outcome.note {
        println!("{note}");
    }
    println!("---- {}: {}, {:.1} s", step.name, verdict(&outcome), took.as_secs_f64());
    Done { name: step.name, outcome, took }
}

fn verdict(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome { failed: 1.., .. } => "FAILED",
        Outcome { passed: 0, .. } => "not done",
        _ => "ok",
    }
}

/// Prints the table, and the counts as the last line.
fn summarize(steps: &[&Step], done: &[Done]) -> bool {
    println!("\n{:<12}{:<10}{:>8}{:>8}{:>9}{:>10}", "step", "", "passed", "failed", "ignored", "seconds");
    let mut sum = Outcome::default();
    for Done { name, outcome, took } in done {
        let Outcome { passed, failed, ignored, note } = outcome;
        let (verdict, seconds) = (verdict(outcome), took.as_secs_f64());
        let note = note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
        println!("{name:<12}{verdict:<10}{passed:>8}{failed:>8}{ignored:>9}{seconds:>10.1}{note}");
        sum += outcome.clone();
    }
    for step in &steps[done.len()..] {
        println!("{:<12}not run, since the step before failed; --keep-going runs it", step.name);
    }
    let total: Duration = done.iter().map(|step| step.took).sum();
    println!("{:<12}{:<10}{:>35.1}\n", "all", "", total.as_secs_f64());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    !sum.is_failure()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name_in_their_own_order() {
        let names = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            chosen(&only).expect("known steps").iter().map(|step| step.name).collect()
        };
        assert_eq!(names(&["format", "tidy"]), ["tidy", "format"]);
        assert_eq!(names(&[]).len(), STEPS.len());
        assert!(chosen(&[String::from("nothing")]).is_err());
    }

    #[test]
    fn a_step_that_counts_nothing_is_not_called_good() {
        assert_eq!(verdict(&Outcome::default()), "not done");
        assert_eq!(verdict(&Outcome::of_check(true)), "ok");
        assert_eq!(verdict(&Outcome { passed: 9, failed: 1, ..Outcome::default() }), "FAILED");
    }
}
