//! suppaftp: the Rust client, in this process.

use std::io::{Cursor, Read, Write};
use std::time::Duration;

use ::suppaftp::list::{File, ListParser};
use ::suppaftp::types::{FileType, FormatControl, Mode};
use ::suppaftp::{FtpError, FtpResult, FtpStream, Status};

use crate::support::site::Site;
use crate::support::tree::{self, Entry, LARGE, LARGE_BYTES, Names, TEXT};

const PATIENCE: Duration = Duration::from_secs(30);

fn login(site: &Site, mode: Mode) -> FtpStream {
    let mut ftp = FtpStream::connect_timeout(site.server.address(), PATIENCE).expect("a greeting");
    ftp.get_ref().set_read_timeout(Some(PATIENCE)).expect("a timeout");
    ftp.login("anonymous", "guest@example.org").expect("a login");
    ftp.transfer_type(FileType::Binary).expect("TYPE I");
    ftp = ftp.active_mode(PATIENCE);
    ftp.set_mode(mode);
    ftp
}

/// The status of a refusal.
#[track_caller]
fn refused<T>(result: FtpResult<T>) -> Status {
    match result {
        Err(FtpError::UnexpectedResponse(response)) => response.status,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

fn goes_both_ways(listen: &str, mode: Mode) {
    let site =
        Site::new(&["--listen", listen, "--anonymous", "write"], |_, local| tree::build(local, Names::Utf8));
    let mut ftp = login(&site, mode);
    for (path, entry) in tree::read(&site.local) {
        let name = path.to_str().expect("UTF-8");
        if entry == Entry::Directory {
            ftp.mkdir(name).expect("a folder");
            continue;
        }
        let contents = std::fs::read(site.local.join(&path)).expect("a file");
        ftp.put_file(name, &mut contents.as_slice()).expect("stored");
        assert_eq!(ftp.size(name).expect("a size"), contents.len());
        let fetched = ftp.retr_as_buffer(name).expect("fetched").into_inner();
        assert_eq!(tree::entry_of(&fetched), entry, "{name}");
    }
    tree::assert_same(&site.local, &site.served);
    ftp.quit().expect("goodbye");
}

#[test]
fn goes_both_ways_with_pasv() {
    goes_both_ways("127.0.0.1:0", Mode::Passive);
}

#[test]
fn goes_both_ways_with_epsv() {
    goes_both_ways("127.0.0.1:0", Mode::ExtendedPassive);
}

#[test]
fn goes_both_ways_active() {
    goes_both_ways("127.0.0.1:0", Mode::Active);
}

#[test]
fn goes_both_ways_over_ipv6() {
    goes_both_ways("[::1]:0", Mode::ExtendedPassive);
    goes_both_ways("[::1]:0", Mode::Active);
}

#[test]
fn resumes_and_appends() {
    let site = Site::to_fill(Names::Ascii);
    let whole = std::fs::read(site.local.join(LARGE)).expect("a file");
    let mut ftp = login(&site, Mode::ExtendedPassive);
    ftp.put_file(LARGE, &mut &whole[..1_500_000]).expect("the first part");
    ftp.resume_transfer(1_500_000).expect("REST");
    ftp.put_file(LARGE, &mut &whole[1_500_000..2_500_000]).expect("the second part");
    ftp.append_file(LARGE, &mut &whole[2_500_000..]).expect("the third part");
    tree::assert_same_file(&site.local.join(LARGE), &site.served.join(LARGE));

    ftp.resume_transfer(LARGE_BYTES - 100).expect("REST");
    assert_eq!(ftp.retr_as_buffer(LARGE).expect("fetched").into_inner(), whole[LARGE_BYTES - 100..]);
    ftp.quit().expect("goodbye");
}

#[test]
fn converts_line_ends() {
    let site = Site::to_fill(Names::Ascii);
    let mut ftp = login(&site, Mode::Passive);
    ftp.transfer_type(FileType::Ascii(FormatControl::NonPrint)).expect("TYPE A N");
    ftp.put_file("text.txt", &mut TEXT.as_bytes()).expect("stored");
    assert_eq!(std::fs::read_to_string(site.served.join("text.txt")).expect("stored"), TEXT);
    let fetched = ftp.retr_as_buffer("text.txt").expect("fetched").into_inner();
    assert_eq!(fetched, TEXT.replace('\n', "\r\n").as_bytes());
    ftp.quit().expect("goodbye");
}

#[test]
fn lists_in_every_form() {
    let site = Site::to_read(Names::Utf8);
    let on_disk = tree::read(&site.served);
    let mut expected: Vec<_> =
        on_disk.keys().filter_map(|path| path.to_str()).filter(|path| !path.contains('/')).collect();
    expected.sort_unstable();
    let mut ftp = login(&site, Mode::ExtendedPassive);

    let mut names = ftp.nlst(None).expect("NLST");
    names.sort_unstable();
    assert_eq!(names, expected);

    let long = ftp.list(None).expect("LIST");
    let machine = ftp.mlsd(None).expect("MLSD");
    let long = long.iter().map(|line| ListParser::parse_posix(line).expect("a line of ls -l"));
    let machine = machine.iter().map(|line| ListParser::parse_mlsd(line).expect("a line of facts"));
    for (form, files) in [("LIST", long.collect::<Vec<_>>()), ("MLSD", machine.collect())] {
        let mut names: Vec<_> =
            files.iter().map(File::name).filter(|name| !matches!(*name, "." | "..")).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{form}");
        for file in files.iter().filter(|file| file.is_file()) {
            let Some(Entry::File { bytes, .. }) = on_disk.get(file.name().as_ref() as &std::path::Path)
            else {
                panic!("{} is no file", file.name());
            };
            assert_eq!(file.size(), *bytes, "{form} of {}", file.name());
        }
    }
    assert!(ftp.mlst(Some("odd.bin")).expect("MLST").contains("size=65537;"));
    ftp.quit().expect("goodbye");
}

#[test]
fn aborts_and_goes_on() {
    let site = Site::to_read(Names::Ascii);
    // More than the buffers of both ends hold, and nothing on the disk.
    let endless = std::fs::File::create(site.served.join("endless")).expect("a file");
    endless.set_len(1 << 32).expect("its length");
    for mode in [Mode::Passive, Mode::ExtendedPassive, Mode::Active] {
        let mut ftp = login(&site, mode);
        for _ in 0..3 {
            let mut download = ftp.retr_as_stream("endless").expect("begun");
            download.read_exact(&mut [0; 100_000]).expect("a part of it");
            ftp.abort(download).expect("aborted");
        }
        let fetched = ftp.retr_as_buffer(LARGE).expect("fetched").into_inner();
        assert_eq!(fetched, std::fs::read(site.served.join(LARGE)).expect("a file"));
        ftp.quit().expect("goodbye");
    }
}

#[test]
fn an_aborted_upload_leaves_the_old_file() {
    let site = Site::to_change(Names::Ascii);
    let before = tree::read(&site.served);
    for mode in [Mode::ExtendedPassive, Mode::Active] {
        let mut ftp = login(&site, mode);
        for name in [LARGE, "new.bin"] {
            let mut upload = ftp.put_with_stream(name).expect("begun");
            upload.write_all(&[b'x'; 300_000]).expect("a part of it");
            ftp.abort(upload).expect("aborted");
        }
        ftp.quit().expect("goodbye");
    }
    assert_eq!(tree::read(&site.served), before);
}

#[test]
fn changes_files_and_is_refused_what_is_wrong() {
    let site = Site::to_change(Names::Ascii);
    let mut ftp = login(&site, Mode::ExtendedPassive);
    ftp.rename("kib", "a/moved").expect("renamed");
    ftp.rm("byte").expect("deleted");
    ftp.rmdir("empty folder").expect("removed");
    ftp.cwd("a/b").expect("there");
    assert_eq!(ftp.pwd().expect("where"), "/a/b");
    ftp.cdup().expect("up");
    assert_eq!(ftp.pwd().expect("where"), "/a");
    assert!(site.served.join("a/moved").is_file() && !site.served.join("byte").exists());
    assert!(ftp.feat().expect("FEAT").keys().any(|feature| feature.starts_with("MLST")));
    assert_eq!(refused(ftp.retr_as_buffer("nowhere")), Status::FileUnavailable);
    assert_eq!(refused(ftp.rmdir("b")), Status::FileUnavailable);
    assert_eq!(refused(ftp.rename("nowhere", "somewhere")), Status::FileUnavailable);
    assert_eq!(refused(ftp.put_file("b", &mut Cursor::new(b"onto a folder"))), Status::FileUnavailable);
    ftp.noop().expect("the session goes on");
    ftp.quit().expect("goodbye");
}

#[test]
fn many_sessions_at_once() {
    let site = Site::to_read(Names::Ascii);
    let mut sessions: Vec<_> = (0..50).map(|_| login(&site, Mode::ExtendedPassive)).collect();
    // Every session has a download under way at the same time.
    let mut downloads: Vec<_> =
        sessions.iter_mut().map(|ftp| ftp.retr_as_stream(LARGE).expect("begun")).collect();
    let expected = std::fs::read(site.served.join(LARGE)).expect("a file");
    for mut download in downloads.drain(..) {
        let mut contents = Vec::new();
        download.read_to_end(&mut contents).expect("fetched");
        download.finish().expect("226");
        assert!(contents == expected, "{} bytes differ from the file", contents.len());
    }
}
