//! What can be wrong with a configuration, and how it is said: `place: key: what; mend`.

use std::error::Error;
use std::fmt;

use thiserror::Error;

use crate::file::FILE_BYTES_MAX;
use crate::place::Place;

/// What is wrong. Whoever wrote the configuration is at fault, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is no such key or variable.
    #[error("unknown {what}; {hint}")]
    Unknown {
        /// `key` or `environment variable`.
        what: &'static str,
        /// The nearest known one, or all that are known there.
        hint: String,
    },
    /// A key has to be there and is not.
    #[error("missing; {mend}")]
    Missing {
        /// Where to write what.
        mend: String,
    },
    /// The value is of another type.
    #[error("{found} where {expected} belongs")]
    Type {
        /// What is there.
        found: &'static str,
        /// What should be there.
        expected: String,
    },
    /// The value cannot be.
    #[error("{what}; {mend}")]
    Value {
        /// Why not.
        what: String,
        /// What could be.
        mend: String,
    },
    /// The value goes against another key's.
    #[error("{what}; {mend}")]
    Contradiction {
        /// How.
        what: String,
        /// What to change.
        mend: String,
    },
    /// The same key stands twice in one table.
    #[error("this key stands twice; keep one of them")]
    Duplicate,
    /// The file is no TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// The file cannot be read: the system is at fault, or its rights.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is a directory.
    #[error("is a directory; name the file in it")]
    Directory,
    /// The file is too large to be a configuration.
    #[error("is larger than {max} bytes; a configuration is not", max = FILE_BYTES_MAX)]
    TooLarge,
    /// A file that the value names has a fault.
    #[error("{file} {fault}")]
    Named {
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
    /// The file is not text.
    #[error("is not UTF-8 from here on; a configuration is text")]
    NotUtf8,
}

/// One fault, its place and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the faulty thing was written.
    pub place: Place,
    /// The path of the key; `None` where no key is concerned, or where the place says it.
    pub key: Option<String>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl ConfigError {
    pub(crate) fn new(place: Place, key: impl Into<Option<String>>, fault: Fault) -> Self {
        Self { place, key: key.into(), fault }
    }

    /// The same of a file as a whole that a key names: told at the key. A fault at a line of it is told there.
    pub(crate) fn named_by(self, place: Option<&Place>, key: &str) -> Self {
        let (Place::File(file), Some(place)) = (&self.place, place) else { return self };
        let fault = Fault::Named { file: file.display().to_string(), fault: Box::new(self.fault) };
        Self { place: place.clone(), key: Some(key.to_owned()), fault }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(formatter, "{key}: ")?;
        }
        write!(formatter, "{}", self.fault)
    }
}

impl Error for ConfigError {}

/// Every fault that was found, one at least, by file and line. It prints as one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `None` if nothing is wrong.
    pub(crate) fn of(mut errors: Vec<ConfigError>) -> Option<Self> {
        errors.sort_by(|one, other| one.place.cmp(&other.place));
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'e> IntoIterator for &'e ConfigErrors {
    type Item = &'e ConfigError;
    type IntoIter = std::slice::Iter<'e, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{error}")?;
        }
        Ok(())
    }
}

impl Error for ConfigErrors {}

/// Something that works, but perhaps not as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it was written.
    pub place: Place,
    /// The path of the key.
    pub key: String,
    /// What about it, and what to do.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.place, self.key, self.message)
    }
}
