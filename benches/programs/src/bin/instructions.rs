//! Does one thing a given number of times, for a simulated processor to count the instructions of
//! (`cargo xtask instructions`). Everything is fixed: the same work takes the same instructions every time.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use passive_ports::{ClientAddress, Limits, shards};
use protocol::command::parse;
use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};
use protocol::path::VirtualPath;
use protocol::reply::{Code, Reply, ReplyDecoder};
use protocol::session::SessionSettings;
use ringftpd_benches::dialogue::{logged_in, say};
use storage::{FactSelection, Facts, Kind, Permissions, format_long_entry, format_machine_entry};
use transfer::{
    CachePolicy, CacheState, Direction, FileSystemKind, RoutePreference, TransferFacts, TransferType, plan,
};

/// What a client says that fetches one file.
const DIALOGUE: &[u8] =
    b"USER anonymous\r\nPASS guest@\r\nTYPE I\r\nEPSV\r\nRETR pub/linux/README\r\nNOOP\r\nQUIT\r\n";

/// A time that no calendar makes short work of: 2026-01-01 00:00:00 UTC.
const NOW_UNIX_SECONDS: i64 = 1_767_225_600;

/// Makes what a case needs, and does its work as often as is said.
type Case = fn(u32);

/// Every case, with its name.
const CASES: [(&str, Case); 16] = [
    ("line splitter and parse, a dialogue", split_and_parse),
    ("parse PORT", |times| parse_line(times, b"PORT 192,0,2,7,156,64")),
    ("parse EPRT", |times| parse_line(times, b"EPRT |2|2001:db8::7|40000|")),
    ("reply 226, encoded", |times| encode(times, &Reply::fixed(Code::new(226), "Transfer complete."))),
    ("reply 229, made and encoded", make_and_encode),
    ("reply 226, decoded", decode),
    ("session: NOOP", |times| in_a_session(times, &[b"NOOP"])),
    ("session: CWD", |times| in_a_session(times, &[b"CWD /pub/linux"])),
    ("session: EPSV, RETR to 226", |times| in_a_session(times, &[b"EPSV", b"RETR pub/linux/README"])),
    ("session: from the greeting to 221", whole_session),
    ("passive ports: lease, arrive", lease_and_arrive),
    ("transfer: plan of a download", plan_a_download),
    ("transfer: 4 KiB of text to the network", convert_text),
    ("listing: an MLSD line", machine_line),
    ("listing: a LIST line", long_line),
    ("path: a relative one, joined", join_paths),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        for (name, _) in CASES {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    }
    let case = CASES.iter().find(|(name, _)| arguments.first().is_some_and(|asked| asked == name));
    match (case, arguments.get(1).and_then(|times| times.parse().ok())) {
        (Some((_, case)), Some(times)) => {
            case(times);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("instructions [CASE TIMES]; without arguments it names the cases");
            ExitCode::FAILURE
        }
    }
}

fn split_and_parse(times: u32) {
    let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
    for _ in 0..times {
        let mut input = black_box(DIALOGUE);
        while let Some(Frame::Line(line)) = splitter.next(&mut input) {
            // What a command borrows ends with its turn.
            let _ = black_box(parse(line));
        }
    }
}

fn parse_line(times: u32, line: &[u8]) {
    for _ in 0..times {
        let _ = black_box(parse(black_box(line)));
    }
}

fn encode(times: u32, reply: &Reply) {
    let mut out = Vec::with_capacity(1024);
    for _ in 0..times {
        out.clear();
        black_box(reply).encode(&mut out);
        black_box(&out);
    }
}

fn make_and_encode(times: u32) {
    let mut out = Vec::with_capacity(1024);
    for _ in 0..times {
        out.clear();
        let text = format!("Entering Extended Passive Mode (|||{}|)", black_box(50_000));
        Reply::new(Code::new(229), text).encode(&mut out);
        black_box(&out);
    }
}

fn decode(times: u32) {
    let mut decoder = ReplyDecoder::new(8192, 65_536);
    for _ in 0..times {
        let mut input = black_box(b"226 Transfer complete.\r\n".as_slice());
        while let Ok(Some(reply)) = decoder.next(&mut input) {
            black_box(reply.code);
        }
    }
}

fn in_a_session(times: u32, lines: &[&[u8]]) {
    let mut session = logged_in(&Arc::new(SessionSettings::default()));
    let mut out = Vec::with_capacity(4096);
    for _ in 0..times {
        out.clear();
        say(&mut session, &mut out, lines);
        black_box(&out);
    }
}

fn whole_session(times: u32) {
    let settings = Arc::new(SessionSettings::default());
    let mut out = Vec::with_capacity(4096);
    for _ in 0..times {
        out.clear();
        let mut session = logged_in(&settings);
        say(&mut session, &mut out, &[b"EPSV", b"RETR pub/linux/README", b"QUIT"]);
        black_box(&out);
    }
}

fn lease_and_arrive(times: u32) {
    let ports: Vec<u16> = (10_000..11_000).collect();
    let handle = shards::<u32>(&ports, 1, Limits::default()).expect("the ports are good").remove(0);
    let client: ClientAddress = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)).into();
    let now = Instant::now();
    for _ in 0..times {
        let lease = handle.lease(black_box(client), 0, now).expect("a port is free");
        black_box(handle.arrive(lease.port(), client, now));
    }
}

fn plan_a_download(times: u32) {
    let facts = TransferFacts {
        direction: Direction::Download,
        transfer_type: TransferType::Image,
        size: Some(1 << 20),
        encrypted: false,
        file_system: Some(FileSystemKind::Disk),
        cache: CacheState::Used,
        cache_policy: CachePolicy::Keep,
        preference: RoutePreference::Planned,
    };
    for _ in 0..times {
        black_box(plan(black_box(&facts)));
    }
}

fn convert_text(times: u32) {
    let text = b"A line of forty bytes, with its line end\n".repeat(100);
    let mut out = Vec::with_capacity(8192);
    for _ in 0..times {
        out.clear();
        transfer::ascii::ToNetwork::new().convert(black_box(&text), &mut out);
        black_box(&out);
    }
}

fn machine_line(times: u32) {
    let facts = Facts {
        kind: Kind::File,
        size: 123_456_789,
        modified_unix_seconds: NOW_UNIX_SECONDS,
        mode: 0o644,
        links: 1,
        owner: 1000,
        group: 1000,
        device: 2049,
        inode: 1_234_567,
    };
    let mut out = Vec::with_capacity(1024);
    for _ in 0..times {
        out.clear();
        let (selection, permissions) =
            (FactSelection::all(), Permissions { download: true, ..Permissions::default() });
        format_machine_entry(black_box(&facts), b"linux-7.1.tar.xz", selection, permissions, &mut out);
        black_box(&out);
    }
}

fn long_line(times: u32) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let status = nix::sys::stat::fstat(&file).expect("its status");
    let mut out = Vec::with_capacity(1024);
    for _ in 0..times {
        out.clear();
        format_long_entry(black_box(&status), b"linux-7.1.tar.xz", status.st_mtime, &mut out);
        black_box(&out);
    }
}

fn join_paths(times: u32) {
    let folder = VirtualPath::root().join(b"/pub/linux/kernel").expect("a path");
    for _ in 0..times {
        let _ = black_box(folder.join(black_box(b"../v7.x//./linux-7.1.tar.xz")));
    }
}
