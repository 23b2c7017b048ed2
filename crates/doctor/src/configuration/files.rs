//! The served directories, and the user that serves them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use config::Config;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use protocol::rights::Rights;

use crate::machine::Machine;
use crate::report::Finding;

/// Less free space than this is told.
const FREE_BYTES_FEW: u64 = 1 << 30;

pub(super) fn examine(config: &Config, machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reader = match &config.user {
        None => Reader::ThisProcess,
        Some(name) => match look_up(name, machine) {
            Ok(reader) => reader,
            Err(finding) => {
                findings.push(finding);
                Reader::ThisProcess
            }
        },
    };
    for (directory, is_written) in directories(config) {
        findings.push(examine_directory(&directory, is_written, &reader));
    }
    findings
}

/// Who will read the files.
enum Reader {
    ThisProcess,
    /// The user that the server becomes, with the groups that it will have.
    Other {
        name: String,
        user: Uid,
        groups: Vec<Gid>,
    },
}

fn look_up(name: &str, machine: &Machine) -> Result<Reader, Finding> {
    let what = format!("user {name}");
    if !machine.rights.is_root {
        let why =
            "the server can become another user only when root starts it; this is run by somebody else.";
        return Err(Finding::problem(what, why).mend("start it (and run this) as root, or leave `user` out."));
    }
    let Ok(Some(user)) = User::from_name(name) else {
        return Err(Finding::problem(
            what,
            "there is no such user on this machine, so the server will not start.",
        )
        .mend(format!(
            "`useradd --system --no-create-home --shell /usr/sbin/nologin {name}`, or name another."
        )));
    };
    let groups = std::ffi::CString::new(name).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
    Ok(Reader::Other {
        name: name.to_owned(),
        user: user.uid,
        groups: groups.unwrap_or_else(|| vec![user.gid]),
    })
}

/// Every directory that some client sees as its root, and whether one may write there.
fn directories(config: &Config) -> Vec<(PathBuf, bool)> {
    let mut directories: Vec<(PathBuf, bool)> = Vec::new();
    let mut add = |root: &Option<PathBuf>, rights: Rights| {
        let root = root.as_ref().unwrap_or(&config.directory);
        let is_written = rights.intersects(Rights::WRITER.difference(Rights::READER));
        match directories.iter_mut().find(|(directory, _)| directory == root) {
            Some((_, written)) => *written |= is_written,
            None => directories.push((root.clone(), is_written)),
        }
    };
    // The server opens it whoever logs in.
    add(&None, Rights::READER);
    if let Some(rights) = config.anonymous.access.rights() {
        add(&config.anonymous.root, rights);
    }
    for account in &config.accounts {
        add(&account.root, account.rights);
    }
    directories
}

fn examine_directory(directory: &Path, is_written: bool, reader: &Reader) -> Finding {
    let what = format!("directory {}", directory.display());
    match fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => {
            return Finding::problem(what, "it is no directory.").mend("name a directory.");
        }
        Ok(_) => {}
        Err(error) => {
            return Finding::problem(what, format!("it cannot be looked at: {error}."))
                .mend("make it, or name another.");
        }
    }
    if let Err(reason) = may(directory, Access::Read, reader) {
        return Finding::problem(what, format!("it cannot be listed: {reason}."))
            .mend("give that user the right to read and enter it, and to enter all above it.");
    }
    if !is_written {
        return Finding::fine(what, "it can be read.");
    }
    if let Err(reason) = may(directory, Access::Write, reader) {
        return Finding::warning(what, format!("some client may upload, but not one file can be made there: {reason}."))
            .mend("give that user the right to write, or let clients upload to a directory below that it may write to.");
    }
    space(directory, what)
}

/// What is wanted of a directory, as the bits of its mode: chmod(2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Enter = 0o1,
    Write = 0o3,
    Read = 0o5,
}

fn may(directory: &Path, access: Access, reader: &Reader) -> Result<(), String> {
    match reader {
        Reader::ThisProcess => by_this_process(directory, access).map_err(|error| error.to_string()),
        Reader::Other { name, user, groups } => {
            let directory = directory.canonicalize().map_err(|error| error.to_string())?;
            let wanted = |path: &Path| if path == directory { access } else { Access::Enter };
            match directory.ancestors().find(|path| !mode_allows(path, wanted(path), *user, groups)) {
                None => Ok(()),
                Some(path) => Err(format!("the user {name} has no right to {} by its mode", path.display())),
            }
        }
    }
}

fn by_this_process(directory: &Path, access: Access) -> io::Result<()> {
    use nix::unistd::{AccessFlags, access as check};
    let flags = match access {
        Access::Enter => AccessFlags::X_OK,
        Access::Write => AccessFlags::X_OK | AccessFlags::W_OK,
        Access::Read => AccessFlags::X_OK | AccessFlags::R_OK,
    };
    Ok(check(directory, flags)?)
}

/// Access control lists are not read: where one grants more than the mode, this says too little.
fn mode_allows(path: &Path, access: Access, user: Uid, groups: &[Gid]) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    let shift = if metadata.uid() == user.as_raw() {
        6
    } else if groups.iter().any(|group| group.as_raw() == metadata.gid()) {
        3
    } else {
        0
    };
    let wanted = access as u32;
    metadata.mode() >> shift & wanted == wanted
}

/// Uploads are kept beside their final place until they are whole, so that is where the space is needed.
fn space(directory: &Path, what: String) -> Finding {
    let Ok(volume) = statvfs(directory) else {
        return Finding::fine(what, "it can be read and written.");
    };
    if volume.flags().contains(FsFlags::ST_RDONLY) {
        return Finding::warning(
            what,
            "some client may upload, but it is on a file system that is mounted read-only.",
        )
        .mend("mount it for writing (Docker: the volume without :ro), or let nobody upload.");
    }
    #[allow(clippy::useless_conversion, reason = "the fields are of another width on 32 bits")]
    let free_bytes = u64::from(volume.blocks_available()) * u64::from(volume.fragment_size());
    let free = format!("{} MiB are free", free_bytes >> 20);
    let mend =
        "make room: an upload, and a file that is being replaced, take their whole size until they are done.";
    #[allow(clippy::useless_conversion, reason = "the field is of another width on 32 bits")]
    let has_no_inode = u64::from(volume.files()) > 0 && u64::from(volume.files_available()) == 0;
    if free_bytes == 0 || has_no_inode {
        return Finding::problem(what, "there is no room for a single file more.").mend(mend);
    }
    if free_bytes < FREE_BYTES_FEW {
        return Finding::warning(what, format!("it can be read and written, but {free} only.")).mend(mend);
    }
    Finding::fine(what, format!("it can be read and written; {free}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;
    use std::os::unix::fs::PermissionsExt as _;

    fn config(directory: &Path) -> Config {
        Config { directory: directory.to_owned(), ..Config::default() }
    }

    fn examined(config: &Config) -> Vec<Finding> {
        examine(config, &Machine::unhindered())
    }

    #[test]
    fn a_directory_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let findings = examined(&config(directory.path()));
        assert_eq!((findings.len(), findings[0].level), (1, Level::Fine));
    }

    #[test]
    fn what_is_no_directory_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(examined(&config(&directory.path().join("gone")))[0].level, Level::Problem);
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(examined(&config(&file))[0].why.contains("no directory"));
    }

    #[test]
    fn each_root_is_looked_at_once() {
        let mut config = config(Path::new("/srv"));
        config.anonymous.access = config::AnonymousAccess::Upload;
        let account = |root: Option<&str>| config::Account {
            root: root.map(PathBuf::from),
            rights: Rights::READER,
            ..config::Account::default()
        };
        config.accounts = vec![account(None), account(Some("/home/a"))];
        assert_eq!(directories(&config), [(PathBuf::from("/srv"), true), (PathBuf::from("/home/a"), false)]);
    }

    #[test]
    fn a_user_that_is_not_there_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { user: Some(String::from("nobody-of-that-name")), ..config(directory.path()) };
        assert!(examined(&config)[0].why.contains("only when root starts it"));
        let mut machine = Machine::unhindered();
        machine.rights.is_root = true;
        assert!(examine(&config, &machine)[0].why.contains("no such user"));
    }

    #[test]
    fn modes_are_read_as_the_kernel_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (owner, group) =
            (Uid::from_raw(path.metadata().unwrap().uid()), Gid::from_raw(path.metadata().unwrap().gid()));
        let (stranger, strangers) = (Uid::from_raw(owner.as_raw() + 1), Gid::from_raw(group.as_raw() + 1));
        let allowed = |mode, access, user, group| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            mode_allows(path, access, user, &[group])
        };
        assert!(allowed(0o700, Access::Read, owner, strangers));
        assert!(!allowed(0o700, Access::Read, stranger, group));
        assert!(allowed(0o750, Access::Read, stranger, group));
        assert!(!allowed(0o750, Access::Write, stranger, group));
        assert!(allowed(0o705, Access::Read, stranger, strangers));
        // Of owner, group and others the first that fits decides, even if a later one grants more.
        assert!(!allowed(0o077, Access::Enter, owner, group));
        let reader = Reader::Other { name: String::from("x"), user: stranger, groups: vec![strangers] };
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(may(path, Access::Read, &reader).unwrap_err().contains("has no right to"));
    }
}
