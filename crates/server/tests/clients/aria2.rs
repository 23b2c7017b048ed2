//! aria2: one file over several connections, and small ones.

use crate::support::program::Program;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, Names};

/// aria2, which tries once. A wait that only its timeout ends, as when it reads the 226 together with the 150, takes longer
/// than a program is given here.
fn aria2(site: &Site) -> Program {
    let options = ["--no-conf", "--max-tries=1", "--timeout=600", "--file-allocation=none"];
    site.program("aria2c", "aria2").args(options)
}

fn fetches_in_segments(listen: &str, options: &[&str]) -> Site {
    let site = Site::new(&["--listen", listen], |served, _| tree::build(served, Names::Ascii));
    // Unhindered the first segment would reach the others before they begin.
    let segments = ["-x4", "-s4", "--min-split-size=1M", "--max-overall-download-limit=4M"];
    aria2(&site).args(segments).args(options).arg(site.server.url(LARGE)).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join(LARGE));
    assert!(site.server.commands_seen("RETR") >= 2, "there were several segments");
    site
}

#[test]
fn fetches_one_file_in_segments() {
    fetches_in_segments("127.0.0.1:0", &[]);
}

#[test]
fn fetches_one_file_in_segments_active() {
    let site = fetches_in_segments("127.0.0.1:0", &["--ftp-pasv=false"]);
    assert!(site.server.commands_seen("PORT") + site.server.commands_seen("EPRT") >= 2);
}

#[test]
fn fetches_one_file_in_segments_over_ipv6() {
    fetches_in_segments("[::1]:0", &[]);
}

#[test]
fn fetches_many_files_at_once() {
    let site = Site::to_read(Names::Ascii);
    let names = [LARGE, "odd.bin", "kib", "byte", "text.txt", "a/b/c/d/e/f/deep.txt"];
    aria2(&site).args(["-Z", "-j6"]).args(names.map(|name| site.server.url(name))).succeeds();
    for name in names {
        let file_name = name.rsplit('/').next().expect("a name");
        tree::assert_same_file(&site.served.join(name), &site.local.join(file_name));
    }
}

/// They are through before it has read the first reply.
#[test]
fn fetches_small_files_without_a_wait() {
    let site = Site::to_read(Names::Ascii);
    for passive in ["--ftp-pasv=true", "--ftp-pasv=false"] {
        for name in ["kib", "byte", "odd.bin"].into_iter().cycle().take(15) {
            aria2(&site).args([passive, "--allow-overwrite=true"]).arg(site.server.url(name)).succeeds();
            tree::assert_same_file(&site.served.join(name), &site.local.join(name));
        }
    }
}
