//! busybox: the smallest client there is, as found in firmware.

use crate::support::program::Program;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, LARGE_BYTES, Names};

const NAMES: [&str; 7] = [
    LARGE,
    "empty",
    "byte",
    "odd.bin",
    "with  two spaces.txt",
    "a/b/c/d/e/f/deep.txt",
    "\u{fc}ml\u{e4}ut \u{65e5}\u{672c}.txt",
];

fn busybox(site: &Site, applet: &str) -> Program {
    let address = site.server.address();
    site.program("busybox", "busybox").args([applet, "-P", &site.server.port()]).arg(address.ip().to_string())
}

#[test]
fn fetches() {
    let site = Site::to_read(Names::Utf8);
    for name in NAMES {
        busybox(&site, "ftpget").args(["fetched", name]).succeeds();
        tree::assert_same_file(&site.served.join(name), &site.local.join("fetched"));
    }
}

#[test]
fn fetches_over_ipv6() {
    let site = Site::new(&["--listen", "[::1]:0"], |served, _| tree::build(served, Names::Ascii));
    busybox(&site, "ftpget").args(["fetched", LARGE]).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join("fetched"));
}

#[test]
fn resumes() {
    let site = Site::to_read(Names::Ascii);
    let whole = std::fs::read(site.served.join(LARGE)).expect("a file");
    tree::write(&site.local, LARGE.as_ref(), &whole[..LARGE_BYTES / 2]);
    let address = site.server.address();
    let resume = ["ftpget", "-c", "-P", &site.server.port(), &address.ip().to_string(), LARGE, LARGE];
    site.program("busybox", "busybox").args(resume).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join(LARGE));
}

#[test]
fn stores() {
    let site = Site::to_fill(Names::Utf8);
    std::fs::create_dir_all(site.served.join("a/b/c/d/e/f")).expect("folders");
    for name in NAMES {
        busybox(&site, "ftpput").args([name, name]).succeeds();
        tree::assert_same_file(&site.served.join(name), &site.local.join(name));
    }
}
