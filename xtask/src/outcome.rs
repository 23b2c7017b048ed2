//! What came of a step.

use std::ops::AddAssign;

/// What came of a step, or of all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Tests that are marked to be left out.
    pub(crate) ignored: u64,
    /// What a reader of the summary has to know.
    pub(crate) note: Option<String>,
}

impl Outcome {
    /// A check that is no test: it counts as one.
    pub(crate) fn of_check(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), ..Self::default() }
    }

    /// Says how a check ended, and counts it as one.
    pub(crate) fn of_named_check(title: &str, ended: &anyhow::Result<()>) -> Self {
        match ended {
            Ok(()) => println!("ok      {title}"),
            Err(error) => println!("FAILED  {title}\n        {error:#}"),
        }
        Self::of_check(ended.is_ok())
    }

    /// Something that could not be done here, and why. It counts as nothing.
    pub(crate) fn not_done(why: impl Into<String>) -> Self {
        Self { note: Some(why.into()), ..Self::default() }
    }

    /// The counts of a libtest summary, `test result: ok. 5 passed; 0 failed; 1 ignored; ...`.
    pub(crate) fn of_libtest_line(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut outcome = Self::default();
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse() else { continue };
            match what {
                "passed" => outcome.passed = number,
                "failed" => outcome.failed = number,
                "ignored" => outcome.ignored = number,
                _ => {}
            }
        }
        Some(outcome)
    }

    /// Adds the exit status of what was counted: a run that failed without a failed test, for it did not compile or a
    /// test crashed, is a failure too.
    pub(crate) fn with_status(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.failed > 0
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.note = match (self.note.take(), other.note) {
            (Some(one), Some(two)) => Some(format!("{one}; {two}")),
            (one, two) => one.or(two),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_summaries_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s";
        let expected = Outcome { passed: 12, failed: 3, ignored: 1, note: None };
        assert_eq!(Outcome::of_libtest_line(line), Some(expected));
        assert_eq!(Outcome::of_libtest_line("test something ... ok"), None);
        assert_eq!(Outcome::of_libtest_line("test result: what"), None);
    }

    #[test]
    fn a_failure_without_a_failed_test_counts() {
        let crashed = Outcome { passed: 5, ..Outcome::default() }.with_status(false);
        assert_eq!((crashed.passed, crashed.failed), (5, 1));
        let failed = Outcome { failed: 2, ..Outcome::default() }.with_status(false);
        assert_eq!(failed.failed, 2);
        assert!(!Outcome { passed: 5, ..Outcome::default() }.with_status(true).is_failure());
    }

    #[test]
    fn outcomes_add_up() {
        let mut sum = Outcome::of_check(true);
        sum += Outcome::of_check(false);
        sum += Outcome::not_done("no network");
        assert_eq!(sum, Outcome { passed: 1, failed: 1, ignored: 0, note: Some(String::from("no network")) });
    }
}
