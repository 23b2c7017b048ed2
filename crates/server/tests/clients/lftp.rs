//! lftp: whole trees, several connections at once, pipelined commands.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::program::Program;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, Names};

/// lftp with a script. One attempt only: what fails once has failed.
fn lftp(site: &Site, script: &str) -> Program {
    let settings =
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 30; set bmk:save-passwords no;";
    let address = site.server.address();
    let program = site.program("lftp", "lftp").args(["--norc", "-c"]);
    program.arg(format!("{settings} open ftp://{address}; {script}"))
}

fn mirrors_down(settings: &str) {
    let site = Site::to_read(Names::Utf8);
    lftp(&site, &format!("{settings} mirror --verbose / fetched")).succeeds();
    tree::assert_same(&site.served, &site.local.join("fetched"));
}

#[test]
fn mirrors_down_passive() {
    mirrors_down("");
}

#[test]
fn mirrors_down_active() {
    mirrors_down("set ftp:passive-mode off;");
}

#[test]
fn mirrors_down_pipelined() {
    mirrors_down("set ftp:sync-mode off;");
}

#[test]
fn mirrors_down_active_and_pipelined() {
    mirrors_down("set ftp:passive-mode off; set ftp:sync-mode off;");
}

#[test]
fn mirrors_down_by_the_long_listing() {
    mirrors_down("set ftp:use-mlsd off;");
}

#[test]
fn mirrors_down_with_epsv() {
    mirrors_down("set ftp:prefer-epsv yes;");
}

#[test]
fn mirrors_down_in_parallel() {
    let site = Site::to_read(Names::Utf8);
    lftp(&site, "mirror --parallel=6 --use-pget-n=3 / fetched").succeeds();
    tree::assert_same(&site.served, &site.local.join("fetched"));
}

#[test]
fn mirrors_times_and_modes() {
    let site = Site::to_read(Names::Ascii);
    let path = site.served.join("a/b/beside.bin");
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_007);
    fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(when)).expect("its time");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("its mode");
    lftp(&site, "mirror / fetched").succeeds();
    let fetched = site.local.join("fetched/a/b/beside.bin").metadata().expect("fetched");
    assert_eq!(fetched.modified().expect("a time"), when);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fetched.permissions()) & 0o777, 0o640);
}

fn mirrors_up(settings: &str) {
    let site = Site::to_fill(Names::Utf8);
    lftp(&site, &format!("{settings} mirror --reverse --verbose . /stored")).succeeds();
    tree::assert_same(&site.local, &site.served.join("stored"));
    // Nothing has changed: a second mirror stores nothing, which takes sizes and times that agree.
    let stores = site.server.commands_seen("STOR");
    lftp(&site, &format!("{settings} mirror --reverse . /stored")).succeeds();
    assert_eq!(site.server.commands_seen("STOR"), stores, "the second mirror finds all there");
    // What is gone here goes there.
    fs::remove_dir_all(site.local.join("a")).expect("removed");
    fs::remove_file(site.local.join(LARGE)).expect("removed");
    lftp(&site, &format!("{settings} mirror --reverse --delete . /stored")).succeeds();
    tree::assert_same(&site.local, &site.served.join("stored"));
}

#[test]
fn mirrors_up_passive() {
    mirrors_up("");
}

#[test]
fn mirrors_up_active() {
    mirrors_up("set ftp:passive-mode off;");
}

#[test]
fn mirrors_up_pipelined() {
    mirrors_up("set ftp:sync-mode off;");
}

#[test]
fn fetches_one_file_in_segments() {
    let site = Site::to_read(Names::Ascii);
    // Unhindered the first segment would reach the others before they begin.
    lftp(&site, &format!("set pget:min-chunk-size 64k; set net:limit-rate 1M; pget -n 5 {LARGE}")).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join(LARGE));
    assert!(site.server.commands_seen("REST") >= 2, "there were several segments");
}

#[test]
fn resumes_both_ways() {
    let site = Site::to_fill(Names::Ascii);
    let whole = fs::read(site.local.join(LARGE)).expect("a file");
    tree::write(&site.served, LARGE.as_ref(), &whole[..2_000_003]);
    lftp(&site, &format!("put -c {LARGE}")).succeeds();
    tree::assert_same_file(&site.local.join(LARGE), &site.served.join(LARGE));

    let back = Path::new("back.bin");
    tree::write(&site.local, back.as_os_str(), &whole[..999]);
    lftp(&site, &format!("get -c {LARGE} -o back.bin")).succeeds();
    tree::assert_same_file(&site.local.join(back), &site.served.join(LARGE));
}

#[test]
fn fetches_and_removes_by_pattern() {
    let site = Site::to_change(Names::Ascii);
    let expected = ["brackets[1]{2}.txt", "quote\"d.txt", "text.txt", "with  two spaces.txt"];
    lftp(&site, "mget *.txt").succeeds();
    let names: Vec<_> =
        tree::read(&site.local).into_keys().filter(|path| path.extension().is_some()).collect();
    assert_eq!(names, expected.map(std::path::PathBuf::from));
    for name in expected {
        tree::assert_same_file(&site.served.join(name), &site.local.join(name));
    }
    lftp(&site, "glob rm *.txt; rm -r a; rmdir \"empty folder\"; mv kib renamed; mkdir -p x/y/z").succeeds();
    for gone in expected.iter().chain(&["a", "empty folder", "kib"]) {
        assert!(!site.served.join(gone).exists(), "{gone} is still there");
    }
    assert!(site.served.join("renamed").is_file());
    assert!(site.served.join("x/y/z").is_dir());
}

#[test]
fn stores_text_with_its_line_ends() {
    let site = Site::to_fill(Names::Ascii);
    lftp(&site, "put -a text.txt; get -a text.txt -o back.txt").succeeds();
    tree::assert_same_file(&site.local.join("text.txt"), &site.served.join("text.txt"));
    tree::assert_same_file(&site.local.join("text.txt"), &site.local.join("back.txt"));
}

#[test]
fn fetches_a_name_that_is_not_utf8() {
    let site = Site::to_read(Names::AnyBytes);
    lftp(&site, "set ftp:use-utf8 no; mget latin-*").succeeds();
    let name = std::ffi::OsStr::from_bytes(b"latin-\xe4\xf6\xfc.txt");
    tree::assert_same_file(&site.served.join(name), &site.local.join(name));
}
