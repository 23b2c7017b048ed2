//! curl: single files with every option that changes what goes over the wire.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::program::Program;
use crate::support::site::Site;
use crate::support::tree::{self, Entry, LARGE, LARGE_BYTES, Names, TEXT};

fn curl(site: &Site) -> Program {
    site.program("curl", "curl").args(["--silent", "--show-error", "--fail", "--globoff"])
}

/// A path for a URL: everything but unreserved characters and `/` percent-encoded.
fn encoded(path: &Path) -> String {
    let encode = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str().as_bytes().iter().map(encode).collect()
}

/// Fetches every file of the site by one curl with `options`, and compares.
fn fetches_every_file(site: &Site, options: &[&str]) {
    let mut program = curl(site).args(options);
    let files: Vec<_> =
        tree::read(&site.served).into_iter().filter(|(_, entry)| *entry != Entry::Directory).collect();
    for (number, (path, _)) in files.iter().enumerate() {
        program = program.arg("-o").arg(number.to_string()).arg(site.server.url(&encoded(path)));
    }
    program.succeeds();
    for (number, (path, _)) in files.iter().enumerate() {
        tree::assert_same_file(&site.served.join(path), &site.local.join(number.to_string()));
    }
}

#[test]
fn fetches_every_file_passive() {
    let site = Site::to_read(Names::AnyBytes);
    fetches_every_file(&site, &[]);
    assert!(site.server.commands_seen("EPSV") > 0);
    assert_eq!(site.server.commands_seen("PASV"), 0, "EPSV is enough");
}

#[test]
fn fetches_every_file_with_pasv() {
    let site = Site::to_read(Names::AnyBytes);
    fetches_every_file(&site, &["--disable-epsv"]);
    assert!(site.server.commands_seen("PASV") > 0);
}

#[test]
fn fetches_every_file_active() {
    let site = Site::to_read(Names::AnyBytes);
    fetches_every_file(&site, &["-P", "-"]);
    assert!(site.server.commands_seen("EPRT") > 0);
    assert_eq!(site.server.commands_seen("PORT"), 0, "EPRT is enough");
}

#[test]
fn fetches_every_file_with_port() {
    let site = Site::to_read(Names::AnyBytes);
    fetches_every_file(&site, &["-P", "-", "--disable-eprt"]);
    assert!(site.server.commands_seen("PORT") > 0);
}

#[test]
fn fetches_over_ipv6_passive_and_active() {
    let site = Site::new(&["--listen", "[::1]:0", "--listen", "127.0.0.1:0"], |served, _| {
        tree::build(served, Names::AnyBytes);
    });
    assert!(site.server.address().is_ipv6());
    fetches_every_file(&site, &[]);
    fetches_every_file(&site, &["-P", "-"]);
    let ipv4 = format!("ftp://{}/{LARGE}", site.server.addresses()[1]);
    curl(&site).args(["-o", "by-ipv4", &ipv4]).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join("by-ipv4"));
}

#[test]
fn fetches_over_ipv4_from_a_listener_of_every_address() {
    let site = Site::new(&["--listen", "[::]:0"], |served, _| tree::build(served, Names::Ascii));
    let url = format!("ftp://127.0.0.1:{}/{LARGE}", site.server.address().port());
    for options in [&[][..], &["--disable-epsv"], &["-P", "-"], &["-P", "-", "--disable-eprt"]] {
        curl(&site).args(options).args(["-o", "fetched", &url]).succeeds();
        tree::assert_same_file(&site.served.join(LARGE), &site.local.join("fetched"));
        fs::remove_file(site.local.join("fetched")).expect("it was fetched");
    }
}

#[test]
fn resumes_a_download() {
    let site = Site::to_read(Names::Ascii);
    let whole = fs::read(site.served.join(LARGE)).expect("a file");
    tree::write(&site.local, LARGE.as_ref(), &whole[..1_234_567]);
    curl(&site).args(["-C", "-", "-O", &site.server.url(LARGE)]).succeeds();
    tree::assert_same_file(&site.served.join(LARGE), &site.local.join(LARGE));
    assert_eq!(site.server.commands_seen("REST 1234567"), 1);
}

#[test]
fn fetches_ranges() {
    let site = Site::to_read(Names::Ascii);
    let whole = fs::read(site.served.join(LARGE)).expect("a file");
    let range = |range: &str| curl(&site).args(["-r", range, &site.server.url(LARGE)]).succeeds().bytes;
    assert_eq!(tree::entry_of(&range("70000-4000000")), tree::entry_of(&whole[70_000..=4_000_000]));
    assert_eq!(tree::entry_of(&range("0-0")), tree::entry_of(&whole[..1]));
    assert_eq!(tree::entry_of(&range("-100")), tree::entry_of(&whole[LARGE_BYTES - 100..]));
}

#[test]
fn stores_every_file() {
    for options in [&[][..], &["--disable-epsv"], &["-P", "-"], &["-P", "-", "--disable-eprt"]] {
        let site = Site::to_fill(Names::AnyBytes);
        let mut program = curl(&site).args(options).arg("--ftp-create-dirs");
        for (path, entry) in tree::read(&site.local) {
            if entry != Entry::Directory {
                program = program.arg("-T").arg(site.local.join(&path)).arg(site.server.url(&encoded(&path)));
            }
        }
        program.succeeds();
        // curl makes the folders of what it stores, and knows of no others.
        fs::remove_dir(site.local.join("empty folder")).expect("a folder");
        tree::assert_same(&site.local, &site.served);
    }
}

#[test]
fn stores_from_a_pipe_and_replaces() {
    let site = Site::to_fill(Names::Ascii);
    for contents in ["longer, to begin with\n", "short\n"] {
        curl(&site).args(["-T", "-", &site.server.url("piped")]).input(contents).succeeds();
        assert_eq!(fs::read(site.served.join("piped")).expect("stored"), contents.as_bytes());
    }
}

#[test]
fn appends_and_resumes_an_upload() {
    let site = Site::to_fill(Names::Ascii);
    let whole = fs::read(site.local.join(LARGE)).expect("a file");
    tree::write(&site.served, LARGE.as_ref(), &whole[..1_000_001]);
    curl(&site).args(["-C", "-", "-T", LARGE, &site.server.url(LARGE)]).succeeds();
    tree::assert_same_file(&site.local.join(LARGE), &site.served.join(LARGE));

    curl(&site).args(["-a", "-T", "kib", &site.server.url(LARGE)]).succeeds();
    let mut appended = whole;
    appended.extend(fs::read(site.local.join("kib")).expect("a file"));
    let stored = fs::read(site.served.join(LARGE)).expect("stored");
    assert_eq!(tree::entry_of(&stored), tree::entry_of(&appended));
}

#[test]
fn lists() {
    let site = Site::to_read(Names::AnyBytes);
    let long = curl(&site).arg(site.server.url("")).succeeds();
    for name in [
        "-dash",
        "with  two spaces.txt",
        "quote\"d.txt",
        "a",
        "empty folder",
        "\u{fc}ml\u{e4}ut \u{65e5}\u{672c}.txt",
    ] {
        assert!(long.lists(name), "{name} in {long:?}");
    }
    let names = curl(&site).args(["--list-only", &site.server.url("a/b/")]).succeeds();
    let mut lines: Vec<_> = names.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["beside.bin", "c"]);
    let empty = curl(&site).arg(site.server.url("empty%20folder/")).succeeds();
    assert_eq!(empty.stdout, "");
    let raw_name = curl(&site).args(["--list-only", &site.server.url("")]).succeeds().bytes;
    assert!(raw_name.windows(13).any(|bytes| bytes == b"latin-\xe4\xf6\xfc.txt"), "a name is bytes");
}

#[test]
fn tells_size_and_time() {
    let site = Site::to_read(Names::Ascii);
    let head = curl(&site).args(["--head", &site.server.url("odd.bin")]).succeeds();
    assert!(head.stdout.contains("Content-Length: 65537\r\n"), "{head:?}");
    assert!(head.stdout.contains("Last-Modified: "), "{head:?}");
    let remote_time = ["--remote-time", "-O", &site.server.url("odd.bin")];
    curl(&site).args(remote_time).succeeds();
    let seconds = |path: &Path| {
        let modified = path.metadata().expect("a file").modified().expect("a time");
        modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
    };
    assert_eq!(seconds(&site.local.join("odd.bin")), seconds(&site.served.join("odd.bin")));
}

#[test]
fn renames_deletes_and_makes_folders() {
    let site = Site::to_change(Names::Ascii);
    let large = fs::read(site.served.join(LARGE)).expect("a file");
    let commands = [
        "MKD made",
        "RNFR large.bin",
        "RNTO made/moved.bin",
        "DELE kib",
        "RMD empty folder",
        "SITE CHMOD 600 byte",
        "MFMT 20010203040506 byte",
    ];
    let quotes = commands.iter().flat_map(|command| ["-Q", command]);
    curl(&site).args(quotes).arg(site.server.url("")).succeeds();
    let moved = fs::read(site.served.join("made/moved.bin")).expect("it was moved");
    assert_eq!(tree::entry_of(&moved), tree::entry_of(&large));
    assert!(!site.served.join("kib").exists());
    assert!(!site.served.join("empty folder").exists());
    let byte = site.served.join("byte").metadata().expect("a file");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&byte.permissions()) & 0o7777, 0o600);
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&byte), 981_173_106);
}

#[test]
fn converts_line_ends() {
    let site = Site::to_change(Names::Ascii);
    let fetched = curl(&site).args(["--use-ascii", &site.server.url("text.txt")]).succeeds();
    // Whether curl turns CRLF back is a matter of how it was built.
    assert_eq!(fetched.stdout.replace("\r\n", "\n"), TEXT);
    tree::write(&site.local, "text.txt".as_ref(), TEXT.as_bytes());
    curl(&site).args(["--use-ascii", "-T", "text.txt", &site.server.url("stored.txt")]).succeeds();
    assert_eq!(fs::read_to_string(site.served.join("stored.txt")).expect("stored"), TEXT);
    assert!(site.server.commands_seen("TYPE A") >= 2);
}

#[test]
fn is_told_what_is_wrong() {
    let site = Site::to_read(Names::Ascii);
    curl(&site).arg(site.server.url("missing")).fails();
    curl(&site).arg(site.server.url("missing/")).fails();
    curl(&site).args(["-T", "-", &site.server.url("forbidden")]).input("x").fails();
    assert!(!site.served.join("forbidden").exists());
    curl(&site).args(["-Q", "DELE kib", &site.server.url("")]).fails();
    assert!(site.served.join("kib").exists());
    curl(&site).args(["--user", "somebody:secret", &site.server.url("")]).fails();
    curl(&site).args(["--path-as-is", &site.server.url("%2e%2e/%2e%2e/etc/passwd")]).fails();
}
