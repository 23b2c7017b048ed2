//! Programs of Debian's packages, fetched and unpacked without being installed: as packages some of them exclude each other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Fetches the packages of the program `name` and unpacks them into a folder of `cache`, unless an earlier run did. It is
/// there when `path` is in that folder.
///
/// # Errors
///
/// If they cannot be fetched or unpacked.
pub(crate) fn unpack(name: &str, packages: &[&str], path: &str, cache: &Path) -> anyhow::Result<PathBuf> {
    let unpacked = cache.join(name);
    if unpacked.join(path).exists() {
        return Ok(unpacked);
    }
    // Under another name until it is whole.
    let partial = cache.join(format!("{name}.partial"));
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&partial)?,
    }
    let mut fetch = Command::new("apt-get");
    fetch.arg("--quiet=2").arg("download").args(packages).current_dir(&partial);
    let fetched = fetch.output().context("cannot run apt-get")?;
    let complaint = String::from_utf8_lossy(&fetched.stderr);
    ensure!(fetched.status.success(), "cannot fetch {name} (apt-get update may help): {complaint}");
    for package in fs::read_dir(&partial)? {
        let package = package?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            let status = Command::new("dpkg")
                .arg("-x")
                .arg(&package)
                .arg(&partial)
                .status()
                .context("cannot run dpkg")?;
            ensure!(status.success(), "cannot unpack {}", package.display());
        }
    }
    match fs::remove_dir_all(&unpacked) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::rename(&partial, &unpacked)?,
    }
    Ok(unpacked)
}

/// Where the unpacked libraries are: below a folder named after the processor's kind.
pub(crate) fn library_path(unpacked: &Path) -> anyhow::Result<std::ffi::OsString> {
    let mut folders = Vec::new();
    for parent in ["usr/lib", "lib"] {
        let Ok(entries) = fs::read_dir(unpacked.join(parent)) else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with("-linux-gnu") {
                folders.push(entry.path());
            }
        }
    }
    Ok(std::env::join_paths(folders)?)
}
