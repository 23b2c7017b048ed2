//! One client's control connection.
//!
//! Two threads: one takes commands to the server, the other replies to the client. What they share is under one lock: which
//! replies are due, the way to the client, and the data connections.

use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use protocol::command::{Command, Epsv, parse_extended_passive_reply, parse_passive_reply};
use protocol::reply::{Code, ReceivedReply, Reply, ReplyDecoder};
use socket2::SockRef;

use crate::complaints::Moment;
use crate::data::DataChannel;
use crate::dialogue::{Dialogue, Expected, TooManyCommands};
use crate::error::TunnelError;
use crate::forwarding::{LocalForwarding, RemoteForwarding};
use crate::lines::{Lines, Part};
use crate::options::{PassiveTarget, TunnelOptions};
use crate::relay;
use crate::request::{Request, active_command};
use crate::ssh::Ssh;

/// A longer line is passed on in parts, and not read as a command; as a reply it ends the session.
const LINE_BYTES_MAX: u32 = 64 * 1024;

/// The bound of a reply's text: `STAT` lists whole directories.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many data connections a session may have at a time: one, and those before it that are being put away.
const DATA_CHANNELS_MAX: usize = 8;

/// How long the reply that begins a transfer waits for an active data connection on its way through the tunnel.
const DATA_CONNECTION_PATIENCE: Duration = Duration::from_secs(5);

/// How long the server may be silent after the client has ended its side.
const FAREWELL: Duration = Duration::from_secs(60);

/// How long `ssh` may take to say why it has ended a connection.
const REASON_PATIENCE: Duration = Duration::from_secs(1);

/// A session. It lasts until the server has ended the control connection, or either side has failed.
pub(crate) struct Session {
    number: u64,
    options: Arc<TunnelOptions>,
    ssh: Arc<Ssh>,
    client: TcpStream,
    server: UnixStream,
    /// The client's address, and the one that it reached.
    client_ip: IpAddr,
    local_ip: IpAddr,
    /// Before `ssh` could have said anything of this session.
    begun: Moment,
    state: Mutex<State>,
    replies_ended: Condvar,
}

struct State {
    dialogue: Dialogue<Arc<DataChannel>>,
    /// What the next transfer will use.
    current: Option<Arc<DataChannel>>,
    channels: Vec<Arc<DataChannel>>,
    channels_begun: u64,
    have_replies_ended: bool,
    is_aborted: bool,
}

/// What becomes of a reply of the server.
enum Verdict {
    Pass,
    Replace(Reply),
}

impl Session {
    /// A session of `client`, whose control connection goes by `control`. `number` is not that of any other session.
    pub(crate) fn new(
        number: u64,
        options: &Arc<TunnelOptions>,
        control: &LocalForwarding,
        ssh: &Arc<Ssh>,
        client: TcpStream,
    ) -> io::Result<Self> {
        // An ABOR that comes as urgent data belongs where it was sent, and not out of the stream.
        SockRef::from(&client).set_out_of_band_inline(true)?;
        client.set_nodelay(true)?;
        relay::keep_watch_over(&client)?;
        let client_ip = client.peer_addr()?.ip().to_canonical();
        let local_ip = client.local_addr()?.ip().to_canonical();
        let state = Mutex::new(State {
            dialogue: Dialogue::new(),
            current: None,
            channels: Vec::new(),
            channels_begun: 0,
            have_replies_ended: false,
            is_aborted: false,
        });
        let begun = ssh.complaints().now();
        let (options, ssh, server) = (Arc::clone(options), Arc::clone(ssh), control.connect()?);
        Ok(Self {
            number,
            options,
            ssh,
            client,
            server,
            client_ip,
            local_ip,
            begun,
            state,
            replies_ended: Condvar::new(),
        })
    }

    /// Serves the session to its end.
    pub(crate) fn run(&self) {
        let ended_well = thread::scope(|scope| {
            let commands = thread::Builder::new().spawn_scoped(scope, || self.carry_commands());
            let ended = commands.and_then(|_| self.carry_replies());
            self.state().have_replies_ended = true;
            self.replies_ended.notify_all();
            // Frees the other thread from its wait for the client.
            self.hang_up();
            ended.inspect_err(|error| tracing::info!(session = self.number, "ended early: {error}")).is_ok()
        });
        let (channels, is_aborted) = {
            let state = self.state();
            (state.channels.clone(), state.is_aborted)
        };
        for channel in &channels {
            // A server that says goodbye has finished its transfers, though their data may still be on its way.
            if ended_well && !is_aborted {
                channel.cancel();
            } else {
                channel.abort();
            }
        }
        for channel in channels {
            channel.join();
        }
    }

    /// Ends the session, whatever it does.
    pub(crate) fn abort(&self) {
        self.hang_up();
        let mut state = self.state();
        state.is_aborted = true;
        for channel in &state.channels {
            channel.abort();
        }
    }

    fn hang_up(&self) {
        // Either fails only where the other side has ended everything already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// From the client to the server.
    fn carry_commands(&self) {
        if let Err(error) = self.carry_command_lines() {
            tracing::debug!(session = self.number, "the client's side failed: {error}");
            return self.hang_up();
        }
        // A client that has gone, or has said all that it has to say. The server answers what was said, and ends its side.
        let _ = self.server.shutdown(Shutdown::Write);
        let mut state = self.state();
        loop {
            let waited =
                self.replies_ended.wait_timeout_while(state, FAREWELL, |state| !state.have_replies_ended);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.have_replies_ended || !state.channels.iter().any(|channel| channel.is_moving()) {
                return self.hang_up();
            }
        }
    }

    fn carry_command_lines(&self) -> io::Result<()> {
        let mut lines = Lines::new(&self.client, LINE_BYTES_MAX.into());
        while let Some(part) = lines.next()? {
            match part {
                Part::Line(line) => self.carry_command(line)?,
                Part::Begin(bytes) => {
                    self.expect(Expected::Other)?;
                    (&self.server).write_all(bytes)?;
                }
                Part::Rest(bytes) => (&self.server).write_all(bytes)?,
            }
        }
        Ok(())
    }

    fn carry_command(&self, line: &[u8]) -> io::Result<()> {
        let (expected, line) = match Request::read(line, self.client_ip, self.local_ip) {
            Request::Other => (Expected::Other, line.to_vec()),
            Request::Transfer => (Expected::Transfer, line.to_vec()),
            Request::Pasv => (Expected::Pasv, line.to_vec()),
            Request::Epsv => {
                let mut line = Vec::new();
                Command::Epsv(Epsv::SameFamily).encode(&mut line);
                (Expected::Epsv, line)
            }
            Request::Active { address, extended } => match self.open_active(address) {
                Ok((channel, open)) => (Expected::Active(channel), active_command(open, extended)),
                Err(refusal) => return self.answer(refusal),
            },
            Request::Refuse(refusal) => return self.answer(refusal),
        };
        // First, lest the reply be faster.
        self.expect(expected)?;
        (&self.server).write_all(&line)
    }

    fn expect(&self, expected: Expected<Arc<DataChannel>>) -> io::Result<()> {
        self.state().dialogue.expect(expected).map_err(|TooManyCommands| {
            io::Error::other("the client sends commands without waiting for any of their replies")
        })
    }

    /// Gives the client a reply of the tunnel's own, once its turn has come.
    fn answer(&self, reply: Reply) -> io::Result<()> {
        self.expect(Expected::Own(reply))?;
        self.send_own(&mut self.state())
    }

    fn send_own(&self, state: &mut State) -> io::Result<()> {
        while let Some(reply) = state.dialogue.poll_own() {
            self.send(&reply)?;
        }
        Ok(())
    }

    /// Only with the lock held, or where nobody else sends.
    fn send(&self, reply: &Reply) -> io::Result<()> {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        (&self.client).write_all(&bytes)
    }

    /// From the server to the client.
    fn carry_replies(&self) -> io::Result<()> {
        let mut decoder = ReplyDecoder::new(LINE_BYTES_MAX as usize, REPLY_BYTES_MAX);
        let mut lines = Lines::new(&self.server, LINE_BYTES_MAX.into());
        let mut held = Vec::new();
        let (mut is_first_line, mut has_greeted, mut has_said_goodbye) = (true, false, false);
        while let Some(part) = lines.next()? {
            let bytes = part.bytes();
            let decoded = decoder.next(&mut &*bytes).map_err(|error| {
                let _ = self.say_goodbye(&format!("The FTP server cannot be followed: {error}."));
                io::Error::other(error)
            })?;
            if is_first_line && is_held(bytes) || !held.is_empty() {
                held.extend_from_slice(bytes);
            } else {
                let _state = self.state();
                (&self.client).write_all(bytes)?;
            }
            is_first_line = decoded.is_some();
            if let Some(reply) = decoded {
                has_greeted = true;
                has_said_goodbye |= matches!(reply.code.number(), 221 | 421);
                self.finish_reply(reply, &mut held)?;
            }
        }
        match (has_greeted, has_said_goodbye) {
            (_, true) => Ok(()),
            (true, false) => self.say_what_was_lost(),
            (false, false) => self.say_what_was_not_reached(),
        }
    }

    /// A reply is whole. `held` is what of it the client has not got.
    fn finish_reply(&self, reply: ReceivedReply<'_>, held: &mut Vec<u8>) -> io::Result<()> {
        if reply.code.class() == 1 {
            self.wait_for_data_connection();
        }
        let answered = self.state().dialogue.answer(reply.code);
        let verdict = self.judge(answered, reply);
        let mut state = self.state();
        match verdict {
            Verdict::Replace(replacement) if !held.is_empty() => self.send(&replacement)?,
            Verdict::Replace(_) | Verdict::Pass => (&self.client).write_all(held)?,
        }
        held.clear();
        self.send_own(&mut state)
    }

    /// A server that says 150 has connected, or is about to. Without a tunnel its connection would be there before its reply,
    /// and there are clients that rely on it: curl 7.88 fails where an active data connection comes later.
    fn wait_for_data_connection(&self) {
        let current = self.state().current.clone();
        if let Some(channel) = current {
            channel.wait_until_server_arrived(DATA_CONNECTION_PATIENCE);
        }
    }

    fn judge(&self, answered: Option<Expected<Arc<DataChannel>>>, reply: ReceivedReply<'_>) -> Verdict {
        match (answered, reply.code.number()) {
            (Some(Expected::Pasv), 227) => match parse_passive_reply(reply.text) {
                Some(named) => {
                    let host = match self.options.passive_target {
                        PassiveTarget::Named if !named.ip().is_unspecified() => named.ip().to_string(),
                        PassiveTarget::Named | PassiveTarget::Server => self.options.server.host().to_owned(),
                    };
                    Verdict::Replace(self.open_passive(&host, named.port(), passive_reply))
                }
                None => Verdict::Replace(no_data_connection("the server's reply names no address")),
            },
            (Some(Expected::Epsv), 229) => match parse_extended_passive_reply(reply.text) {
                Some(port) => Verdict::Replace(self.open_passive(
                    self.options.server.host(),
                    port,
                    extended_passive_reply,
                )),
                None => Verdict::Replace(no_data_connection("the server's reply names no port")),
            },
            (Some(Expected::Active(channel)), _) => {
                if reply.code.class() == 2 {
                    self.use_next(channel);
                } else {
                    channel.cancel();
                }
                Verdict::Pass
            }
            (Some(Expected::Transfer), code) => self.end_transfer(code),
            _ => Verdict::Pass,
        }
    }

    /// A transfer is over, or never came about. What a 5xx refuses is the command: the server may still keep what was set up.
    fn end_transfer(&self, code: u16) -> Verdict {
        if code >= 500 {
            return Verdict::Pass;
        }
        let Some(channel) = self.state().current.take() else { return Verdict::Pass };
        channel.cancel();
        match channel.failure(self.ssh.complaints()) {
            Some(reason) if code == 425 => Verdict::Replace(no_data_connection(&reason)),
            _ => Verdict::Pass,
        }
    }

    /// Takes the place of whatever was set up before.
    fn use_next(&self, channel: Arc<DataChannel>) {
        if let Some(before) = self.state().current.replace(channel) {
            before.cancel();
        }
    }

    fn open_passive(&self, host: &str, port: u16, reply: fn(SocketAddr) -> Reply) -> Reply {
        let opened = self.begin_channel().and_then(|name| {
            let forwarding = LocalForwarding::ask(&self.ssh, &name, host, port)?;
            DataChannel::passive(forwarding, self.local_ip, self.client_ip)
        });
        match opened {
            Ok((channel, port)) => {
                self.use_next(self.keep(channel));
                reply(SocketAddr::new(self.local_ip, port))
            }
            Err(error) => self.refuse_channel(&error),
        }
    }

    /// Gives the address that the server is to connect to.
    fn open_active(&self, client: SocketAddr) -> Result<(Arc<DataChannel>, SocketAddr), Reply> {
        let Some(address) = self.options.active_address() else {
            let text = "the tunnel does not know the SSH host's address as the server sees it (ssh-address)";
            return Err(no_data_connection(text));
        };
        let opened = self.begin_channel().and_then(|name| {
            let forwarding = RemoteForwarding::ask(&self.ssh, &name, address)?;
            let port = forwarding.port();
            Ok((DataChannel::active(forwarding, client)?, port))
        });
        match opened {
            Ok((channel, port)) => Ok((self.keep(channel), SocketAddr::new(address, port))),
            Err(error) => Err(self.refuse_channel(&error)),
        }
    }

    /// A name for a socket of the next data connection.
    fn begin_channel(&self) -> Result<String, TunnelError> {
        let mut state = self.state();
        state.channels.retain(|channel| !channel.is_over());
        if state.channels.len() >= DATA_CHANNELS_MAX {
            return Err(TunnelError::Refused(String::from(
                "too many data connections of this session at a time",
            )));
        }
        state.channels_begun += 1;
        Ok(format!("{}.{}", self.number, state.channels_begun))
    }

    fn keep(&self, channel: DataChannel) -> Arc<DataChannel> {
        let channel = Arc::new(channel);
        self.state().channels.push(Arc::clone(&channel));
        channel
    }

    fn refuse_channel(&self, error: &TunnelError) -> Reply {
        tracing::warn!(session = self.number, "no data connection: {error}");
        no_data_connection(&error.to_string())
    }

    /// The server's side has ended without a goodbye.
    fn say_what_was_lost(&self) -> io::Result<()> {
        match self.ssh.lost(REASON_PATIENCE) {
            Some(lost) => self.say_goodbye(&lost.to_string()),
            None => Ok(()),
        }
    }

    /// The server's side has ended without a word.
    fn say_what_was_not_reached(&self) -> io::Result<()> {
        let reason = self.ssh.complaints().open_failure_since(self.begun, REASON_PATIENCE);
        let reason = reason.unwrap_or_else(|| String::from("the connection was closed without a word"));
        self.say_goodbye(&format!(
            "{} cannot be reached through {}: {reason}.",
            self.options.server,
            self.ssh.host()
        ))
    }

    fn say_goodbye(&self, reason: &str) -> io::Result<()> {
        self.send(&farewell(reason))?;
        Err(io::Error::other(reason.to_owned()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a reply that begins so may have to be replaced, or to wait.
fn is_held(line: &[u8]) -> bool {
    [&b"1"[..], b"227", b"229", b"425"].iter().any(|code| line.starts_with(code))
}

fn passive_reply(address: SocketAddr) -> Reply {
    let IpAddr::V4(ip) = address.ip() else {
        return no_data_connection("PASV can name IPv4 addresses only");
    };
    let [a, b, c, d] = ip.octets();
    let [high, low] = address.port().to_be_bytes();
    Reply::new(Code::new(227), format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low})."))
}

fn extended_passive_reply(address: SocketAddr) -> Reply {
    Reply::new(Code::new(229), format!("Entering Extended Passive Mode (|||{}|)", address.port()))
}

fn no_data_connection(reason: &str) -> Reply {
    Reply::new(Code::new(425), format!("Can't open data connection through the tunnel: {reason}."))
}

/// The last reply of a session that cannot go on.
pub(crate) fn farewell(reason: &str) -> Reply {
    Reply::new(Code::new(421), reason)
}
