//! Whole dialogues, read from `dialogues/*.txt`, run without a socket.
//!
//! A dialogue is a text of lines. `C:` is a line from the client, `S:` a line of a reply to the letter (a trailing ` ...`
//! stands for any rest), `A:` what the session asks of the outside, `E:` what happens outside. Empty lines and `#` comments are
//! passed over. Everything that the session says or asks must be in the dialogue, in order.
//!
//! The events: `login reader|uploader|writer|refused|unavailable`, `passive ADDRESS|none`, `address permitted|foreign|server`, `file done|size N|time N|line TEXT|
//! digest HEX END|refused CODE TEXT`, `opened download N|upload|unique NAME|listing`, `moved N`, `ended
//! complete|aborted|refused CODE TEXT|failed CODE TEXT`, `deadline login|idle|shutdown`, `line too long`, `expired port`.

#![allow(clippy::unwrap_used, reason = "a dialogue that is not well written fails")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use protocol::reply::{Code, Reply};
use protocol::rights::Rights;
use protocol::session::{
    Action, AddressVerdict, DataSetup, Deadline, FileAnswer, FileRequest, LoginVerdict, Opened, PassiveKind,
    Session, SessionSettings, TransferEnd, TransferKind,
};

#[test]
fn every_dialogue_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut run = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        Dialogue::new(&path.file_name().unwrap().to_string_lossy()).run(&text);
        run += 1;
    }
    assert!(run >= 5, "the dialogues are missing: only {run} were found");
}

struct Dialogue {
    name: String,
    session: Session,
    /// What came out and is not yet accounted for, each line as the dialogue would write it.
    out: std::collections::VecDeque<String>,
    passive: Option<PassiveKind>,
    address: Option<std::net::SocketAddr>,
    file: Option<FileRequest>,
}

impl Dialogue {
    fn new(name: &str) -> Self {
        let settings = SessionSettings { banner: String::from("ready"), ..SessionSettings::default() };
        let peer = if name.contains("ipv6") { "[2001:db8::7]:40000" } else { "192.0.2.7:40000" };
        let mut dialogue = Self {
            name: name.to_owned(),
            session: Session::new(Arc::new(settings), peer.parse().unwrap()),
            out: std::collections::VecDeque::new(),
            passive: None,
            address: None,
            file: None,
        };
        dialogue.collect();
        dialogue
    }

    fn run(mut self, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", self.name, number + 1);
            match line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")) {
                ("", _) => {}
                (comment, _) if comment.starts_with('#') => {}
                ("C", line) => {
                    self.expect_nothing(&place);
                    self.session.handle_line(&unescape(line));
                }
                ("E", event) => {
                    self.expect_nothing(&place);
                    self.happen(event, &place);
                }
                ("S" | "A", _) => self.expect(line, &place),
                _ => panic!("{place}: not a line of a dialogue: {line}"),
            }
            self.collect();
        }
        self.expect_nothing(&format!("{}: end", self.name));
    }

    fn expect_nothing(&self, place: &str) {
        assert!(self.out.is_empty(), "{place}: before this line the session said {:?}", self.out);
    }

    fn expect(&mut self, line: &str, place: &str) {
        let said = self.out.pop_front().unwrap_or_else(|| panic!("{place}: nothing was said"));
        match line.strip_suffix("...") {
            Some(beginning) => assert!(said.starts_with(beginning), "{place}: said {said:?}"),
            None => assert_eq!(said, line, "{place}"),
        }
    }

    fn collect(&mut self) {
        while let Some(action) = self.session.poll_action() {
            if let Action::Reply { reply, .. } = &action {
                let mut bytes = Vec::new();
                reply.encode(&mut bytes);
                let text = String::from_utf8(bytes).unwrap();
                assert!(text.ends_with("\r\n"), "{text:?}");
                self.out.extend(text.lines().map(|line| format!("S: {line}")));
                continue;
            }
            self.out.push_back(format!("A: {}", describe(&action, &self.session)));
            match action {
                Action::LeasePassive(kind) => self.passive = Some(kind),
                Action::PermitAddress(address) => self.address = Some(address),
                Action::File(request) => self.file = Some(*request),
                _ => {}
            }
        }
    }

    fn happen(&mut self, event: &str, place: &str) {
        let (what, rest) = event.split_once(' ').unwrap_or((event, ""));
        match what {
            "login" => self.session.handle_login(match rest {
                "reader" => LoginVerdict::Accepted(Rights::READER),
                "uploader" => LoginVerdict::Accepted(Rights::UPLOADER),
                "writer" => LoginVerdict::Accepted(Rights::WRITER),
                "refused" => LoginVerdict::Refused,
                _ => LoginVerdict::Unavailable,
            }),
            "passive" => {
                let kind = self.passive.take().unwrap_or_else(|| panic!("{place}: no port was asked for"));
                let leased = rest.parse().map_err(|_| Reply::fixed(Code::new(425), "No port."));
                self.session.handle_passive(kind, leased);
            }
            "address" => {
                let address =
                    self.address.take().unwrap_or_else(|| panic!("{place}: no address was asked for"));
                let verdict = match rest {
                    "permitted" => AddressVerdict::Permitted,
                    "foreign" => AddressVerdict::Foreign,
                    _ => AddressVerdict::TheServer,
                };
                self.session.handle_address_verdict(address, verdict);
            }
            "file" => {
                let request = self.file.take().unwrap_or_else(|| panic!("{place}: no file was asked for"));
                self.session.handle_file_answer(request, file_answer(rest));
            }
            "opened" => self.session.handle_transfer_opened(&opened(rest)),
            "moved" => self.session.handle_transfer_progress(rest.parse().unwrap()),
            "ended" => self.session.handle_transfer_ended(transfer_end(rest)),
            "deadline" => self.session.handle_deadline(match rest {
                "login" => Deadline::Login,
                "idle" => Deadline::Idle,
                _ => Deadline::Shutdown,
            }),
            "line" => self.session.handle_line_too_long(),
            "expired" => self.session.handle_passive_expired(),
            _ => panic!("{place}: not an event: {event}"),
        }
    }
}

fn describe(action: &Action, session: &Session) -> String {
    match action {
        Action::Authenticate(password) => {
            let user = session.user_asked().unwrap();
            format!("authenticate {} {}", user.escape_ascii(), password.reveal().escape_ascii())
        }
        Action::Transfer(transfer) => {
            let mut text = match &transfer.what {
                TransferKind::Download { path, restart: None } => format!("download {path}"),
                TransferKind::Download { path, restart: Some(offset) } => {
                    format!("download {path} from {offset}")
                }
                TransferKind::Upload { path, mode, allocate_bytes } => {
                    format!("upload {path} {mode:?} allocate {allocate_bytes}")
                }
                TransferKind::Listing(request) => {
                    let form = format!("{:?}", request.format);
                    let form = form.split('(').next().unwrap().to_owned();
                    format!("list {} {form}{}", request.path, if request.all { " all" } else { "" })
                }
            };
            match transfer.setup {
                Some(DataSetup::Passive) => text.push_str(" passive"),
                Some(DataSetup::Active(peer)) => write!(text, " to {peer}").unwrap(),
                None => text.push_str(" nowhere"),
            }
            write!(text, " {:?}", transfer.transfer_type).unwrap();
            text
        }
        Action::File(request) => {
            let text = format!("{request:?}");
            text.split_once("Facts {").map_or(text.clone(), |_| String::from("Facts ..."))
        }
        other => format!("{other:?}"),
    }
}

fn reply_of(text: &str) -> Reply {
    let (code, text) = text.split_once(' ').unwrap();
    Reply::new(Code::new(code.parse().unwrap()), text)
}

fn file_answer(text: &str) -> Result<FileAnswer, Reply> {
    let (what, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match what {
        "done" => FileAnswer::Done,
        "size" => FileAnswer::Size(rest.parse().unwrap()),
        "time" => FileAnswer::Modified(rest.parse().unwrap()),
        "line" => FileAnswer::Lines { text: format!("{rest}\r\n").into_bytes(), cut: false },
        "digest" => {
            let (hexadecimal, end) = rest.split_once(' ').unwrap();
            FileAnswer::Digest { hexadecimal: hexadecimal.to_owned(), end: end.parse().unwrap() }
        }
        _ => return Err(reply_of(rest)),
    })
}

fn opened(text: &str) -> Opened {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("download", bytes) => Opened::Download { bytes: bytes.parse().unwrap() },
        ("upload", _) => Opened::Upload,
        ("unique", name) => Opened::Unique { name: name.into() },
        _ => Opened::Listing,
    }
}

fn transfer_end(text: &str) -> TransferEnd {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("complete", _) => TransferEnd::Complete,
        ("aborted", _) => TransferEnd::Aborted,
        ("unset", _) => TransferEnd::NotSetUp,
        ("refused", reply) => TransferEnd::Refused(reply_of(reply)),
        (_, reply) => TransferEnd::Failed(reply_of(reply)),
    }
}

/// `\xNN` and `\r` in a client's line.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        rest = match escape.strip_prefix('x') {
            Some(digits) => {
                bytes.push(u8::from_str_radix(&digits[..2], 16).unwrap());
                &digits[2..]
            }
            None => {
                bytes.push(b'\r');
                &escape[1..]
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
