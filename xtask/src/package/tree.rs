//! What is in the package, and where.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::package::documents;
use crate::shell;

/// Files of the repository, and the place of each in the package.
const FILES: [(&str, &str); 4] = [
    ("deploy/debian/ringftpd.toml", "etc/ringftpd/ringftpd.toml"),
    ("deploy/systemd/ringftpd.service", "usr/lib/systemd/system/ringftpd.service"),
    ("deploy/debian/copyright", "usr/share/doc/ringftpd/copyright"),
    ("deploy/debian/changelog", "usr/share/doc/ringftpd/changelog"),
];

/// Folders of the repository whose files of a kind go along.
const FOLDERS: [(&str, &str, &str); 2] = [
    ("docs", "md", "usr/share/doc/ringftpd"),
    ("deploy/examples", "toml", "usr/share/doc/ringftpd/examples"),
];

/// What dpkg reads and runs: a name, and the mode of the file.
const CONTROL: [(&str, u32); 4] =
    [("conffiles", 0o644), ("postinst", 0o755), ("prerm", 0o755), ("postrm", 0o755)];

/// What the name of the package is made of.
pub(super) struct Control {
    pub(super) version: &'static str,
    pub(super) architecture: String,
}

/// Puts everything below `root`.
pub(super) fn fill(root: &Path, binary: &Path) -> anyhow::Result<Control> {
    let repository = shell::root();
    let installed = root.join("usr/bin/ringftpd");
    copy(binary, &installed)?;
    shell::output(Command::new("strip").arg("--strip-unneeded").arg(&installed))?;
    for (from, to) in FILES {
        copy(&repository.join(from), &root.join(to))?;
    }
    for (folder, extension, to) in FOLDERS {
        for file in files_of(&repository.join(folder), extension)? {
            let name = file.file_name().context("a file has a name")?;
            copy(&file, &root.join(to).join(name))?;
        }
    }
    documents::write_manuals(root)?;
    documents::write_completions(root)?;
    let manuals = files_of(&root.join(documents::MANUALS), "1")?;
    let mut gzip = Command::new("gzip");
    gzip.args(["--best", "--no-name"]).args(manuals).arg(root.join("usr/share/doc/ringftpd/changelog"));
    shell::output(&mut gzip)?;
    set_modes(root)?;
    control(root, &repository)
}

/// Writes what dpkg reads and runs.
fn control(root: &Path, repository: &Path) -> anyhow::Result<Control> {
    let ask = |program: &str, arguments: &[&str]| shell::output(Command::new(program).args(arguments));
    let control = Control {
        // One version for all packages of the workspace, this program among them.
        version: env!("CARGO_PKG_VERSION"),
        architecture: ask("dpkg", &["--print-architecture"])?,
    };
    // What was linked against here is there in this version or a later one.
    let libc = ask("dpkg-query", &["--show", "--showformat=${Version}", "libc6"])?;
    let libc = libc.split('-').next().unwrap_or_default();
    let kibibytes =
        ask("du", &["--summarize", "--apparent-size", "--block-size=1024", &root.display().to_string()])?;
    let kibibytes = kibibytes.split_whitespace().next().unwrap_or_default();

    let folder = repository.join("deploy/debian");
    let mut text = fs::read_to_string(folder.join("control")).context("cannot read deploy/debian/control")?;
    for (mark, value) in [
        ("@VERSION@", control.version),
        ("@ARCHITECTURE@", &control.architecture),
        ("@LIBC_VERSION@", libc),
        ("@INSTALLED_SIZE@", kibibytes),
    ] {
        ensure!(
            text.contains(mark) && !value.is_empty(),
            "deploy/debian/control has no {mark}, or it is nothing"
        );
        text = text.replace(mark, value);
    }
    let debian = root.join("DEBIAN");
    for (name, mode) in CONTROL {
        copy(&folder.join(name), &debian.join(name))?;
        set_mode(&debian.join(name), mode)?;
    }
    fs::write(debian.join("control"), text)?;
    set_mode(&debian, 0o755)?;
    set_mode(&debian.join("control"), 0o644)?;
    Ok(control)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().context("a file in a directory")?)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The files of a folder, in order.
fn files_of(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|other| other == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whatever the umask is: folders can be entered, files read, and programs run.
fn set_modes(folder: &Path) -> anyhow::Result<()> {
    set_mode(folder, 0o755)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            set_modes(&path)?;
        } else {
            let is_program = folder.ends_with("usr/bin");
            set_mode(&path, if is_program { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_begins_with_the_version() {
        let path = shell::root().join("deploy/debian/changelog");
        let changelog = fs::read_to_string(path).expect("a changelog");
        let first = format!("ringftpd ({}) ", env!("CARGO_PKG_VERSION"));
        assert!(changelog.starts_with(&first), "{changelog}");
    }
}
