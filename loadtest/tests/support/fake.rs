//! A small FTP server with faults that can be chosen.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// More is not kept of what is stored.
const KEPT_BYTES_MAX: u64 = 1024 * 1024;

/// What is wrong with a server.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Everybody who says `NOOP` from this one on waits that long, once: the whole server stalls.
    pub(crate) stall_at_noop: Option<(u64, Duration)>,
    /// Every `NOOP` takes the whole server that long.
    pub(crate) noop_takes: Duration,
    /// Every `NOOP` takes its session that long.
    pub(crate) noop_takes_each: Duration,
    /// All connections but the first are refused, and every tenth after it.
    pub(crate) refuses_most: bool,
    /// Nobody is answered any more from this `NOOP` on.
    pub(crate) silent_from_noop: Option<u64>,
    /// The answer to `NOOP`, if it is not 200.
    pub(crate) noop: Option<&'static str>,
    /// Only the first is answered so.
    pub(crate) only_first_noop: bool,
    /// Every file after so many has other bytes.
    pub(crate) other_bytes_after: Option<u64>,
    /// Files are so many times as long; the other bytes are then at the end.
    pub(crate) longer: usize,
    /// No directory is listed.
    pub(crate) lists_nothing: bool,
    /// Directories are listed as if they were empty.
    pub(crate) hides_files: bool,
    /// An upload changes only the beginning of a file that is there.
    pub(crate) keeps_tails: bool,
    /// Every `STOR` is refused from this one on.
    pub(crate) refuses_to_store_from: Option<u64>,
    /// Whoever fetches then what was stored is hung up on.
    pub(crate) hangs_up_once_it_refuses: bool,
    /// After so many good ones, the data connection of every transfer is reset in the middle, and this is the reply.
    pub(crate) breaks: Option<(u64, &'static str)>,
    /// Nothing is stored in the place of what is there.
    pub(crate) overwrites_nothing: bool,
    /// Nobody gets what was stored.
    pub(crate) sends_nothing_stored: bool,
    /// The answer to `EPSV` and `EPRT`, where the server does not know them.
    pub(crate) extended: Option<&'static str>,
    /// It listens for no data connection.
    pub(crate) only_active: bool,
    /// Nothing is deleted.
    pub(crate) deletes_nothing: bool,
    /// To fetch what was stored takes that long.
    pub(crate) fetching_stored_takes: Duration,
    /// What comes of every file and listing, from which one on.
    pub(crate) then: Then,
    /// So many come as they should before that.
    pub(crate) good_ones: u64,
    /// It says before its greeting that it will be ready.
    pub(crate) will_be_ready: bool,
    /// It hangs up on an `OPTS`.
    pub(crate) hangs_up_on_opts: bool,
    /// Replies to a `NOOP` that nobody asked for.
    pub(crate) surplus_replies: usize,
    /// One, to the first `NOOP`.
    pub(crate) surplus_reply_to_first: bool,
    /// Data connections to the client come from this address, but for that of the first file.
    pub(crate) connects_from: Option<Ipv4Addr>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    #[default]
    TheFile,
    /// A byte now and then, without end.
    ATrickle,
    /// The file over and over, without end.
    AFlood,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    noops: AtomicU64,
    connections: AtomicU64,
    uploads: AtomicU64,
    sent: AtomicU64,
    /// The beginnings of what was stored.
    stored: Mutex<BTreeMap<String, Vec<u8>>>,
    whole_server: Mutex<()>,
}

impl State {
    fn has(&self, name: &str) -> bool {
        self.stored.lock().unwrap().contains_key(name)
    }

    fn refuses_to_store(&self) -> bool {
        let number = self.uploads.load(Ordering::Relaxed);
        self.faults.refuses_to_store_from.is_some_and(|from| number >= from)
    }

    fn breaks(&self) -> bool {
        let number = self.uploads.load(Ordering::Relaxed) + self.sent.load(Ordering::Relaxed);
        self.faults.breaks.is_some_and(|(good, _)| number >= good)
    }
}

/// Starts one, for as long as the test lasts.
pub(crate) fn start(faults: Faults) -> SocketAddr {
    let state = Arc::new(State { faults, ..State::default() });
    super::server(move |connection| {
        // A client that goes ends its session.
        let _ = serve(&state, connection);
    })
}

enum Data {
    None,
    Passive(TcpListener),
    Active(SocketAddr),
}

impl Data {
    fn open(&mut self, from: Option<Ipv4Addr>) -> std::io::Result<TcpStream> {
        match std::mem::replace(self, Self::None) {
            Self::Passive(listener) => Ok(listener.accept()?.0),
            Self::Active(address) => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                if let Some(from) = from {
                    socket.bind(&SocketAddr::from((from, 0)).into())?;
                }
                socket.connect(&address.into())?;
                Ok(socket.into())
            }
            Self::None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }
}

fn serve(state: &State, connection: TcpStream) -> std::io::Result<()> {
    let mut replies = connection.try_clone()?;
    let mut say = |reply: &str| replies.write_all(format!("{reply}\r\n").as_bytes());
    let mut data = Data::None;
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    if state.faults.refuses_most && !number.is_multiple_of(10) {
        return say("421 Too many.");
    }
    if state.faults.will_be_ready {
        say("120 In a minute.")?;
    }
    say("220-Hello.\r\n220 Ready.")?;
    for line in BufReader::new(connection).lines() {
        let line = line?;
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "USER" => say("331 Password?")?,
            "PASS" => say("230 Welcome.")?,
            "TYPE" => say("200 As you like.")?,
            "NOOP" => {
                if let Some(reply) = noop(state) {
                    let is_first = state.noops.load(Ordering::Relaxed) == 1;
                    let one = usize::from(is_first && state.faults.surplus_reply_to_first);
                    say(reply)?;
                    (0..state.faults.surplus_replies + one).try_for_each(|_| say(reply))?;
                }
            }
            "EPSV" | "PASV" if state.faults.only_active => say("502 I do not listen.")?,
            "EPSV" | "EPRT" if state.faults.extended.is_some() => say(state.faults.extended.unwrap())?,
            "EPSV" | "PASV" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let port = listener.local_addr()?.port();
                data = Data::Passive(listener);
                match verb {
                    "EPSV" => say(&format!("229 Come in (|||{port}|)"))?,
                    _ => say(&format!("227 Come in (127,0,0,1,{},{})", port >> 8, port & 255))?,
                }
            }
            "PORT" => {
                let parts: Vec<u8> = argument.split(',').filter_map(|part| part.parse().ok()).collect();
                let [a, b, c, d, high, low] = parts[..] else { return say("501 Where?") };
                data = Data::Active(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))));
                say("200 I shall.")?;
            }
            "EPRT" => {
                let mut parts = argument.split('|').skip(2);
                let address = parts.next().zip(parts.next()).map(|(ip, port)| format!("{ip}:{port}"));
                data = Data::Active(address.unwrap_or_default().parse().map_err(std::io::Error::other)?);
                say("200 I shall.")?;
            }
            "OPTS" if state.faults.hangs_up_on_opts => return Ok(()),
            "DELE" if state.faults.deletes_nothing => say("550 It stays.")?,
            "DELE" => {
                let was_there = state.stored.lock().unwrap().remove(argument).is_some();
                say(if was_there { "250 It is gone." } else { "550 There is none." })?;
            }
            "RETR" if state.faults.hangs_up_once_it_refuses && state.refuses_to_store() => return Ok(()),
            "RETR" | "STOR" if state.breaks() => {
                say("150 Here it begins.")?;
                let mut connection = data.open(None)?;
                let some =
                    if verb == "RETR" { connection.write(b"what")? } else { connection.read(&mut [0; 4])? };
                assert!(some > 0, "the client is gone");
                socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
                drop(connection);
                // Not before the client has seen that.
                sleep(Duration::from_millis(20));
                say(state.faults.breaks.unwrap().1)?;
            }
            "RETR" if state.faults.sends_nothing_stored && state.has(argument) => say("550 It is kept.")?,
            "STOR" if state.faults.overwrites_nothing && state.has(argument) => say("553 It is there.")?,
            "RETR" if state.has(argument) => {
                say("150 Here it is.")?;
                sleep(state.faults.fetching_stored_takes);
                let bytes = state.stored.lock().unwrap()[argument].clone();
                data.open(None)?.write_all(&bytes)?;
                say("226 Done.")?;
            }
            "CWD" => say("250 You are there.")?,
            "NLST" if state.faults.lists_nothing => say("550 No files.")?,
            // It takes options for names.
            "NLST" if argument.starts_with('-') => say("550 There is no such directory.")?,
            "RETR" | "NLST" | "MLSD" => {
                say("150 Here it is.")?;
                let number = state.sent.fetch_add(1, Ordering::Relaxed);
                let is_other = state.faults.other_bytes_after.is_some_and(|right| number >= right);
                let bytes = match verb {
                    "NLST" if state.faults.hides_files => String::new(),
                    "NLST" => state.stored.lock().unwrap().keys().map(|name| format!("{name}\r\n")).collect(),
                    "MLSD" => "type=file; one\r\ntype=file; two\r\n".to_owned(),
                    _ if state.faults.longer > 0 => {
                        let end = if is_other { "!" } else { "." };
                        "what it always is".repeat(state.faults.longer) + end
                    }
                    _ if is_other => "not what it was".to_owned(),
                    // Long enough not to be through before it is noticed.
                    _ if state.faults.then == Then::ATrickle => "w".repeat(1000),
                    _ => "what it always is".to_owned(),
                };
                let mut connection = data.open(state.faults.connects_from.filter(|_| number > 0))?;
                let then = if number < state.faults.good_ones { Then::TheFile } else { state.faults.then };
                loop {
                    match then {
                        Then::TheFile => break connection.write_all(bytes.as_bytes())?,
                        Then::AFlood => connection.write_all(bytes.repeat(4096).as_bytes())?,
                        Then::ATrickle => {
                            connection.write_all(b"w")?;
                            sleep(Duration::from_millis(50));
                        }
                    }
                }
                drop(connection);
                say("226 Done.")?;
            }
            "STOR" => {
                if state.refuses_to_store() {
                    say("550 No more.")?;
                    continue;
                }
                state.uploads.fetch_add(1, Ordering::Relaxed);
                say("150 Go on.")?;
                // Whatever became of the connection, the file is published: that is the fault of this server.
                let (mut connection, mut kept) = (data.open(None)?, Vec::new());
                let _ = (&connection).take(KEPT_BYTES_MAX).read_to_end(&mut kept);
                let _ = std::io::copy(&mut connection, &mut std::io::sink());
                let mut stored = state.stored.lock().unwrap();
                if let Some(before) = stored.get(argument).filter(|_| state.faults.keeps_tails) {
                    kept.truncate(8);
                    kept.extend(before.iter().skip(8));
                }
                stored.insert(argument.to_owned(), kept);
                drop(stored);
                say("226 Stored.")?;
            }
            "QUIT" => return say("221 Bye."),
            _ => say("502 What?")?,
        }
    }
    Ok(())
}

fn noop(state: &State) -> Option<&'static str> {
    let number = state.noops.fetch_add(1, Ordering::Relaxed);
    let turn = state.whole_server.lock().unwrap();
    if let Some((at, pause)) = state.faults.stall_at_noop
        && number == at
    {
        sleep(pause);
    }
    sleep(state.faults.noop_takes);
    drop(turn);
    sleep(state.faults.noop_takes_each);
    let is_silent = state.faults.silent_from_noop.is_some_and(|from| number >= from);
    let other = state.faults.noop.filter(|_| number == 0 || !state.faults.only_first_noop);
    (!is_silent).then_some(other.unwrap_or("200 Done."))
}
