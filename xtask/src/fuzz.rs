//! The fuzz targets, each for a while.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::outcome::Outcome;
use crate::shell;

/// Where the targets are, from the top of the repository.
const FUZZ: &str = "crates/protocol/fuzz";

/// How long each target runs.
const SECONDS_PER_TARGET: u32 = 30;

/// Runs every fuzz target from its seeds, with the dictionary. Each counts as one check.
///
/// What a run finds new stays in `corpus/` and helps the next one; an input that makes a target fail is left in
/// `artifacts/`, and the last lines of the run say how to repeat it.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let fuzz = shell::root().join(FUZZ);
    let mut sum = Outcome::default();
    for target in targets(&fuzz)? {
        let corpus = fuzz.join("corpus").join(&target);
        fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        // Without a sanitizer: the code is free of unsafe, and a sanitizer would take a nightly toolchain.
        let mut command = shell::cargo(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir", FUZZ, &target]);
        command.arg(&corpus).arg(fuzz.join("seeds").join(&target)).arg("--");
        command.arg(format!("-max_total_time={SECONDS_PER_TARGET}")).arg("-print_final_stats=1");
        command.arg(format!("-dict={}", fuzz.join("ftp.dict").display()));
        sum += shell::check(&mut command)?;
    }
    Ok(sum)
}

/// The names of the targets, in order.
fn targets(fuzz: &Path) -> anyhow::Result<Vec<String>> {
    let folder = fuzz.join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        let fuzz = shell::root().join(FUZZ);
        let targets = targets(&fuzz).expect("targets");
        assert!(!targets.is_empty());
        for target in targets {
            let seeds = fs::read_dir(fuzz.join("seeds").join(&target)).expect("a folder of seeds");
            assert!(seeds.count() > 0, "{target} has seeds");
        }
    }
}
