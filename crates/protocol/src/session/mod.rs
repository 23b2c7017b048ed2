//! The session as a state machine, without sockets, files or a clock.
//!
//! What happens outside comes in by `handle_*`; what the outside must do comes out of [`Session::poll_action`], in order,
//! until it is `None`. Commands may be pipelined: while the answer to an [`Action`] is outstanding, the lines that
//! follow are held back (bounded: [`Session::wants_input`]) and handled once it is there.
//!
//! ```text
//!              USER            PASS              accepted
//!  NoUser ───────────▶ Named ────────▶ Checking ──────────▶ LoggedIn
//!    ▲  ◀── refused, REIN ──┴──────────────┴───── REIN, USER ──┘
//!
//!         CWD, DELE, SIZE ...                    RETR, STOR, LIST ...
//!  Idle ─────────────────────▶ AtFile     Idle ──────────────────────▶ Opening ──▶ Moving
//!    ▲ ◀──── file answer ────────┘          ▲ ◀─ refused ─────────────────┘           │
//!                                           └───────────── ended ─────────────────────┘
//! ```
//!
//! A transfer that has begun does not stop the dialogue: `STAT`, `NOOP`, `QUIT`, `USER`, `PASS` and `REIN` are answered while it runs (RFC
//! 959 sections 4.1.1 and 4.1.3 say so of most), and `ABOR` ends it at once; other commands wait for its end, so that
//! what is pipelined behind a transfer sees its result.

mod action;
mod data_setup;
mod facts;
mod files;
mod information;
mod login;
mod replies;
mod transfers;

pub use action::{
    Action, AddressVerdict, DataSetup, DigestForm, FileAnswer, FileRequest, ListFormat, ListRequest, Opened,
    PassiveKind, Secret, Transfer, TransferEnd, TransferKind, TransferType, UploadMode,
};
pub use facts::FactSelection;
pub use login::LoginVerdict;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::command::{self, Command, HashAlgorithm, ParseError, Verb, VerbNumber};
use crate::path::{PathError, VirtualPath};
use crate::reply::Reply;
use crate::rights::Rights;

use login::Login;
use replies as say;
use transfers::DataSlot;

/// How many bytes of lines a session holds back before it asks for no more input.
pub const HELD_BYTES_MAX: usize = 16 * 1024;

/// How many actions may wait to be polled before a session handles no more lines, be they held or new: a reply can be a thousand
/// times as long as its command, and whoever asks without end and reads nothing must not have them all made.
pub const ACTIONS_WAITING_MAX: usize = 128;

/// What is the same for every session of a listener.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The text of the greeting.
    pub banner: String,
    /// A user of one of these names is told that any password will do.
    pub guests: Vec<String>,
    /// After this many failed logins the control connection is closed.
    pub failed_logins_max: u8,
    /// Whether the server connects to clients at all: `PORT` and `EPRT`.
    pub active: bool,
    /// Whether the server may be asked to connect to ports below 1024, which RFC 2577 section 3 advises against.
    pub privileged_ports: bool,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            banner: String::from("ringftpd ready."),
            guests: vec![String::from("anonymous"), String::from("ftp")],
            failed_logins_max: 3,
            active: true,
            privileged_ports: false,
        }
    }
}

/// Which deadline of the control connection passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// There was no login in time.
    Login,
    /// There was no command in time.
    Idle,
    /// The server stops.
    Shutdown,
}

/// One control connection's dialogue.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    /// The client's address, IPv4 where it is IPv4 mapped into IPv6.
    peer: IpAddr,
    login: Login,
    failed_logins: u8,
    rights: Rights,
    working_directory: VirtualPath,
    transfer_type: TransferType,
    restart: Option<u64>,
    allocate_bytes: u64,
    rename_from: Option<VirtualPath>,
    facts: FactSelection,
    hash: HashAlgorithm,
    data: DataSlot,
    only_epsv: bool,
    waiting: Waiting,
    /// The verb of the command that is waited for.
    waiting_verb: Option<VerbNumber>,
    /// The verb of the command that replies are made for at this moment.
    answered_verb: Option<VerbNumber>,
    /// `QUIT` came while a transfer ran: the control connection is closed once the transfer's result is told.
    quitting: bool,
    closed: bool,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// The last command was a transfer, and it failed on its way.
    transfer_was_cut: bool,
    /// `ABOR` took something back, and its own reply is due when its turn comes.
    abort_is_due: bool,
    actions: VecDeque<Action>,
}

/// Whose answer the session waits for before it handles another line, apart from a transfer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nobody,
    Login,
    PassivePort,
    AddressVerdict,
    File,
}

/// A line that waits for its turn.
#[derive(Debug)]
enum Held {
    Line(Box<[u8]>),
    TooLong,
}

impl Session {
    /// A session of a client at `peer`. Its first action is the greeting.
    pub fn new(settings: Arc<SessionSettings>, peer: SocketAddr) -> Self {
        let mut session = Self {
            peer: peer.ip().to_canonical(),
            login: Login::NoUser,
            failed_logins: 0,
            rights: Rights::empty(),
            working_directory: VirtualPath::root(),
            transfer_type: TransferType::default(),
            restart: None,
            allocate_bytes: 0,
            rename_from: None,
            facts: FactSelection::default(),
            hash: HashAlgorithm::default(),
            data: DataSlot::Empty,
            only_epsv: false,
            waiting: Waiting::Nobody,
            waiting_verb: None,
            answered_verb: None,
            quitting: false,
            closed: false,
            held: VecDeque::new(),
            held_bytes: 0,
            transfer_was_cut: false,
            abort_is_due: false,
            actions: VecDeque::new(),
            settings,
        };
        let greeting = greeting(&session.settings.banner);
        session.reply(greeting);
        session
    }

    /// The next thing to do; `None` until something else happened.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() && !self.held.is_empty() {
            // Lines that had to wait because so much was to be done already.
            self.resume();
        }
        self.actions.pop_front()
    }

    /// Whether more lines may be handed in. While this is false the control connection is not read, and the client's
    /// own sending comes to rest.
    pub fn wants_input(&self) -> bool {
        self.held_bytes < HELD_BYTES_MAX && self.actions.len() < ACTIONS_WAITING_MAX && !self.closed
    }

    /// Whether the session is over: nothing that happens later has an answer.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a transfer is under way.
    pub fn is_transferring(&self) -> bool {
        self.data.is_transferring()
    }

    /// Whether `ABOR` was said of what is under way.
    pub fn abort_asked(&self) -> bool {
        self.abort_is_due
    }

    /// Whether somebody is logged in.
    pub fn is_logged_in(&self) -> bool {
        matches!(self.login, Login::LoggedIn { .. })
    }

    /// Whether `QUIT` was said: a control connection that ends afterwards ended as it should.
    pub fn said_goodbye(&self) -> bool {
        self.quitting || self.closed
    }

    /// The client sent a line.
    pub fn handle_line(&mut self, line: &[u8]) {
        if self.closed || self.quitting {
            return;
        }
        if !self.held.is_empty() || !self.is_free() {
            self.hold_or_handle_at_once(line);
            return;
        }
        self.dispatch(line);
    }

    /// The client sent a line over the bound; its bytes are gone.
    pub fn handle_line_too_long(&mut self) {
        if self.closed || self.quitting {
            return;
        }
        if self.held.is_empty() && self.is_free() {
            self.refuse_line_too_long();
        } else {
            self.hold(Held::TooLong, 1);
        }
    }

    /// The client has sent this line, and too many stand before it to hand it in: an `ABOR` goes ahead of them, and anything else is
    /// left for its turn.
    pub fn handle_line_ahead(&mut self, line: &[u8]) {
        if matches!(command::parse(line), Ok(Command::Abor)) {
            self.abort_early();
        }
    }

    /// There is no place any more for somebody who is not logged in; `reply` says so.
    pub fn handle_no_place(&mut self, reply: Reply) {
        if !self.closed {
            self.answered_verb = None;
            self.reply(reply);
            self.close();
        }
    }

    /// A deadline of the control connection passed.
    pub fn handle_deadline(&mut self, deadline: Deadline) {
        if self.closed {
            return;
        }
        self.answered_verb = None;
        self.reply(match deadline {
            Deadline::Login => say::LOGIN_DEADLINE,
            Deadline::Idle => say::IDLE_DEADLINE,
            Deadline::Shutdown => say::SHUTTING_DOWN,
        });
        self.close();
    }

    /// Nothing is outstanding: the next line may be handled.
    fn is_free(&self) -> bool {
        self.waiting == Waiting::Nobody && !self.data.is_transferring()
    }

    /// A line that came while something is outstanding.
    fn hold_or_handle_at_once(&mut self, line: &[u8]) {
        let (verb, command) = command::parse_counted(line);
        if matches!(command, Ok(Command::Abor)) {
            self.abort_early();
        }
        let in_order = self.held.is_empty() && self.waiting == Waiting::Nobody;
        if in_order && self.is_answered_during_transfer(&command) {
            self.handle_parsed(verb, command);
        } else {
            self.hold(Held::Line(line.into()), line.len());
        }
    }

    fn hold(&mut self, held: Held, bytes: usize) {
        self.held_bytes += bytes + size_of::<Held>();
        self.held.push_back(held);
    }

    /// Handles the lines that waited, as far as nothing new is outstanding and not too much is to be done already.
    fn resume(&mut self) {
        while !self.closed
            && !self.quitting
            && !self.held.is_empty()
            && self.waiting == Waiting::Nobody
            && self.actions.len() < ACTIONS_WAITING_MAX
        {
            let admitted = match self.held.front() {
                Some(Held::Line(line)) if self.data.is_transferring() => {
                    self.is_answered_during_transfer(&command::parse(line))
                }
                _ => !self.data.is_transferring(),
            };
            if !admitted {
                return;
            }
            match self.held.pop_front() {
                Some(Held::Line(line)) => {
                    self.held_bytes -= line.len() + size_of::<Held>();
                    self.dispatch(&line);
                }
                Some(Held::TooLong) => {
                    self.held_bytes -= 1 + size_of::<Held>();
                    self.refuse_line_too_long();
                }
                None => {}
            }
        }
        if self.held.is_empty() {
            // An idle session keeps no heap for lines that came once.
            self.held = VecDeque::new();
        }
    }

    fn dispatch(&mut self, line: &[u8]) {
        let (verb, command) = command::parse_counted(line);
        self.handle_parsed(verb, command);
    }

    fn handle_parsed(&mut self, verb: VerbNumber, command: Result<Command<'_>, ParseError>) {
        self.answered_verb = Some(verb);
        let command = match command {
            Ok(command) => command,
            Err(ParseError::Unknown) => return self.reply(say::UNKNOWN_COMMAND),
            Err(ParseError::Arguments { verb, .. })
                if !self.is_logged_in() && !is_verb_open_to_strangers(verb) =>
            {
                return self.reply(say::NOT_LOGGED_IN);
            }
            Err(ParseError::Arguments { verb, usage }) => return self.reply(argument_error(verb, usage)),
        };
        // A client that closed the data connection of a transfer before it says ABOR has aborted it all the same.
        if std::mem::take(&mut self.transfer_was_cut) && matches!(command, Command::Abor) {
            self.abort_is_due = true;
        }
        // RNTO must follow RNFR at once (RFC 959 section 4.1.3).
        let rename_from = self.rename_from.take();
        self.handle_command(command, rename_from);
    }

    fn handle_command(&mut self, command: Command<'_>, rename_from: Option<VirtualPath>) {
        if !self.is_logged_in() && !is_open_to_strangers(&command) {
            // Of an ABOR that was seen ahead of its turn this is the turn.
            self.abort_is_due &= !matches!(command, Command::Abor);
            return self.reply(say::NOT_LOGGED_IN);
        }
        match command {
            Command::User(name) => self.on_user(name),
            Command::Pass(password) => self.on_pass(password),
            Command::Acct(_) => self.reply(say::ACCOUNT_SUPERFLUOUS),
            Command::Host(_) => self.on_host(),
            Command::Rein => self.on_rein(),
            Command::Quit => self.on_quit(),

            Command::Port(address) => self.on_port(address),
            Command::Eprt(argument) => self.on_eprt(argument),
            Command::Pasv => self.on_pasv(),
            Command::Epsv(argument) => self.on_epsv(argument),
            Command::Type(code) => self.on_type(code),
            Command::Stru(structure) => self.on_stru(structure),
            Command::Mode(mode) => self.on_mode(mode),

            Command::Retr(path) => self.on_retr(path),
            Command::Stor(path) => self.on_stor(path),
            Command::Stou(hint) => self.on_stou(hint),
            Command::Appe(path) => self.on_appe(path),
            Command::List(argument) => self.on_list(argument),
            Command::Nlst(argument) => self.on_nlst(argument),
            Command::Mlsd(path) => self.on_mlsd(path),
            Command::Allo(bytes) => self.on_allo(bytes),
            Command::Rest(offset) => self.on_rest(offset),
            Command::Abor => self.on_abor(),

            Command::Cwd(path) => self.on_cwd(path),
            Command::Cdup => self.on_cwd(Some(b"..")),
            Command::Pwd => self.on_pwd(),
            Command::Rnfr(path) => self.on_rnfr(path),
            Command::Rnto(path) => self.on_rnto(path, rename_from),
            Command::Dele(path) => self.on_dele(path),
            Command::Rmd(path) => self.on_rmd(path),
            Command::Mkd(path) => self.on_mkd(path),
            Command::Mlst(path) => self.on_mlst(path),
            Command::Size(path) => self.on_size(path),
            Command::Mdtm(path) => self.on_mdtm(path),
            Command::Mfmt(time, path) => self.on_set_time(time, path),
            Command::Mfct(..) => self.reply(say::CREATION_TIME_NOT_OFFERED),
            Command::Hash(path) => self.on_hash(path),
            Command::Checksum(algorithm, argument) => self.on_checksum(algorithm, &argument),
            Command::Site(site) => self.on_site(site),
            Command::Smnt(_) => self.reply(say::MOUNT_NOT_OFFERED),

            Command::Syst => self.reply(say::SYSTEM),
            Command::Stat(argument) => self.on_stat(argument),
            Command::Help(topic) => self.on_help(topic),
            Command::Noop => self.reply(say::NOOP_OKAY),
            Command::Feat => self.on_feat(),
            Command::Opts(options) => self.on_opts(options),
            Command::Lang(tag) => self.on_lang(tag),
            Command::Clnt(_) => self.reply(say::CLIENT_NOTED),
            Command::NotOffered(verb) => {
                self.reply(Reply::new(say::NOT_IMPLEMENTED, format!("{} is not offered.", verb.as_str())));
            }
        }
    }

    /// RFC 959 lets these be said while a transfer runs. Whoever is not logged in can say anything: it is refused, and
    /// cannot meet the transfer.
    fn is_answered_during_transfer(&self, command: &Result<Command<'_>, ParseError>) -> bool {
        if self.data.is_opening() {
            // The transfer's own first reply comes first: a client that pipelines would take another for it.
            return false;
        }
        match command {
            Ok(Command::Stat(argument)) => argument.path.is_none(),
            Ok(
                Command::Noop
                | Command::Quit
                | Command::User(_)
                | Command::Pass(_)
                | Command::Acct(_)
                | Command::Rein,
            ) => true,
            Ok(command) => !self.is_logged_in() && !is_open_to_strangers(command),
            Err(_) => !self.is_logged_in(),
        }
    }

    fn on_quit(&mut self) {
        self.reply(say::GOODBYE);
        if self.data.is_transferring() {
            // "If file transfer is in progress, the connection will remain open for result response" (RFC 959 section 4.1.1).
            self.quitting = true;
        } else {
            self.close();
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.held = VecDeque::new();
        self.held_bytes = 0;
        self.actions.push_back(Action::Close);
    }

    fn reply(&mut self, reply: Reply) {
        self.actions.push_back(Action::Reply { reply, to: self.answered_verb });
    }

    fn refuse_line_too_long(&mut self) {
        self.answered_verb = Some(VerbNumber::OTHER);
        self.reply(say::LINE_TOO_LONG);
    }

    /// Asks the outside something that the next line must wait for.
    fn ask(&mut self, waiting: Waiting, action: Action) {
        self.waiting = waiting;
        self.waiting_verb = self.answered_verb;
        self.actions.push_back(action);
    }

    /// What was asked is answered: the replies that come now are to the command that needed it.
    fn stop_waiting(&mut self) {
        self.waiting = Waiting::Nobody;
        self.answered_verb = self.waiting_verb;
    }

    /// Whether the account has the right; otherwise the reply says that it has not.
    fn may(&mut self, right: Rights) -> bool {
        let may = self.rights.contains(right);
        if !may {
            self.reply(say::PERMISSION_DENIED);
        }
        may
    }

    /// The path that an argument means; `None` after the reply that says why it means none.
    fn path(&mut self, argument: &[u8]) -> Option<VirtualPath> {
        match self.working_directory.join(argument) {
            Ok(path) => Some(path),
            Err(PathError::TooLong) => {
                self.reply(say::PATH_TOO_LONG);
                None
            }
            Err(PathError::ZeroByte) => {
                self.reply(say::PATH_HAS_ZERO);
                None
            }
        }
    }
}

/// The greeting: a line, or as many as the banner has.
fn greeting(banner: &str) -> Reply {
    let mut lines = banner.lines();
    let first = lines.next().unwrap_or_default();
    let mut body: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
    match body.pop() {
        None => Reply::new(say::GREETING, first),
        Some(last) => Reply::lines(say::GREETING, first, body, last),
    }
}

/// Commands that need no login.
fn is_open_to_strangers(command: &Command<'_>) -> bool {
    match command {
        Command::Stat(argument) => argument.path.is_none(),
        Command::User(_)
        | Command::Pass(_)
        | Command::Quit
        | Command::Host(_)
        | Command::Syst
        | Command::Help(_)
        | Command::Noop
        | Command::Feat
        | Command::Lang(_)
        | Command::Clnt(_)
        | Command::Site(command::Site::Help | command::Site::Unknown)
        | Command::Opts(command::Opts::Utf8On | command::Opts::Utf8Off)
        | Command::NotOffered(_) => true,
        _ => false,
    }
}

/// Verbs whose argument errors are told without a login: those of [`is_open_to_strangers`].
fn is_verb_open_to_strangers(verb: Verb) -> bool {
    matches!(
        verb.as_str(),
        "USER" | "PASS" | "QUIT" | "HOST" | "SYST" | "HELP" | "NOOP" | "FEAT" | "LANG" | "CLNT" | "STAT"
    )
}

fn argument_error(verb: Verb, usage: &'static str) -> Reply {
    let is_malformed = usage.starts_with("Syntax: ");
    let told = say::MALFORMED.into_iter().find(|(malformed, _)| is_malformed && *malformed == verb.as_str());
    told.map_or_else(|| Reply::fixed(say::SYNTAX_ERROR_IN_ARGUMENTS, usage), |(_, reply)| reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Code;

    #[test]
    fn what_was_held_is_answered_as_it_is_taken_up() {
        const LINES: usize = 400;
        let settings = Arc::new(SessionSettings::default());
        let mut session = Session::new(settings, SocketAddr::from(([192, 0, 2, 1], 1)));
        session.handle_line(b"USER anonymous");
        session.handle_line(b"PASS x");
        for _ in 0..LINES {
            session.handle_line(b"PWD");
        }
        while session.poll_action().is_some() {}
        session.handle_login(LoginVerdict::Accepted(Rights::READER));
        let mut answers = 0;
        while let Some(action) = session.poll_action() {
            assert!(session.actions.len() <= ACTIONS_WAITING_MAX);
            answers +=
                usize::from(matches!(action, Action::Reply { reply, .. } if reply.code() == Code::new(257)));
        }
        assert_eq!(answers, LINES);
        assert!(session.held.is_empty() && session.held.capacity() == 0);
    }
}
