//! One entry as MLSD and MLST give it: facts for programs (RFC 3659 section 7).

use super::names::{write_decimal, write_printable};
use crate::calendar::write_time_value;
use crate::{Facts, Kind};

bitflags::bitflags! {
    /// The facts that a client asked for, all by default (`OPTS MLST`, RFC 3659 section 7.9).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FactSelection: u8 {
        /// `type`: `file`, `dir`, or `OS.unix=` and a kind of its own.
        const TYPE = 1 << 0;
        /// `size`: of files only, in bytes.
        const SIZE = 1 << 1;
        /// `modify`: the time of the last change, in UTC.
        const MODIFY = 1 << 2;
        /// `perm`: what this user may do with it.
        const PERM = 1 << 3;
        /// `unique`: the same for two names of the same file, and different for different files.
        const UNIQUE = 1 << 4;
        /// `UNIX.mode`: the permission bits, in octal.
        const UNIX_MODE = 1 << 5;
        /// `UNIX.owner`: the owner's number.
        const UNIX_OWNER = 1 << 6;
        /// `UNIX.group`: the group's number.
        const UNIX_GROUP = 1 << 7;
    }
}

impl Default for FactSelection {
    fn default() -> Self {
        Self::all()
    }
}

/// What the user of a session may do, for the fact `perm` (RFC 3659 section 7.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// RETR of files.
    pub download: bool,
    /// STOR of new files.
    pub upload: bool,
    /// STOR onto files that exist.
    pub overwrite: bool,
    /// APPE to files that exist.
    pub append: bool,
    /// DELE and RMD.
    pub delete: bool,
    /// RNFR and RNTO.
    pub rename: bool,
    /// MKD.
    pub make_directory: bool,
    /// LIST, NLST and MLSD of directories.
    pub list: bool,
}

/// Appends the selected facts of an entry, a space, and its name: an entry of RFC 3659 section 7.2, without the line's
/// end and without the space that stands before it in the reply to MLST. Control bytes in the name become `?`.
pub fn format_machine_entry(
    facts: &Facts,
    name: &[u8],
    selection: FactSelection,
    permissions: Permissions,
    out: &mut Vec<u8>,
) {
    write_facts(facts, selection, permissions, out);
    out.push(b' ');
    write_printable(name, out);
}

fn write_facts(facts: &Facts, selection: FactSelection, permissions: Permissions, out: &mut Vec<u8>) {
    if selection.contains(FactSelection::TYPE) {
        out.extend_from_slice(match facts.kind {
            Kind::File => b"type=file;".as_slice(),
            Kind::Directory => b"type=dir;",
            Kind::Symlink => b"type=OS.unix=slink;",
            Kind::Other => b"type=OS.unix=special;",
        });
    }
    if selection.contains(FactSelection::SIZE) && facts.kind == Kind::File {
        write_number(b"size=", facts.size, out);
    }
    if selection.contains(FactSelection::MODIFY) {
        out.extend_from_slice(b"modify=");
        write_time_value(facts.modified_unix_seconds, out);
        out.push(b';');
    }
    if selection.contains(FactSelection::PERM) {
        write_permissions(facts.kind, permissions, out);
    }
    if selection.contains(FactSelection::UNIQUE) {
        out.extend_from_slice(b"unique=");
        write_hexadecimal(facts.device, out);
        out.push(b'g');
        write_hexadecimal(facts.inode, out);
        out.push(b';');
    }
    if selection.contains(FactSelection::UNIX_MODE) {
        out.extend_from_slice(b"UNIX.mode=");
        out.extend([9, 6, 3, 0].map(|shift| b"01234567"[(facts.mode >> shift & 7) as usize]));
        out.push(b';');
    }
    if selection.contains(FactSelection::UNIX_OWNER) {
        write_number(b"UNIX.owner=", u64::from(facts.owner), out);
    }
    if selection.contains(FactSelection::UNIX_GROUP) {
        write_number(b"UNIX.group=", u64::from(facts.group), out);
    }
}

fn write_number(label: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(label);
    write_decimal(number, 0, out);
    out.push(b';');
}

/// The letters in alphabetical order, as RFC 3659 lists them.
fn write_permissions(kind: Kind, may: Permissions, out: &mut Vec<u8>) {
    let letters: &[(bool, u8)] = match kind {
        Kind::File => &[
            (may.append, b'a'),
            (may.delete, b'd'),
            (may.rename, b'f'),
            (may.download, b'r'),
            (may.overwrite, b'w'),
        ],
        Kind::Directory => &[
            (may.upload, b'c'),
            (may.delete, b'd'),
            (true, b'e'),
            (may.rename, b'f'),
            (may.list, b'l'),
            (may.make_directory, b'm'),
            (may.delete, b'p'),
        ],
        Kind::Symlink | Kind::Other => &[(may.delete, b'd'), (may.rename, b'f')],
    };
    out.extend_from_slice(b"perm=");
    out.extend(letters.iter().filter(|(allowed, _)| *allowed).map(|(_, letter)| letter));
    out.push(b';');
}

fn write_hexadecimal(number: u64, out: &mut Vec<u8>) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(number >> (digit * 4) & 0xf) as usize]));
}
