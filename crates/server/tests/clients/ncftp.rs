//! ncftp: its three programs for scripts, which copy trees by recursive listings.

use crate::support::program::Program;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, Names};

fn ncftp(site: &Site, program: &'static str, options: &[&str]) -> Program {
    let connection = ["-P", &site.server.port(), "-t", "30", "-r", "1"];
    site.program(program, "ncftp").args(connection).args(options)
}

fn host(site: &Site) -> String {
    site.server.address().ip().to_string()
}

fn fetches_a_tree(options: &[&str]) -> Site {
    let site = Site::to_read(Names::Utf8);
    ncftp(&site, "ncftpget", options)
        .args(["-V", "-R", "-T", &host(&site), ".", "/a", "/\u{3b1}"])
        .succeeds();
    for folder in ["a", "\u{3b1}"] {
        tree::assert_same(&site.served.join(folder), &site.local.join(folder));
    }
    site
}

#[test]
fn fetches_a_tree_passive() {
    fetches_a_tree(&["-F"]);
}

#[test]
fn fetches_a_tree_active() {
    let site = fetches_a_tree(&["-E"]);
    assert!(site.server.commands_seen("PORT") > 0);
}

#[test]
fn fetches_files_and_resumes() {
    let site = Site::to_read(Names::Ascii);
    let whole = std::fs::read(site.served.join(LARGE)).expect("a file");
    tree::write(&site.local, LARGE.as_ref(), &whole[..777_777]);
    ncftp(&site, "ncftpget", &["-V", "-z"]).args([&host(&site), ".", LARGE, "*.txt", "empty"]).succeeds();
    for name in [LARGE, "text.txt", "with  two spaces.txt", "quote\"d.txt", "empty"] {
        tree::assert_same_file(&site.served.join(name), &site.local.join(name));
    }
    assert_eq!(site.server.commands_seen("REST 777777"), 1);
}

fn stores_a_tree(options: &[&str]) {
    let site = Site::to_fill(Names::Utf8);
    // ncftpput makes folders as it goes, and leaves out none.
    let names = ["a", "folder with spaces", "empty folder", "\u{3b1}", LARGE, "empty", "byte", "text.txt"];
    ncftp(&site, "ncftpput", options)
        .args(["-V", "-R", "-m", &host(&site), "/stored"])
        .args(names)
        .succeeds();
    for name in names {
        let (local, stored) = (site.local.join(name), site.served.join("stored").join(name));
        if local.is_dir() {
            tree::assert_same(&local, &stored);
        } else {
            tree::assert_same_file(&local, &stored);
        }
    }
}

#[test]
fn stores_a_tree_passive() {
    stores_a_tree(&["-F"]);
}

#[test]
fn stores_a_tree_active() {
    stores_a_tree(&["-E"]);
}

#[test]
fn appends_and_stores_from_standard_input() {
    let site = Site::to_fill(Names::Ascii);
    ncftp(&site, "ncftpput", &["-V"]).args(["-c", &host(&site), "/piped"]).input("first\n").succeeds();
    tree::write(&site.local, "piped".as_ref(), b"second\n");
    ncftp(&site, "ncftpput", &["-V", "-A"]).args([&host(&site), "/", "piped"]).succeeds();
    assert_eq!(std::fs::read(site.served.join("piped")).expect("stored"), b"first\nsecond\n");
}

#[test]
fn stores_by_a_temporary_name() {
    let site = Site::to_fill(Names::Ascii);
    ncftp(&site, "ncftpput", &["-V", "-T", "unfinished-"]).args([&host(&site), "/", LARGE]).succeeds();
    tree::assert_same_file(&site.local.join(LARGE), &site.served.join(LARGE));
    assert_eq!(site.server.commands_seen("RNFR"), 1);
    assert_eq!(tree::read(&site.served).len(), 1);
}

#[test]
fn lists() {
    let site = Site::to_read(Names::Ascii);
    let url = site.server.url("");
    for options in [&["-1"][..], &["-l"], &["-m"], &["-E", "-1"]] {
        let listed = site.program("ncftpls", "ncftp").args(options).arg(&url).succeeds();
        for name in ["a", "byte", "with  two spaces.txt", "folder with spaces"] {
            assert!(listed.stdout.contains(name), "{name} in {options:?}: {listed:?}");
        }
    }
}
