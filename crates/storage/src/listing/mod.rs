//! Listings as streams: a directory is read as it is sent, so that one of a million names starts at once and takes no
//! more memory than one of a thousand.

mod entries;
mod glob;
pub(crate) mod long;
pub(crate) mod machine;
mod names;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, fstatat};

use self::entries::{Entries, Filter};
use self::glob::{Pattern, is_pattern};
use self::long::format_long_entry;
use self::machine::{FactSelection, Permissions, format_machine_entry};
use self::names::write_printable;
use crate::path::RelativePath;
use crate::{Facts, FileSystemKind, Kind, Root, StorageError};

/// What a line of a listing looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As `ls -l` (LIST). Always bare names, whatever the argument was.
    Long,
    /// Names alone (NLST), of files and of all else, each with the directory in front that the argument named.
    Names,
    /// Facts for programs (MLSD). Entries for the directory itself and its parent, which RFC 3659 section 7.5.1 leaves
    /// to the server, are not given: clients must tell them from names, and some recurse into them.
    Machine {
        /// The facts to give.
        selection: FactSelection,
        /// What the fact `perm` says.
        permissions: Permissions,
    },
}

/// How to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// What a line looks like.
    pub format: Format,
    /// Whether names that begin with a dot are shown (`-a`); MLSD shows them always.
    pub all: bool,
    /// The path as the client wrote it, without options; empty where it wrote none. NLST puts its directory part
    /// before each name (`NLST sub` and `NLST sub/*` both give `sub/name`), since clients hand the lines of NLST to
    /// RETR as they are: this is what `mget` lives on.
    pub argument: Vec<u8>,
    /// The time now in seconds since 1970-01-01 00:00:00 UTC: [`Format::Long`] shows the hour of what is recent.
    pub now_unix_seconds: i64,
}

/// How many names one [`Listing::fill`] looks at at most, so that it returns however few of them are shown.
const ENTRIES_PER_FILL_MAX: usize = 4096;

/// A listing in progress.
#[derive(Debug)]
pub struct Listing {
    entries: Entries,
    writer: EntryWriter,
}

impl Root {
    /// Starts a listing of `path`: of the names in it where it is a directory, of itself where it is not. Where
    /// nothing has that name and its last name is a pattern (`*`, `?`, `[a-z]`, `{one,two}`), of what matches; MLSD
    /// knows no patterns.
    ///
    /// A directory of at most 1,024 names is sorted by their bytes; a larger one comes in its own order.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], also where nothing matches a pattern; [`StorageError::NotADirectory`] for MLSD of
    /// something else; [`StorageError::PermissionDenied`] where the directory may not be read, or not be searched as
    /// far as the format needs it; or what the resolution gives.
    pub fn list(&self, path: &[u8], options: ListOptions) -> Result<Listing, StorageError> {
        let path = RelativePath::of(path)?;
        let machine = matches!(options.format, Format::Machine { .. });
        let all = options.all || machine;
        match (self.resolve(path.as_bytes(), OFlag::O_RDONLY | OFlag::O_DIRECTORY), path.split()) {
            (Ok(directory), _) => self.list_directory(path, directory, Filter::Visible { all }, options),
            (Err(StorageError::NotADirectory), Some((parent, name))) if !machine => {
                let directory = self.resolve_directory(parent.as_bytes())?;
                let writer = EntryWriter::new(self, parent, directory, options, Prefix::OfArgumentsParent);
                Ok(Listing { entries: Entries::one(name), writer })
            }
            (Err(StorageError::NotFound), Some((parent, name))) if !machine && is_pattern(name) => {
                let directory = self.resolve(parent.as_bytes(), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
                let listing =
                    self.list_directory(parent, directory, Filter::Matching(Pattern::new(name)), options)?;
                if listing.entries.has_more() { Ok(listing) } else { Err(StorageError::NotFound) }
            }
            (Err(error), _) => Err(error),
        }
    }

    fn list_directory(
        &self,
        path: RelativePath<'_>,
        directory: OwnedFd,
        filter: Filter,
        options: ListOptions,
    ) -> Result<Listing, StorageError> {
        if options.format != Format::Names {
            // Names that may be read but not looked up would come out as an empty listing.
            fstatat(&directory, ".", AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        let prefix = match filter {
            Filter::Visible { .. } => Prefix::OfArgument,
            Filter::Matching(_) => Prefix::OfArgumentsParent,
        };
        let entries = Entries::of_directory(directory.try_clone()?, filter)?;
        Ok(Listing { entries, writer: EntryWriter::new(self, path, directory, options, prefix) })
    }
}

/// The directory that is listed, or that holds what is.
impl AsFd for Listing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.directory.as_fd()
    }
}

impl Listing {
    /// Appends whole lines, each ended by CRLF, until about `bytes_max` bytes were appended (the last line may pass
    /// it), and says whether there may be more. It may append nothing and still say so.
    ///
    /// Entries that vanish meanwhile are left out, and so are those that the file system refuses to tell about.
    ///
    /// # Errors
    /// What the file system says to reading the directory.
    pub fn fill(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, StorageError> {
        let end = out.len().saturating_add(bytes_max);
        let mut looked_at = 0;
        while self.entries.has_more() && out.len() < end && looked_at < ENTRIES_PER_FILL_MAX {
            let Self { entries, writer } = self;
            entries.next(|name| writer.write(name, out))?;
            looked_at += 1;
        }
        Ok(self.entries.has_more())
    }
}

/// What NLST puts before each name.
#[derive(Clone, Copy)]
enum Prefix {
    /// The argument: it names the directory.
    OfArgument,
    /// The argument up to its last `/`: behind it stands a file's name or a pattern.
    OfArgumentsParent,
}

impl Prefix {
    fn of(self, mut argument: Vec<u8>) -> Vec<u8> {
        match self {
            Self::OfArgument if !argument.is_empty() && !argument.ends_with(b"/") => argument.push(b'/'),
            Self::OfArgument => {}
            Self::OfArgumentsParent => {
                let slash = argument.iter().rposition(|&byte| byte == b'/');
                argument.truncate(slash.map_or(0, |slash| slash + 1));
            }
        }
        argument
    }
}

/// Writes the lines of a listing.
#[derive(Debug)]
struct EntryWriter {
    root: Root,
    /// The directory of the names, and its path from the root.
    directory: OwnedFd,
    directory_path: Vec<u8>,
    format: Format,
    prefix: Vec<u8>,
    now_unix_seconds: i64,
    /// Whether a daemon or a server is asked for each entry. Of a directory on a disk, an entry that is itself a mount, or a link to
    /// one, is told of as the kernel knows it: to list a directory is not to wait for what is mounted in it.
    asks_others: bool,
}

/// `AT_STATX_DONT_SYNC`, which newfstatat(2) takes as well.
const DONT_SYNC: AtFlags = AtFlags::from_bits_retain(0x4000);

impl EntryWriter {
    fn new(
        root: &Root,
        path: RelativePath<'_>,
        directory: OwnedFd,
        options: ListOptions,
        prefix: Prefix,
    ) -> Self {
        Self {
            root: root.clone(),
            asks_others: root.kind_of_mount(&directory).is_none_or(FileSystemKind::always_waits),
            directory,
            directory_path: path.as_bytes().to_vec(),
            format: options.format,
            prefix: prefix.of(options.argument),
            now_unix_seconds: options.now_unix_seconds,
        }
    }

    /// What there is to tell of the name itself; nothing where it vanished.
    fn status(&self, name: &[u8]) -> Option<FileStat> {
        let unasked = if self.asks_others { AtFlags::empty() } else { DONT_SYNC };
        fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW | unasked).ok()
    }

    /// Appends the line of `name`, or nothing where it vanished.
    fn write(&self, name: &[u8], out: &mut Vec<u8>) {
        match self.format {
            Format::Names => {
                write_printable(&self.prefix, out);
                write_printable(name, out);
            }
            Format::Long => {
                let Some(status) = self.status(name) else { return };
                format_long_entry(&status, name, self.now_unix_seconds, out);
                if Facts::from(&status).kind == Kind::Symlink
                    && let Ok(link) = readlinkat(&self.directory, name)
                {
                    out.extend_from_slice(b" -> ");
                    write_printable(link.as_bytes(), out);
                }
            }
            Format::Machine { selection, permissions } => {
                let Some(status) = self.status(name) else { return };
                let facts = self.facts_behind(Facts::from(&status), name);
                format_machine_entry(&facts, name, selection, permissions, out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The facts that a client meets when it uses the name: of a symbolic link its target's, as far as the link leads
    /// to something beneath the root.
    fn facts_behind(&self, facts: Facts, name: &[u8]) -> Facts {
        if facts.kind != Kind::Symlink {
            return facts;
        }
        let path = [self.directory_path.as_slice(), b"/", name].concat();
        let known = match self.asks_others {
            true => Err(StorageError::WouldBlock),
            false => self.root.walk_cached(&path).and_then(Facts::known),
        };
        let found = match known {
            Err(StorageError::WouldBlock) => self.root.facts_at(&path),
            known => known,
        };
        found.unwrap_or(facts)
    }
}

#[cfg(test)]
mod tests;
