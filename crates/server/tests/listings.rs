//! Listings: read back as strictly as the pickiest client, and streamed whatever their size.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raw::Client;
use raw::file_system::TemporaryFileSystem;
use raw::process::peak_resident_bytes;
use support::server::Server;
use support::site::Site;
use support::tree;

/// 2001-09-09 01:46:40 UTC.
const LONG_AGO: u64 = 1_000_000_000;

fn site() -> Site {
    Site::new(&["--anonymous", "write"], |served, _| {
        for (name, contents) in [
            ("alpha.txt", &b"a"[..]),
            ("beta.txt", b"bb"),
            ("gamma.bin", b"ccc"),
            (".hidden", b"dddd"),
            ("with  two spaces", b"eeeee"),
            (" leading space", b""),
            ("-dash", b""),
            ("bracket[1]", b""),
            ("star*", b""),
            ("sub/inner.txt", b"inner"),
            ("sub/.dot", b""),
            ("sub/deep/er", b""),
        ] {
            tree::write(served, name.as_ref(), contents);
        }
        fs::create_dir(served.join("empty")).expect("a folder");
        symlink("sub", served.join("link")).expect("a link");
        fs::set_permissions(served.join("beta.txt"), Permissions::from_mode(0o750)).expect("permissions");
        let old = File::options().write(true).open(served.join("alpha.txt")).expect("a file");
        let long_ago = UNIX_EPOCH + Duration::from_secs(LONG_AGO);
        old.set_times(FileTimes::new().set_modified(long_ago)).expect("a time");
    })
}

fn client_of(site: &Site) -> Client {
    Client::log_in(site.server.address())
}

/// The lines of a listing, each of which must end with CRLF.
#[track_caller]
fn lines(listing: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(listing).expect("these names are UTF-8");
    let lines: Vec<String> = text.split_terminator("\r\n").map(str::to_owned).collect();
    assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?} stops within a line");
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])), "{text:?} has a stray line end");
    lines
}

/// A line of `ls -l`, taken apart.
#[derive(Debug)]
struct LongLine {
    mode: String,
    links: u64,
    owner: u32,
    group: u32,
    bytes: u64,
    date: String,
    name: String,
}

impl LongLine {
    /// `MODE LINKS OWNER GROUP BYTES MON DD TIME NAME`: one space and padding between the fields, exactly one before the
    /// name.
    #[track_caller]
    fn read(line: &str) -> Self {
        let mut rest = line;
        let mut field = || {
            let padded = rest.trim_start_matches(' ');
            let (field, behind) =
                padded.split_once(' ').unwrap_or_else(|| panic!("{line:?} has too few fields"));
            rest = behind;
            field
        };
        let mode = field().to_owned();
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line:?}: {text:?} is no number"));
        let links = number(field());
        let [owner, group] = [(); 2].map(|()| u32::try_from(number(field())).expect("an id"));
        let bytes = number(field());
        let (month, day, time) = (field(), field(), field());
        assert!(
            "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(' ').any(|name| name == month),
            "{line:?}"
        );
        assert!((1..=31).contains(&number(day)), "{line:?}");
        let is_hour = time.len() == 5 && time.as_bytes()[2] == b':';
        let is_year = time.len() == 4 && time.bytes().all(|byte| byte.is_ascii_digit());
        assert!(is_hour || is_year, "{line:?}");
        assert!(
            mode.len() == 10 && mode[1..].bytes().all(|letter| b"rwxsStT-".contains(&letter)),
            "{line:?}"
        );
        Self {
            mode,
            links,
            owner,
            group,
            bytes,
            date: format!("{month} {day} {time}"),
            name: rest.to_owned(),
        }
    }

    #[track_caller]
    fn is_of(&self, facts: &Metadata) {
        let kind = if facts.is_dir() {
            'd'
        } else if facts.is_symlink() {
            'l'
        } else {
            '-'
        };
        let letters =
            (0..9).map(|bit| if facts.mode() & (0o400 >> bit) == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] });
        let expected: String = std::iter::once(kind).chain(letters).collect();
        let told = (self.mode.as_str(), self.links, self.owner, self.group, self.bytes);
        assert_eq!(
            told,
            (expected.as_str(), facts.nlink(), facts.uid(), facts.gid(), facts.size()),
            "{}",
            self.name
        );
    }
}

#[test]
fn list_reads_back_as_ls() {
    let site = site();
    let mut client = client_of(&site);
    let listed: BTreeMap<String, LongLine> = lines(&client.fetches("LIST -a"))
        .iter()
        .map(|line| LongLine::read(line))
        .map(|line| (line.name.split(" -> ").next().unwrap_or_default().to_owned(), line))
        .collect();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for entry in fs::read_dir(&site.served).expect("a directory") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let facts = fs::symlink_metadata(site.served.join(&name)).expect("facts");
        listed.get(&name).unwrap_or_else(|| panic!("{name:?} is not listed: {listed:?}")).is_of(&facts);
        names.insert(name);
    }
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), names);
    assert_eq!(listed["link"].name, "link -> sub");
    assert_eq!(listed["alpha.txt"].date, "Sep 9 2001");
    assert!(listed["beta.txt"].date.contains(':'), "what is new has its hour: {}", listed["beta.txt"].date);
    // STAT tells the same over the control connection.
    let status = client.says("STAT -a /", 213);
    let told: BTreeSet<String> =
        status.body().iter().map(|line| LongLine::read(&String::from_utf8_lossy(line)).name).collect();
    assert_eq!(told, listed.into_values().map(|line| line.name).collect());
}

#[test]
fn a_file_and_a_directory_and_nothing_are_listed() {
    let site = site();
    let mut client = client_of(&site);
    let only = lines(&client.fetches("LIST beta.txt"));
    assert_eq!(only.len(), 1);
    LongLine::read(&only[0]).is_of(&fs::metadata(site.served.join("beta.txt")).expect("facts"));
    assert_eq!(client.fetches("NLST beta.txt"), b"beta.txt\r\n");
    assert_eq!(client.fetches("NLST sub/inner.txt"), b"sub/inner.txt\r\n");
    for directory in ["empty", "/empty", "empty/", "./empty/."] {
        for verb in ["LIST", "NLST", "MLSD"] {
            assert_eq!(client.fetches(format!("{verb} {directory}")), b"");
        }
    }
    assert_eq!(client.fetches("NLST sub"), b"sub/deep\r\nsub/inner.txt\r\n");
    assert_eq!(client.fetches("NLST /sub"), b"/sub/deep\r\n/sub/inner.txt\r\n");
    for verb in ["LIST", "NLST", "MLSD"] {
        client.is_refused(format!("{verb} missing"), 550);
        client.is_refused(format!("{verb} missing/"), 550);
    }
    client.is_refused("LIST beta.txt/inner", 550);
    client.is_refused("NLST beta.txt/inner", 550);
    client.is_refused("MLSD beta.txt/inner", 501);
    client.is_refused("MLSD beta.txt", 501);
    client.says("CWD sub", 250);
    assert_eq!(client.fetches("NLST"), b"deep\r\ninner.txt\r\n");
    assert!(lines(&client.fetches("NLST ..")).contains(&String::from("../beta.txt")));
}

#[test]
fn patterns_match_as_a_shells_do() {
    let site = site();
    let mut client = client_of(&site);
    for (pattern, names) in [
        ("*.txt", "alpha.txt beta.txt"),
        ("?eta.txt", "beta.txt"),
        ("[ab]*", "alpha.txt beta.txt bracket[1]"),
        ("[!a-f]*.bin", "gamma.bin"),
        ("{alpha,gamma}.*", "alpha.txt gamma.bin"),
        (".h*", ".hidden"),
        ("sub/*.txt", "sub/inner.txt"),
        ("./al*", "./alpha.txt"),
        // What has that very name is meant, whatever it would match.
        ("bracket[1]", "bracket[1]"),
        ("star*", "star*"),
    ] {
        let found = lines(&client.fetches(format!("NLST {pattern}"))).join(" ");
        assert_eq!(found, names, "NLST {pattern}");
        assert_eq!(
            lines(&client.fetches(format!("LIST {pattern}"))).len(),
            names.split(' ').count(),
            "LIST {pattern}"
        );
    }
    for nothing in ["*.none", "[z]*", "sub/*.bin", "missing/*"] {
        client.is_refused(format!("NLST {nothing}"), 550);
        client.is_refused(format!("LIST {nothing}"), 550);
    }
    client.is_refused(format!("NLST {}", "*a".repeat(100)), 550);
}

#[test]
fn names_with_a_dot_are_shown_when_asked_for() {
    let site = site();
    let mut client = client_of(&site);
    for (command, shows) in [
        ("NLST", false),
        ("NLST -l", false),
        ("NLST -a", true),
        ("NLST -A", true),
        ("NLST -la", true),
        ("NLST -al", true),
        ("NLST -a -l /", true),
        ("LIST", false),
        ("LIST -l", false),
        ("LIST -a", true),
        ("LIST -la /", true),
        ("LIST *", false),
        ("MLSD", true),
        ("MLSD /", true),
    ] {
        let listing = lines(&client.fetches(command));
        assert_eq!(listing.iter().any(|line| line.ends_with(".hidden")), shows, "{command}: {listing:?}");
        let names_itself =
            |line: &String| line.ends_with(" .") || line.ends_with(" ..") || line == "." || line == "..";
        assert!(!listing.iter().any(names_itself), "{command}: {listing:?}");
    }
    assert_eq!(client.fetches("NLST -- -dash"), b"-dash\r\n");
}

/// The facts of a line of `MLSD` or `MLST`, and the name.
#[track_caller]
fn facts_of(line: &str) -> (BTreeMap<String, String>, String) {
    let (facts, name) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?} has no name"));
    let facts =
        facts.strip_suffix(';').unwrap_or_else(|| panic!("the facts of {line:?} end with a semicolon"));
    let pairs = facts
        .split(';')
        .map(|fact| fact.split_once('=').unwrap_or_else(|| panic!("{line:?}: {fact:?} is no fact")));
    (pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(), name.to_owned())
}

#[test]
fn mlsd_tells_the_facts() {
    let site = site();
    let mut client = client_of(&site);
    let listed: BTreeMap<String, BTreeMap<String, String>> = lines(&client.fetches("MLSD"))
        .iter()
        .map(|line| facts_of(line))
        .map(|(facts, name)| (name, facts))
        .collect();
    let mut unique = BTreeSet::new();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&site.served).expect("a directory") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let told = listed.get(&name).unwrap_or_else(|| panic!("{name:?} is not listed"));
        let facts = fs::metadata(site.served.join(&name)).expect("facts");
        assert_eq!(told["type"], if facts.is_dir() { "dir" } else { "file" }, "{name:?}");
        assert_eq!(told.get("size"), facts.is_file().then(|| facts.size().to_string()).as_ref(), "{name:?}");
        assert_eq!(told["modify"].len(), 14, "{name:?}");
        assert_eq!(told["unix.mode"], format!("{:04o}", facts.mode() & 0o7777), "{name:?}");
        let letters = if facts.is_dir() { "cdeflmp" } else { "adfrw" };
        assert!(
            told["perm"].bytes().all(|letter| letters.as_bytes().contains(&letter.to_ascii_lowercase())),
            "{told:?}"
        );
        if name != "link" {
            assert!(unique.insert(told["unique"].clone()), "{name:?} has another's unique fact");
        }
        names.insert(name);
    }
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), names);
    assert_eq!(listed["link"]["unique"], listed["sub"]["unique"], "what has two names is one thing");
    assert_eq!(listed["alpha.txt"]["modify"], "20010909014640");
    assert_eq!(client.says("MDTM alpha.txt", 213).text(), b"20010909014640");

    let reply = client.says("MLST alpha.txt", 250);
    let told = String::from_utf8_lossy(reply.body()[0]).into_owned();
    assert_eq!(facts_of(&told), (listed["alpha.txt"].clone(), String::from("/alpha.txt")));
    client.says("OPTS MLST Size;nonsense;Type;", 200);
    let chosen = lines(&client.fetches("MLSD sub"));
    assert!(chosen.contains(&String::from("type=file;size=5; inner.txt")), "{chosen:?}");
    client.says("OPTS MLST", 200);
    let reply = client.says("MLST alpha.txt", 250);
    assert_eq!(reply.body(), [b" /alpha.txt"], "no facts at all");
}

#[test]
fn what_was_stored_a_moment_ago_has_its_hour() {
    let site = site();
    let mut client = client_of(&site);
    client.stores("STOR now", b"1234567");
    let line = LongLine::read(&lines(&client.fetches("LIST now"))[0]);
    assert_eq!(line.bytes, 7);
    assert!(line.date.contains(':'), "{}", line.date);
    let modified = String::from_utf8_lossy(client.says("MDTM now", 213).text()).into_owned();
    client.says("MFMT 20300101123000 now", 213);
    assert_ne!(String::from_utf8_lossy(client.says("MDTM now", 213).text()), modified);
    assert_eq!(
        LongLine::read(&lines(&client.fetches("LIST now"))[0]).date,
        "Jan 1 2030",
        "the future has no hour"
    );
    let year =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 31_556_952 + 1970;
    assert!(modified.starts_with(&year.to_string()), "{modified}");
}

#[test]
fn listings_are_the_same_over_ipv6() {
    let site = Site::new(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"], |served, _| {
        tree::build(served, tree::Names::AnyBytes);
    });
    let [four, six] = site.server.addresses() else { panic!("two listeners") };
    for command in ["LIST -a", "NLST a", "MLSD /", "LIST *.txt"] {
        let listings = [four, six].map(|address| Client::log_in(*address).fetches(command));
        assert!(!listings[0].is_empty());
        assert_eq!(listings[0], listings[1], "{command}");
    }
}

const MANY: usize = 100_000;
/// More than the server sorts, which it does with all of a small directory's names at once.
const FEW: usize = 5_000;

/// A directory of many names on a file system of its own; the order of the fields is that in which they end.
struct Crowd {
    server: Server,
    directory: std::path::PathBuf,
    _file_system: TemporaryFileSystem,
    _scratch: tempfile::TempDir,
}

impl Crowd {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let file_system = TemporaryFileSystem::mount(scratch.path(), "256m,nr_inodes=0");
        let directory = scratch.path().join("crowd");
        fill(&directory, MANY);
        fill(&scratch.path().join("few"), FEW);
        let server = Server::start(scratch.path(), &["--anonymous", "write"]);
        Self { server, directory, _file_system: file_system, _scratch: scratch }
    }

    /// Long enough that the sockets of a connection do not hold all of the listing.
    const NAME_BYTES: usize = 207;
    /// A name begins with its number.
    const DIGITS: usize = 6;

    fn name(number: usize) -> String {
        format!("{number:06}{}", "n".repeat(Self::NAME_BYTES - Self::DIGITS))
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

#[test]
fn a_large_directory_is_listed_whole_in_little_memory() {
    let crowd = Crowd::new();
    let mut client = Client::log_in(crowd.address());
    // As much is listed, in small pieces: what the server keeps for listings is there after this.
    for _ in 0..MANY / FEW {
        assert_eq!(names_in(&client.fetches("LIST few")), FEW);
    }
    let before = peak_resident_bytes(crowd.server.pid());
    for command in ["LIST crowd", "NLST crowd/0*"] {
        assert_eq!(names_in(&client.fetches(command)), MANY, "{command}");
    }
    assert!(client.says("STAT crowd", 213).body().len() < MANY, "a reply has a bound");
    // The kernel's count is not exact, and may even go back a little.
    let grown = peak_resident_bytes(crowd.server.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "the listings took {grown} bytes");
}

#[test]
fn a_large_directory_is_sent_while_it_is_read() {
    let crowd = Crowd::new();
    let mut client = Client::log_in(crowd.address());
    for command in ["NLST crowd", "MLSD crowd"] {
        fill(&crowd.directory, MANY);
        let data = client.opens_data();
        client.says(command, 150);
        let mut data = BufReader::new(data);
        let mut first = String::new();
        data.read_line(&mut first).expect("a line");
        // The connection holds only so much, and the server waits. What it has not read by now, it will not find.
        for number in 0..MANY {
            fs::remove_file(crowd.directory.join(Crowd::name(number))).expect("a file");
        }
        let rest = data.lines().map_while(Result::ok).count();
        client.hears(226);
        assert!(rest > 0, "{command}: what was read was sent");
        assert!(rest + 1 < MANY, "{command}: all was read before the first line was sent");
    }
}

/// How many of the crowd's names are in a listing, in which none may come twice.
#[track_caller]
fn names_in(listing: &[u8]) -> usize {
    let mut seen = vec![false; MANY];
    for line in listing.lines() {
        let line = line.expect("the names are ASCII");
        let number =
            line.len().checked_sub(Crowd::NAME_BYTES).and_then(|at| line.get(at..at + Crowd::DIGITS));
        let number: usize = number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{line:?} is no whole line"));
        assert!(!std::mem::replace(&mut seen[number], true), "{number} comes twice");
    }
    seen.into_iter().filter(|seen| *seen).count()
}

/// Makes a directory of so many empty files, where it is not there.
fn fill(directory: &Path, files: usize) {
    fs::create_dir_all(directory).expect("a directory");
    for number in 0..files {
        File::create(directory.join(Crowd::name(number))).expect("a file");
    }
}
