//! Sample trees, and what a tree holds, to compare.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The text of `text.txt`: lines that end in LF, the last one too.
pub(crate) const TEXT: &str = "one\ntwo\n\n  four, after an empty line\nende: \u{fc}\n";

/// The largest file of [`build`].
pub(crate) const LARGE: &str = "large.bin";
/// How many bytes it has: enough for many turns of a transfer, and no multiple of anything.
pub(crate) const LARGE_BYTES: usize = 5 * 1024 * 1024 + 17;

/// Which names a sample tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Any bytes.
    AnyBytes,
    /// UTF-8, for clients that know no other.
    Utf8,
    /// ASCII, for clients that take bytes above 127 for something else.
    Ascii,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory,
    File { bytes: usize, sha256: String },
}

/// Everything below a directory, by its path from there.
pub(crate) type Tree = BTreeMap<PathBuf, Entry>;

/// Fills `root` with files of sizes around every boundary, and with names that clients and listings trip over.
pub(crate) fn build(root: &Path, names: Names) {
    let sizes = [("empty", 0), ("byte", 1), ("kib", 1024), ("odd.bin", 64 * 1024 + 1), (LARGE, LARGE_BYTES)];
    for (seed, (name, bytes)) in (1..).zip(sizes) {
        write(root, name.as_ref(), &random_bytes(seed, bytes));
    }
    write(root, "text.txt".as_ref(), TEXT.as_bytes());
    write(root, "with  two spaces.txt".as_ref(), b"spaces\n");
    write(root, "-dash".as_ref(), b"a leading dash\n");
    write(root, "quote\"d.txt".as_ref(), b"quoted\n");
    write(root, "brackets[1]{2}.txt".as_ref(), b"no pattern\n");
    write(root, "a/b/c/d/e/f/deep.txt".as_ref(), b"deep\n");
    write(root, "a/b/beside.bin".as_ref(), &random_bytes(99, 4096));
    write(root, "folder with spaces/inside".as_ref(), b"inside\n");
    fs::create_dir(root.join("empty folder")).expect("a folder");
    if names != Names::Ascii {
        write(root, "\u{fc}ml\u{e4}ut \u{65e5}\u{672c}.txt".as_ref(), "\u{1f980}\n".as_bytes());
        write(root, "\u{3b1}/\u{3b2}.txt".as_ref(), b"greek\n");
    }
    if names == Names::AnyBytes {
        write(root, OsStr::from_bytes(b"latin-\xe4\xf6\xfc.txt"), b"not UTF-8\n");
    }
}

/// Bytes that look random and are the same each time; never two trees' alike for different seeds.
pub(crate) fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64*: its upper bytes are good enough to hold no pattern that a conversion would leave alone.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Writes a file, and the folders on its way.
pub(crate) fn write(root: &Path, path: &OsStr, contents: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a path below the root")).expect("folders");
    fs::write(path, contents).expect("a file");
}

/// What is below `root`.
pub(crate) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = entry.path();
            let below = path.strip_prefix(root).expect("below the root").to_owned();
            if entry.file_type().expect("a type").is_dir() {
                tree.insert(below, Entry::Directory);
                folders.push(path);
            } else {
                tree.insert(below, entry_of(&fs::read(&path).expect("a file")));
            }
        }
    }
    tree
}

/// A file of these contents.
pub(crate) fn entry_of(contents: &[u8]) -> Entry {
    let sha256 = Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect();
    Entry::File { bytes: contents.len(), sha256 }
}

/// Checks that both trees are the same, and says where they are not.
#[track_caller]
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (left_tree, right_tree) = (read(left), read(right));
    let only = |one: &Tree, other: &Tree| -> Vec<String> {
        let differing = one.iter().filter(|(path, entry)| other.get(*path) != Some(*entry));
        differing.map(|(path, entry)| format!("  {}: {entry:?}", path.display())).collect()
    };
    let (left_only, right_only) = (only(&left_tree, &right_tree), only(&right_tree, &left_tree));
    assert!(
        left_only.is_empty() && right_only.is_empty(),
        "in {}:\n{}\nin {}:\n{}",
        left.display(),
        left_only.join("\n"),
        right.display(),
        right_only.join("\n"),
    );
}

/// Checks that two files hold the same bytes.
#[track_caller]
pub(crate) fn assert_same_file(left: &Path, right: &Path) {
    let read = |path: &Path| match fs::read(path) {
        Ok(contents) => entry_of(&contents),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    assert_eq!(read(left), read(right), "{} and {} differ", left.display(), right.display());
}
