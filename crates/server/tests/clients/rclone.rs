//! rclone: synchronising trees over several connections, and checking them byte by byte.

use crate::support::program::Program;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, Names};

/// rclone with the server as `:ftp:`, set up by options alone.
fn rclone(site: &Site, options: &[&str]) -> Program {
    let address = site.server.address();
    let password = site.program("rclone", "rclone").args(["obscure", "guest@example.org"]).succeeds();
    site.program("rclone", "rclone")
        .args(["--config", "/dev/null", "--retries=1", "--low-level-retries=1", "--timeout=30s"])
        .args(["--ftp-host", &address.ip().to_string(), "--ftp-port", &site.server.port()])
        .args(["--ftp-user", "anonymous", "--ftp-pass", password.stdout.trim()])
        .args(options)
}

fn copies_both_ways(options: &[&str]) {
    let site = Site::to_fill(Names::Utf8);
    rclone(&site, options).args(["sync", "--create-empty-src-dirs", ".", ":ftp:stored"]).succeeds();
    tree::assert_same(&site.local, &site.served.join("stored"));
    rclone(&site, options).args(["check", "--download", ".", ":ftp:stored"]).succeeds();

    let back = site.elsewhere("back");
    rclone(&site, options).args(["sync", "--create-empty-src-dirs", ":ftp:stored"]).arg(&back).succeeds();
    tree::assert_same(&site.served.join("stored"), &back);
    rclone(&site, options).args(["check", "--download", ":ftp:stored"]).arg(&back).succeeds();
}

#[test]
fn copies_both_ways_with_defaults() {
    copies_both_ways(&[]);
}

#[test]
fn copies_both_ways_with_pasv() {
    copies_both_ways(&["--ftp-disable-epsv"]);
}

#[test]
fn copies_both_ways_by_the_long_listing() {
    copies_both_ways(&["--ftp-disable-mlsd"]);
}

#[test]
fn copies_both_ways_with_many_connections() {
    copies_both_ways(&["--transfers=12", "--checkers=12"]);
}

#[test]
fn sync_removes_what_is_gone_and_stores_nothing_twice() {
    let site = Site::to_fill(Names::Ascii);
    rclone(&site, &["--ftp-writing-mdtm"]).args(["sync", ".", ":ftp:"]).succeeds();
    let stores = site.server.commands_seen("STOR");
    std::fs::remove_file(site.local.join(LARGE)).expect("removed");
    rclone(&site, &["--size-only"]).args(["sync", ".", ":ftp:"]).succeeds();
    assert!(!site.served.join(LARGE).exists());
    assert_eq!(site.server.commands_seen("STOR"), stores, "the rest is there already");
}

#[test]
fn moves_purges_and_lists() {
    let site = Site::to_change(Names::Ascii);
    rclone(&site, &[]).args(["moveto", ":ftp:large.bin", ":ftp:moved/here.bin"]).succeeds();
    assert!(site.served.join("moved/here.bin").is_file() && !site.served.join(LARGE).exists());
    rclone(&site, &[]).args(["purge", ":ftp:a"]).succeeds();
    assert!(!site.served.join("a").exists());
    let listed = rclone(&site, &[]).args(["lsf", "-R", ":ftp:"]).succeeds();
    let mut lines: Vec<_> = listed.stdout.lines().filter(|line| !line.ends_with('/')).collect();
    lines.sort_unstable();
    let on_disk = tree::read(&site.served).into_iter().filter(|(_, entry)| *entry != tree::Entry::Directory);
    let names: Vec<_> = on_disk.map(|(path, _)| path.to_string_lossy().into_owned()).collect();
    assert_eq!(lines, names);
}
