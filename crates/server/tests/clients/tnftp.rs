//! tnftp: the BSD client, by a script on its standard input.

use std::fs;

use crate::support::program::Said;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, Names, TEXT};

/// Runs `script` after the login. It succeeds whatever the server answers, so that tests look at what came of it.
fn tnftp(site: &Site, options: &[&str], script: &str) -> Said {
    let address = site.server.address();
    let script = format!(
        "open {} {}\nuser anonymous guest@example.org\nbinary\n{script}\nquit\n",
        address.ip(),
        address.port()
    );
    let said =
        site.program("tnftp", "tnftp").args(["-n", "-i", "-v"]).args(options).input(&script).succeeds();
    assert!(said.stdout.contains("\n230 ") || said.stdout.contains("\n230-"), "nobody logged in: {said:?}");
    said
}

fn fetches_by_pattern(options: &[&str]) -> Site {
    let site = Site::to_read(Names::Utf8);
    tnftp(&site, options, "mget *.txt *.bin\ncd a/b\nmget *.bin\ncdup\ncd ..\nget empty\nget -dash dash");
    let names = [
        "text.txt",
        "with  two spaces.txt",
        "quote\"d.txt",
        "\u{fc}ml\u{e4}ut \u{65e5}\u{672c}.txt",
        LARGE,
        "odd.bin",
        "empty",
    ];
    for name in names {
        tree::assert_same_file(&site.served.join(name), &site.local.join(name));
    }
    tree::assert_same_file(&site.served.join("a/b/beside.bin"), &site.local.join("beside.bin"));
    tree::assert_same_file(&site.served.join("-dash"), &site.local.join("dash"));
    site
}

#[test]
fn fetches_by_pattern_passive() {
    let site = fetches_by_pattern(&["-p"]);
    assert!(site.server.commands_seen("EPSV") > 0);
}

#[test]
fn fetches_by_pattern_active() {
    let site = fetches_by_pattern(&["-A"]);
    assert!(site.server.commands_seen("PORT") + site.server.commands_seen("EPRT") > 0);
}

#[test]
fn fetches_over_ipv6_passive_and_active() {
    let site = Site::new(&["--listen", "[::1]:0"], |served, _| tree::build(served, Names::Ascii));
    tnftp(&site, &["-p"], &format!("get {LARGE} passive"));
    tnftp(&site, &["-A"], &format!("get {LARGE} active"));
    for name in ["passive", "active"] {
        tree::assert_same_file(&site.served.join(LARGE), &site.local.join(name));
    }
}

#[test]
fn stores_renames_and_deletes() {
    for mode in ["-p", "-A"] {
        let site = Site::to_fill(Names::Utf8);
        let script = "mkdir \"new folder\"\ncd \"new folder\"\nmput *.txt large.bin empty\nrename empty void\n\
                      append byte void\nput kib\ndelete kib\nmkdir sub\nrmdir sub";
        tnftp(&site, &[mode], script);
        let stored = site.served.join("new folder");
        for name in ["text.txt", "with  two spaces.txt", "\u{fc}ml\u{e4}ut \u{65e5}\u{672c}.txt", LARGE] {
            tree::assert_same_file(&site.local.join(name), &stored.join(name));
        }
        tree::assert_same_file(&site.local.join("byte"), &stored.join("void"));
        for name in ["empty", "kib", "sub"] {
            assert!(!stored.join(name).exists(), "{name}");
        }
    }
}

#[test]
fn resumes_both_ways() {
    let site = Site::to_fill(Names::Ascii);
    let whole = fs::read(site.local.join(LARGE)).expect("a file");
    tree::write(&site.served, LARGE.as_ref(), &whole[..3_000_000]);
    tnftp(&site, &[], &format!("restart 3000000\nput {LARGE}"));
    tree::assert_same_file(&site.local.join(LARGE), &site.served.join(LARGE));

    tree::write(&site.local, "back.bin".as_ref(), &whole[..54_321]);
    tnftp(&site, &[], &format!("reget {LARGE} back.bin"));
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join("back.bin"));
    assert_eq!(site.server.commands_seen("REST 54321"), 1);
}

#[test]
fn converts_line_ends() {
    let site = Site::to_fill(Names::Ascii);
    tnftp(&site, &[], "ascii\nput text.txt stored.txt\nget stored.txt back.txt");
    assert_eq!(fs::read_to_string(site.served.join("stored.txt")).expect("stored"), TEXT);
    assert_eq!(fs::read_to_string(site.local.join("back.txt")).expect("fetched"), TEXT);
    assert!(site.server.commands_seen("TYPE A") > 0);
}

#[test]
fn asks_about_files() {
    let site = Site::to_change(Names::Ascii);
    let script = "size odd.bin\nmodtime odd.bin\nmlst odd.bin\nmlsd a\nls\nnlist a/b\nfeatures\nsystem\nrstatus\npwd\n\
                  chmod 600 byte\nquote NOOP";
    let said = tnftp(&site, &[], script);
    for expected in ["65537", "large.bin", "a/b/beside.bin", "215 ", "type=dir"] {
        assert!(said.stdout.contains(expected), "{expected} in {}", said.stdout);
    }
    let byte = site.served.join("byte").metadata().expect("a file");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&byte.permissions()) & 0o7777, 0o600);
}

#[test]
fn fetches_by_url() {
    let site = Site::to_read(Names::Ascii);
    site.program("tnftp", "tnftp").args(["-V", "-o", "fetched", &site.server.url(LARGE)]).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join("fetched"));
}
