//! A file's text, of bounded size.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use crate::error::{ConfigError, Fault};
use crate::place::{Lines, Place};

/// A larger file is refused, before it is read.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of `file`.
pub(crate) fn read(file: &Path) -> Result<String, ConfigError> {
    let fault = |fault| ConfigError::new(Place::File(Arc::from(file)), None, fault);
    let unreadable = |error: io::Error| fault(Fault::Unreadable(error.to_string()));
    // Asked before it is opened: opening a directory works, and says so only when it is read.
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(fault(Fault::Directory));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(fault(Fault::TooLarge));
    }
    // A pipe or a device tells no length, and a file may have grown.
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fault(Fault::TooLarge));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        ConfigError::new(Lines::new(file, &text).place(valid), None, Fault::NotUtf8)
    })
}
