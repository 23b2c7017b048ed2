//! Where results go. What cannot be written is found out before the run, as far as it can be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file that is there to be written, with what was in it until then. One that was made for it goes again, if nothing is written.
#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    file: File,
    is_leftover: bool,
}

impl OutputFile {
    /// Opens the file, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write {}", path.display());
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let is_leftover = made.is_ok();
        let file = made.or_else(|_| OpenOptions::new().write(true).create(true).truncate(false).open(path));
        let file = file.with_context(cannot)?;
        Ok(Self { path: path.to_owned(), file, is_leftover })
    }

    /// Writes the text in place of what was there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn write(mut self, text: &str) -> anyhow::Result<()> {
        let is_regular = self.file.metadata().is_ok_and(|facts| facts.is_file());
        self.is_leftover = false;
        let emptied = if is_regular { self.file.set_len(0) } else { Ok(()) };
        emptied
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.is_leftover {
            // There is nothing to be done about one that stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes to standard output.
///
/// # Errors
///
/// What the system says, where nobody reads it any more or it is full.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}
