//! wget: recursive downloads by parsing listings, and resuming.

use std::fs;

use crate::support::program::Program;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, Names};

fn wget(site: &Site) -> Program {
    let program = site.program("wget", "wget").args(["--no-verbose", "--tries=1", "--timeout=30"]);
    program.args(["--no-config", "--restrict-file-names=nocontrol", "--no-host-directories"])
}

/// Mirrors the site into `fetched`, with `options`.
fn mirrors(options: &[&str]) {
    let site = Site::to_read(Names::Utf8);
    wget(&site)
        .args(["--recursive", "--level=inf", "--timestamping", "-P", "fetched"])
        .args(options)
        .arg(site.server.url(""))
        .succeeds();
    // wget may leave a folder without files out.
    fs::remove_dir(site.served.join("empty folder")).expect("a folder");
    let empty = site.local.join("fetched/empty folder");
    if empty.exists() {
        fs::remove_dir(empty).expect("an empty folder");
    }
    tree::assert_same(&site.served, &site.local.join("fetched"));
}

#[test]
fn mirrors_passive() {
    mirrors(&[]);
}

#[test]
fn mirrors_active() {
    mirrors(&["--no-passive-ftp"]);
}

#[test]
fn resumes() {
    let site = Site::to_read(Names::Ascii);
    let whole = fs::read(site.served.join(LARGE)).expect("a file");
    tree::write(&site.local, LARGE.as_ref(), &whole[..3_000_000]);
    wget(&site).args(["--continue", &site.server.url(LARGE)]).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join(LARGE));
    assert_eq!(site.server.commands_seen("REST 3000000"), 1);
}

#[test]
fn fetches_by_pattern() {
    let site = Site::to_read(Names::Ascii);
    wget(&site).arg(site.server.url("*.bin")).succeeds();
    for name in [LARGE, "odd.bin"] {
        tree::assert_same_file(&site.served.join(name), &site.local.join(name));
    }
    assert!(!site.local.join("kib").exists());
}

#[test]
fn converts_line_ends() {
    let site = Site::to_read(Names::Ascii);
    wget(&site).args(["-O", "text", &format!("{};type=a", site.server.url("text.txt"))]).succeeds();
    let fetched = fs::read_to_string(site.local.join("text")).expect("fetched");
    assert_eq!(fetched, tree::TEXT.replace('\n', "\r\n"), "wget keeps what came over the wire");
}

#[test]
fn is_told_what_is_missing() {
    let site = Site::to_read(Names::Ascii);
    let said = wget(&site).arg(site.server.url("missing")).fails();
    assert!(said.stderr.contains("No such file"), "{said:?}");
}
