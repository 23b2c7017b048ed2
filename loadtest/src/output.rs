//! Where results go. What cannot be written is found out before the run, as far as it can be.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// Who may do what with a file that is made, before the umask.
const PERMISSIONS: u32 = 0o666;

/// A place for results.
#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    way: Way,
}

/// How results get there.
#[derive(Debug)]
enum Way {
    /// Made beside the place, and put there once it is whole: a full disk leaves what was there.
    Whole(NamedTempFile),
    /// A pipe or a device, or a file in a directory in which none can be made.
    Straight(File),
    /// Whatever the name: others write there, too, and all that is written comes one after another.
    StandardOutput,
}

impl OutputFile {
    /// Makes ready to write there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let way = way_to(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path: path.to_owned(), way })
    }

    /// Writes the text in place of what was there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn write(self, text: &str) -> anyhow::Result<()> {
        let written = match self.way {
            Way::Whole(mut file) => file.write_all(text.as_bytes()).and_then(|()| {
                // A link leads to the file, and is none that is written to.
                let place = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
                file.persist(place).map(drop).map_err(|error| error.error)
            }),
            Way::Straight(mut file) => {
                let is_regular = file.metadata().is_ok_and(|facts| facts.is_file());
                let emptied = if is_regular { file.set_len(0) } else { Ok(()) };
                emptied.and_then(|()| file.write_all(text.as_bytes()))
            }
            Way::StandardOutput => return print(text),
        };
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn way_to(path: &Path) -> io::Result<Way> {
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return made_beside(path, PERMISSIONS),
        Err(error) => return Err(error),
    };
    if fs::metadata("/proc/self/fd/1").is_ok_and(|stdout| is_same(&stdout, &facts)) {
        return Ok(Way::StandardOutput);
    }
    // It is written to, whichever way.
    let file = OpenOptions::new().write(true).open(path)?;
    if !facts.is_file() {
        return Ok(Way::Straight(file));
    }
    Ok(made_beside(&fs::canonicalize(path)?, facts.permissions().mode()).unwrap_or(Way::Straight(file)))
}

fn made_beside(path: &Path, permissions: u32) -> io::Result<Way> {
    let permissions = fs::Permissions::from_mode(permissions);
    tempfile::Builder::new()
        .prefix(".loadtest-")
        .permissions(permissions)
        .tempfile_in(folder(path))
        .map(Way::Whole)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether two paths lead to one file, be it there or still to be made.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| Some((fs::canonicalize(folder(path)).ok()?, path.file_name()?.to_owned()));
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => is_same(&one, &other),
        _ => place(one).is_some_and(|one| Some(one) == place(other)),
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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
