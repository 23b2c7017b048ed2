//! inetutils' ftp: the oldest client of all, by a script on its standard input.

use std::fs;

use crate::support::program::Said;
use crate::support::site::Site;
use crate::support::tree::{self, LARGE, Names, TEXT};

/// Runs `script` after the login. It succeeds whatever the server answers, so that tests look at what came of it.
fn ftp(site: &Site, options: &[&str], script: &str) -> Said {
    let address = site.server.address();
    let script = format!(
        "open {} {}\nuser anonymous guest@example.org\nbinary\n{script}\nquit\n",
        address.ip(),
        address.port()
    );
    let program = site.program("inetutils-ftp", "inetutils-ftp").args(["-n", "-i", "-v"]);
    let said = program.args(options).input(&script).succeeds();
    assert!(said.stdout.contains("230 "), "nobody logged in: {said:?}");
    said
}

fn goes_both_ways(listen: &str, options: &[&str]) -> Site {
    let site =
        Site::new(&["--listen", listen, "--anonymous", "write"], |_, local| tree::build(local, Names::Utf8));
    let names =
        [LARGE, "odd.bin", "kib", "byte", "empty", "text.txt", "\u{fc}ml\u{e4}ut \u{65e5}\u{672c}.txt"];
    let back = site.elsewhere("back");
    let script = format!(
        "mkdir folder\ncd folder\nmput *.bin kib byte empty text.txt\nput \"{umlaut}\"\nlcd {back}\n\
         mget *.bin kib byte empty text.txt\nget \"{umlaut}\"",
        umlaut = names[6],
        back = back.display(),
    );
    ftp(&site, options, &script);
    for name in names {
        tree::assert_same_file(&site.local.join(name), &site.served.join("folder").join(name));
        tree::assert_same_file(&site.local.join(name), &back.join(name));
    }
    site
}

#[test]
fn goes_both_ways_passive() {
    let site = goes_both_ways("127.0.0.1:0", &["-p"]);
    assert!(site.server.commands_seen("PASV") + site.server.commands_seen("EPSV") > 0);
}

#[test]
fn goes_both_ways_active() {
    let site = goes_both_ways("127.0.0.1:0", &["-A"]);
    assert!(site.server.commands_seen("PORT") + site.server.commands_seen("EPRT") > 0);
}

#[test]
fn goes_both_ways_over_ipv6() {
    goes_both_ways("[::1]:0", &["-p"]);
    goes_both_ways("[::1]:0", &["-A"]);
}

#[test]
fn converts_line_ends() {
    for mode in ["-p", "-A"] {
        let site = Site::to_fill(Names::Ascii);
        ftp(&site, &[mode], "ascii\nput text.txt stored.txt\nget stored.txt back.txt");
        assert_eq!(fs::read_to_string(site.served.join("stored.txt")).expect("stored"), TEXT);
        assert_eq!(fs::read_to_string(site.local.join("back.txt")).expect("fetched"), TEXT);
        assert!(site.server.commands_seen("TYPE A") > 0);
    }
}

#[test]
fn resumes_both_ways() {
    let site = Site::to_fill(Names::Ascii);
    let whole = fs::read(site.local.join(LARGE)).expect("a file");
    tree::write(&site.served, LARGE.as_ref(), &whole[..100_000]);
    ftp(&site, &["-p"], &format!("restart 100000\nput {LARGE}"));
    tree::assert_same_file(&site.local.join(LARGE), &site.served.join(LARGE));

    tree::write(&site.local, "back.bin".as_ref(), &whole[..100_001]);
    ftp(&site, &["-p"], &format!("reget {LARGE} back.bin"));
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join("back.bin"));
}

#[test]
fn changes_and_asks() {
    let site = Site::to_change(Names::Ascii);
    let script = "append byte nothing\nrename kib moved\ndelete odd.bin\nmkdir made\nrmdir \"empty folder\"\n\
                  size large.bin\nmodtime text.txt\nsystem\nstatus\nnlist a/b\nls\nsunique\nsite help";
    let said = ftp(&site, &["-p"], script);
    assert!(site.served.join("moved").is_file() && site.served.join("made").is_dir());
    for gone in ["kib", "odd.bin", "empty folder"] {
        assert!(!site.served.join(gone).exists(), "{gone}");
    }
    for expected in [&tree::LARGE_BYTES.to_string(), "UNIX", "a/b/beside.bin", "folder with spaces"] {
        assert!(said.stdout.contains(expected), "{expected} in {}", said.stdout);
    }
}

#[test]
fn stores_under_unique_names() {
    let site = Site::to_fill(Names::Ascii);
    ftp(&site, &["-p"], "sunique\nput text.txt\nput text.txt\nput text.txt");
    let stored = tree::read(&site.served);
    assert_eq!(stored.len(), 3, "{stored:?}");
    assert!(stored.values().all(|entry| *entry == tree::entry_of(TEXT.as_bytes())), "{stored:?}");
}
