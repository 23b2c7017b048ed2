//! The names of a directory in the order in which a listing gives them, read as they are needed.

use std::os::fd::OwnedFd;

use nix::dir::{Dir, OwningIter};

use super::glob::Pattern;
use crate::StorageError;
use crate::path::is_reserved;

/// Directories of up to this many names are sorted.
pub(super) const SORTED_NAMES_MAX: usize = 1024;

/// How many names are read before a listing starts, where hidden ones among them keep the shown ones few.
const NAMES_READ_AHEAD_MAX: usize = 8 * SORTED_NAMES_MAX;

/// Which names of a directory are shown. `.`, `..` and the names of unfinished uploads never are.
#[derive(Debug)]
pub(super) enum Filter {
    /// Those that do not begin with a dot, or all.
    Visible {
        /// All.
        all: bool,
    },
    /// Those that match.
    Matching(Pattern),
}

impl Filter {
    fn shows(&mut self, name: &[u8]) -> bool {
        if matches!(name, b"." | b"..") || is_reserved(name) {
            return false;
        }
        match self {
            Self::Visible { all } => *all || !name.starts_with(b"."),
            Self::Matching(pattern) => pattern.matches(name),
        }
    }
}

/// The names still to be listed: those read ahead, then the rest of the directory.
#[derive(Debug)]
pub(super) struct Entries {
    ahead: Names,
    rest: Option<OwningIter>,
    filter: Filter,
}

impl Entries {
    /// One name alone.
    pub(super) fn one(name: &[u8]) -> Self {
        let mut ahead = Names::default();
        ahead.push(name);
        Self { ahead, rest: None, filter: Filter::Visible { all: true } }
    }

    /// The names in `directory` that `filter` shows, sorted where they are few. The beginning is read here; where a
    /// pattern is given, up to the first match.
    pub(super) fn of_directory(directory: OwnedFd, filter: Filter) -> Result<Self, StorageError> {
        let rest = Some(Dir::from_fd(directory)?.into_iter());
        let mut entries = Self { ahead: Names::default(), rest, filter };
        entries.read_ahead()?;
        Ok(entries)
    }

    fn read_ahead(&mut self) -> Result<(), StorageError> {
        let mut read = 0_usize;
        while let Some(rest) = &mut self.rest {
            match rest.next() {
                None => {
                    self.rest = None;
                    self.ahead.sort();
                }
                Some(entry) => {
                    let entry = entry?;
                    let name = entry.file_name().to_bytes();
                    if self.filter.shows(name) {
                        self.ahead.push(name);
                    }
                    read += 1;
                }
            }
            let seeks_first_match = matches!(self.filter, Filter::Matching(_)) && self.ahead.is_empty();
            if self.ahead.len() > SORTED_NAMES_MAX || (read >= NAMES_READ_AHEAD_MAX && !seeks_first_match) {
                break;
            }
        }
        Ok(())
    }

    /// Whether there may be more names.
    pub(super) fn has_more(&self) -> bool {
        !self.ahead.is_empty() || self.rest.is_some()
    }

    /// Looks at the next name, and gives it to `show` if it is to be shown.
    pub(super) fn next(&mut self, show: impl FnOnce(&[u8])) -> Result<(), StorageError> {
        if let Some(name) = self.ahead.next() {
            show(name);
            return Ok(());
        }
        let Some(rest) = &mut self.rest else { return Ok(()) };
        match rest.next() {
            None => self.rest = None,
            Some(entry) => {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if self.filter.shows(name) {
                    show(name);
                }
            }
        }
        Ok(())
    }

    /// How many names are held in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.ahead.spans.len()
    }
}

/// Names one behind the other in one allocation.
#[derive(Debug, Default)]
struct Names {
    bytes: Vec<u8>,
    /// Where each name starts and ends in `bytes`.
    spans: Vec<(usize, usize)>,
    /// How many were taken out already.
    taken: usize,
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.spans.push((start, self.bytes.len()));
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by_key(|&(start, end)| &bytes[start..end]);
    }

    fn len(&self) -> usize {
        self.spans.len() - self.taken
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn next(&mut self) -> Option<&[u8]> {
        let &(start, end) = self.spans.get(self.taken)?;
        self.taken += 1;
        Some(&self.bytes[start..end])
    }
}
