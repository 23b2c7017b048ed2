//! Where a value was written.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File(Arc<Path>),
    /// A place in a file.
    Line {
        /// The file, as it was named.
        file: Arc<Path>,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nowhere: it is missing.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(formatter, "{}", file.display()),
            Self::Line { file, line, column } => write!(formatter, "{}:{line}:{column}", file.display()),
            Self::Environment(name) => formatter.write_str(name),
            Self::Flag(flag) => formatter.write_str(flag),
            Self::Nowhere => formatter.write_str("configuration"),
        }
    }
}

/// What is known of a key besides its value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Set(Place),
    /// It was written, but so that no value came of it: what depends on it cannot be judged.
    Faulty,
}

/// Where each key was written that is not at its default, by its path.
#[derive(Debug, Default)]
pub(crate) struct Origins(HashMap<String, Origin>);

impl Origins {
    pub(crate) fn set(&mut self, path: &str, place: Place) {
        self.0.insert(path.to_owned(), Origin::Set(place));
    }

    pub(crate) fn set_faulty(&mut self, path: &str) {
        self.0.insert(path.to_owned(), Origin::Faulty);
    }

    /// A later layer has written the key as a whole: what an earlier one wrote below it is gone.
    pub(crate) fn replace(&mut self, path: &str, place: Place) {
        self.0.retain(|known, _| !known.strip_prefix(path).is_some_and(|below| below.starts_with('[')));
        self.set(path, place);
    }

    /// Takes over what is known of the entries of a list, which follow the first `count` here.
    pub(crate) fn append_list(&mut self, list: &str, count: usize, others: Self) {
        for (path, origin) in others.0 {
            let entry = path.strip_prefix(list).and_then(|rest| rest.strip_prefix('[')?.split_once(']'));
            match entry.and_then(|(number, below)| Some((number.parse::<usize>().ok()?, below))) {
                Some((number, below)) => {
                    self.0.insert(format!("{list}[{}]{below}", count + number), origin);
                }
                None if origin == Origin::Faulty => {
                    self.0.insert(path, origin);
                }
                None => {}
            }
        }
    }

    /// Where the key was written last; `None` where it is at its default.
    pub(crate) fn place(&self, path: &str) -> Option<&Place> {
        match self.0.get(path) {
            Some(Origin::Set(place)) => Some(place),
            Some(Origin::Faulty) | None => None,
        }
    }

    /// The same, or where the list or table was written that the key belongs to: in a variable or a flag, entries have
    /// no places of their own.
    pub(crate) fn place_near(&self, path: &str) -> Option<&Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.place(path) {
                return Some(place);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    pub(crate) fn is_faulty(&self, path: &str) -> bool {
        self.0.get(path) == Some(&Origin::Faulty)
    }
}

/// A text with the starts of its lines, to tell lines and columns by.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    file: Arc<Path>,
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(file: &Path, text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: Arc::from(file), text, starts }
    }

    /// The place of the byte `offset`.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default().trim_start_matches('\u{feff}');
        Place::Line { file: Arc::clone(&self.file), line, column: before.chars().count() + 1 }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// A relative path in this file starts at the folder of the file.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let lines = Lines::new(Path::new("a.toml"), "x = 1\nü = 2\n");
        let shown = |offset| lines.place(offset).to_string();
        assert_eq!(shown(0), "a.toml:1:1");
        assert_eq!(shown(5), "a.toml:1:6");
        assert_eq!(shown(6), "a.toml:2:1");
        assert_eq!(shown(11), "a.toml:2:5");
        assert_eq!(shown(13), "a.toml:3:1");
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let lines = Lines::new(Path::new("a.toml"), "\u{feff}x = 1");
        assert_eq!(lines.place(3).to_string(), "a.toml:1:1");
    }
}
