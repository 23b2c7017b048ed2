//! What was found, and how it is told.

use std::fmt;

/// Lines are broken before they are longer than this many characters.
const LINE_CHARACTERS_MAX: usize = 100;

/// How far the text stands to the right of the mark.
const INDENT: &str = "         ";

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// It works.
    Fine,
    /// Worth knowing; it hinders nobody, or nobody but the clients that the finding names.
    Note,
    /// Some clients, or some circumstances, will meet with failure.
    Warning,
    /// The server will not start, or data connections fail for everybody.
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, such as `passive range 50000-50015`.
    pub what: String,
    /// What was seen, and what follows from it: whole sentences.
    pub why: String,
    /// What can be done about it; `None` where nothing needs to be, or can.
    pub mend: Option<String>,
}

impl Finding {
    pub(crate) fn fine(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level: Level::Fine, what: what.into(), why: why.into(), mend: None }
    }

    pub(crate) fn note(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::fine(what, why) }
    }

    pub(crate) fn warning(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::fine(what, why) }
    }

    pub(crate) fn problem(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::fine(what, why) }
    }

    pub(crate) fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

/// A paragraph: the mark and the subject, then the reason, then the mend.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<9}", self.level)?;
        write_wrapped(formatter, &format!("{}: {}", self.what, self.why))?;
        if let Some(mend) = &self.mend {
            formatter.write_str(INDENT)?;
            write_wrapped(formatter, &format!("Mend: {mend}"))?;
        }
        Ok(())
    }
}

/// Words between blanks, but for blanks in backquotes: what is to be copied stays in one piece.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |character| {
        quoted ^= character == '`';
        character == ' ' && !quoted
    })
}

/// Breaks lines between words. A word that is too long for a line is left whole.
fn write_wrapped(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            formatter.write_str(INDENT)?;
        }
        let mut column = INDENT.len();
        for (number, word) in words(line).enumerate() {
            let length = word.chars().count();
            if number > 0 && column + 1 + length > LINE_CHARACTERS_MAX {
                write!(formatter, "\n{INDENT}")?;
                column = INDENT.len();
            } else if number > 0 {
                formatter.write_str(" ")?;
                column += 1;
            }
            formatter.write_str(word)?;
            column += length;
        }
        formatter.write_str("\n")?;
    }
    Ok(())
}

/// All that was found, in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// The worst level; [`Level::Fine`] of no findings.
    #[must_use]
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Fine)
    }

    /// What the command ends with: 0 where nothing is worse than a note, 3 for warnings, 4 for problems. The codes 1 and 2 are
    /// left to mean that nothing was examined: a configuration that cannot be read, a command line that makes no sense.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.worst() {
            Level::Fine | Level::Note => 0,
            Level::Warning => 3,
            Level::Problem => 4,
        }
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

impl Extend<Finding> for Report {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        self.findings.extend(findings);
    }
}

/// A paragraph for each finding, and a line with the counts.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            finding.fmt(formatter)?;
        }
        let plural = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            count => format!("{count} {word}s"),
        };
        writeln!(
            formatter,
            "\n{}, {}, {}, {} fine.",
            plural(self.count(Level::Problem), "problem"),
            plural(self.count(Level::Warning), "warning"),
            plural(self.count(Level::Note), "note"),
            self.count(Level::Fine),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(levels: &[Level]) -> Report {
        let finding = |&level| Finding { level, ..Finding::fine("range", "is good") };
        Report { findings: levels.iter().map(finding).collect() }
    }

    #[test]
    fn the_worst_finding_is_the_exit_code() {
        assert_eq!(report(&[]).exit_code(), 0);
        assert_eq!(report(&[Level::Fine, Level::Note]).exit_code(), 0);
        assert_eq!(report(&[Level::Warning, Level::Note]).exit_code(), 3);
        assert_eq!(report(&[Level::Warning, Level::Problem, Level::Fine]).exit_code(), 4);
    }

    #[test]
    fn a_finding_is_a_paragraph() {
        let told = Finding::problem("PASV", "word ".repeat(30).trim_end())
            .mend("set `passive.advertise`")
            .to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].starts_with("PROBLEM  PASV: word word"), "{told}");
        assert!(lines[1].starts_with("         word"), "{told}");
        assert_eq!(lines.last(), Some(&"         Mend: set `passive.advertise`"));
        assert!(lines.iter().all(|line| line.chars().count() <= LINE_CHARACTERS_MAX), "{told}");
    }

    #[test]
    fn a_word_longer_than_a_line_stays_whole() {
        let long = "x".repeat(150);
        let told = Finding::note("a", format!("b {long} c")).to_string();
        assert!(told.lines().any(|line| line.trim() == long), "{told}");
    }

    #[test]
    fn a_command_stays_in_one_piece() {
        let command = format!("`sysctl {}=1`", "net.ipv4.".repeat(9));
        let told = Finding::note("a", "b").mend(format!("type {command} as root.")).to_string();
        assert!(told.lines().any(|line| line.trim().starts_with(&command)), "{told}");
    }

    #[test]
    fn a_report_ends_with_the_counts() {
        let told = report(&[Level::Fine, Level::Problem, Level::Note, Level::Note]).to_string();
        assert!(told.ends_with("\n1 problem, 0 warnings, 2 notes, 1 fine.\n"), "{told}");
    }
}
