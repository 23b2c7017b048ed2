//! lftp and Python's ftplib.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::lab::{Lab, Place, write};
use crate::support::program::succeed;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ssh/ftplib_client.py");

/// Files of a directory by their names, some of which are no ASCII.
fn fill(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::create_dir_all(directory).expect("made");
    let sizes =
        [("empty", 0), ("byte", 1), ("large", 2_000_003), ("ümläut 日本", 70_000), ("two  spaces", 4096)];
    sizes.map(|(name, bytes)| (name.to_owned(), write(&directory.join(name), bytes))).into()
}

fn read(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            (entry.file_name().into_string().expect("a name"), fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

#[track_caller]
fn lftp(place: Place, settings: &str) {
    let lab = Lab::new(place);
    let tunnel = lab.tunnel();
    let sent = fill(&lab.local().join("sent"));
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 30; set ftp:ssl-allow yes; {settings}\n\
         open ftp://{}/\nmirror --reverse sent stored\nmirror stored fetched\nls stored\nbye\n",
        tunnel.address()
    );
    let mut command = lab.program("lftp", "lftp");
    command.args(["-c", &script]);
    lab.run(command, succeed);
    assert!(read(&lab.served().join("stored")) == sent, "other files were stored");
    assert!(read(&lab.local().join("fetched")) == sent, "other files were fetched");
}

#[test]
fn lftp_passive() {
    lftp(Place::Behind, "");
}

#[test]
fn lftp_active() {
    lftp(Place::Behind, "set ftp:passive-mode off;");
}

#[test]
fn lftp_passive_pipelined() {
    lftp(Place::SshHost, "set ftp:sync-mode off; set ftp:prefer-epsv no;");
}

#[test]
fn lftp_active_pipelined() {
    lftp(Place::SshHost, "set ftp:sync-mode off; set ftp:passive-mode off;");
}

#[test]
fn lftp_several_sessions_at_once() {
    lftp(Place::SshHost, "set mirror:parallel-transfer-count 4;");
}

#[track_caller]
fn ftplib(place: Place, mode: &str) {
    let lab = Lab::new(place);
    // More than all buffers on the way hold: a download to break off.
    fs::File::create(lab.served().join("endless")).and_then(|file| file.set_len(1 << 32)).expect("made");
    let tunnel = lab.tunnel();
    let address = tunnel.address();
    let mut python = lab.program("python3", "python3");
    python.args(["-I", SCRIPT, &address.ip().to_string(), &address.port().to_string(), mode]);
    lab.run(python, succeed);
}

#[test]
fn ftplib_passive() {
    ftplib(Place::SshHost, "passive");
}

#[test]
fn ftplib_active() {
    ftplib(Place::SshHost, "active");
}

#[test]
fn ftplib_passive_over_ipv6() {
    ftplib(Place::SshHostIpv6, "passive");
}

#[test]
fn ftplib_active_over_ipv6() {
    ftplib(Place::SshHostIpv6, "active");
}
