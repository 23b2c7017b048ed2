//! The roofline: what the kernel alone takes for the packets of an FTP server.
//!
//! A responder with canned replies, one thread, level-triggered epoll. It looks at a letter or two of a command to know
//! which packet comes next and checks nothing: not who logs in, not which file is meant, not who connects to a passive
//! port. It never allocates once it runs. A server that takes the same processor time per session costs nothing of its
//! own.
//!
//! It is good for sessions of `USER`, `PASS`, `TYPE`, `NOOP`, `EPSV`, `PASV`, `RETR` and `QUIT` on loopback, and only as
//! long as a client connects to the port that it was told: all data connections carry the same bytes, so it does not
//! matter which of them belongs to whom.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::Context as _;
use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};

const GREETING: &[u8] = b"220 ringftpd ready.\r\n";
const PASSWORD_NEEDED: &[u8] = b"331 Guest login; any password will do.\r\n";
const LOGGED_IN: &[u8] = b"230 Logged in.\r\n";
const TYPE_SET: &[u8] = b"200 Type set to: Binary.\r\n";
const NOTHING_DONE: &[u8] = b"200 I successfully did nothing.\r\n";
const OPENING: &[u8] = b"150 Opening BINARY mode data connection for 1k.bin (1024 bytes).\r\n";
const COMPLETE: &[u8] = b"226 Transfer complete.\r\n";
const GOODBYE: &[u8] = b"221 Goodbye.\r\n";
const UNKNOWN: &[u8] = b"500 Unknown command.\r\n";

/// Bytes received at a time. Replies to what one receive brought go out in one send.
const INPUT_BYTES: usize = 16 * 1024;
/// The longest reply to the shortest command, `NOOP\r\n`, bounds what one receive can lead to.
const OUTPUT_BYTES: usize = INPUT_BYTES / 6 * 64;
const EVENTS_MAX: usize = 512;

/// A responder with canned replies: the kernel's own cost of an FTP server's packets.
#[derive(Debug, Parser)]
#[command(name = "roofline")]
struct Options {
    /// Listen here for control connections.
    #[arg(default_value = "127.0.0.1:2121")]
    listen: SocketAddrV4,

    /// How many passive ports are bound; the kernel picks them.
    #[arg(long, default_value_t = 16)]
    passive_ports: usize,

    /// How many bytes a file has.
    #[arg(long, default_value_t = 1024)]
    file_bytes: usize,

    /// Send 150 and 226 in one packet, when the data is sent. Without this 150 goes before the data, as clients expect.
    #[arg(long)]
    replies_together: bool,

    /// Learn from epoll that a data connection has come, instead of finding it waiting when RETR comes.
    #[arg(long)]
    accept_when_ready: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut roofline = Roofline::new(&options).context("cannot listen")?;
    eprintln!("roofline: listening on {}", options.listen);
    roofline.run().context("the responder failed")
}

struct Roofline {
    epoll: Epoll,
    control: TcpListener,
    ports: Vec<PassivePort>,
    /// By descriptor.
    sessions: Vec<Option<Session>>,
    next_port: usize,
    payload: Vec<u8>,
    accept_when_ready: bool,
    replies_together: bool,
    output: Vec<u8>,
}

struct Session {
    stream: TcpStream,
    port: usize,
    waits_for_data: bool,
}

struct PassivePort {
    listener: TcpListener,
    extended_reply: Vec<u8>,
    reply: Vec<u8>,
    /// Data connections that came before their RETR.
    arrived: VecDeque<TcpStream>,
    /// Sessions whose RETR came before their data connection.
    waiting: VecDeque<RawFd>,
    /// epoll tells of data connections.
    watched: bool,
}

impl Roofline {
    fn new(options: &Options) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let control = listen(options.listen)?;
        watch(&epoll, &control)?;
        let ip = *options.listen.ip();
        let mut ports = (0..options.passive_ports.max(1))
            .map(|_| PassivePort::bind(ip))
            .collect::<io::Result<Vec<_>>>()?;
        if options.accept_when_ready {
            for port in &mut ports {
                port.watch(&epoll)?;
            }
        }
        Ok(Self {
            epoll,
            control,
            ports,
            sessions: Vec::with_capacity(64 * 1024),
            next_port: 0,
            payload: vec![b'x'; options.file_bytes],
            accept_when_ready: options.accept_when_ready,
            replies_together: options.replies_together,
            output: Vec::with_capacity(OUTPUT_BYTES),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let mut input = [0; INPUT_BYTES];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                let fd = RawFd::try_from(event.data()).map_err(io::Error::other)?;
                if fd == self.control.as_raw_fd() {
                    self.on_newcomer()?;
                } else if self.session(fd).is_some() {
                    self.on_readable(fd, &mut input)?;
                } else if let Some(port) = self.ports.iter().position(|port| port.listener.as_raw_fd() == fd)
                {
                    self.on_data_connection(port)?;
                }
            }
        }
    }

    fn session(&mut self, fd: RawFd) -> Option<&mut Session> {
        self.sessions.get_mut(usize::try_from(fd).ok()?)?.as_mut()
    }

    fn on_newcomer(&mut self) -> io::Result<()> {
        let Some(mut stream) = accept(&self.control)? else { return Ok(()) };
        watch(&self.epoll, &stream)?;
        let sent = stream.write(GREETING);
        let index = usize::try_from(stream.as_raw_fd()).map_err(io::Error::other)?;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        if sent.is_ok() {
            self.sessions[index] = Some(Session { stream, port: 0, waits_for_data: false });
        }
        Ok(())
    }

    fn on_readable(&mut self, fd: RawFd, input: &mut [u8; INPUT_BYTES]) -> io::Result<()> {
        let Some(session) = self.session(fd) else { return Ok(()) };
        let length = match session.stream.read(input) {
            Ok(0) | Err(_) => {
                self.close(fd);
                return Ok(());
            }
            Ok(length) => length,
        };
        let mut quits = false;
        self.output.clear();
        // A command that came in two pieces would be two commands: clients here send each in one.
        for line in input[..length].split_inclusive(|&byte| byte == b'\n') {
            match line {
                [b'U', ..] => self.output.extend_from_slice(PASSWORD_NEEDED),
                [b'P', _, _, b'V', ..] => self.lease(fd, |port| &port.reply),
                [b'P', ..] => self.output.extend_from_slice(LOGGED_IN),
                [b'E', ..] => self.lease(fd, |port| &port.extended_reply),
                [b'T', ..] => self.output.extend_from_slice(TYPE_SET),
                [b'N', ..] => self.output.extend_from_slice(NOTHING_DONE),
                [b'R', ..] => self.retrieve(fd)?,
                [b'Q', ..] => {
                    self.output.extend_from_slice(GOODBYE);
                    quits = true;
                }
                _ => self.output.extend_from_slice(UNKNOWN),
            }
        }
        self.flush(fd);
        if quits {
            self.close(fd);
        }
        Ok(())
    }

    fn lease(&mut self, fd: RawFd, reply: impl Fn(&PassivePort) -> &[u8]) {
        self.next_port = (self.next_port + 1) % self.ports.len();
        let port = self.next_port;
        if let Some(session) = self.session(fd) {
            session.port = port;
        }
        self.output.extend_from_slice(reply(&self.ports[port]));
    }

    fn retrieve(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(port) = self.session(fd).map(|session| session.port) else { return Ok(()) };
        let arrived = self.ports[port].arrived.pop_front();
        let stream = match arrived {
            None if !self.accept_when_ready => accept(&self.ports[port].listener)?,
            arrived => arrived,
        };
        match stream {
            Some(stream) => self.transfer(fd, stream),
            None => self.wait_for_data(fd, port)?,
        }
        Ok(())
    }

    /// Sends the file and its end, and leaves the last reply to be sent.
    fn transfer(&mut self, fd: RawFd, mut data: TcpStream) {
        self.output.extend_from_slice(OPENING);
        if !self.replies_together {
            self.flush(fd);
        }
        // A client that went away has nothing to be told.
        let _ = data.write_all(&self.payload);
        drop(data);
        self.output.extend_from_slice(COMPLETE);
    }

    fn wait_for_data(&mut self, fd: RawFd, port: usize) -> io::Result<()> {
        if let Some(session) = self.session(fd) {
            session.waits_for_data = true;
        }
        let port = &mut self.ports[port];
        port.waiting.push_back(fd);
        port.watch(&self.epoll)
    }

    fn on_data_connection(&mut self, port: usize) -> io::Result<()> {
        let Some(stream) = accept(&self.ports[port].listener)? else { return Ok(()) };
        let Some(fd) = self.ports[port].waiting.pop_front() else {
            self.ports[port].arrived.push_back(stream);
            return Ok(());
        };
        if let Some(session) = self.session(fd) {
            session.waits_for_data = false;
        }
        self.output.clear();
        self.transfer(fd, stream);
        self.flush(fd);
        self.unwatch_if_nobody_waits(port)
    }

    fn unwatch_if_nobody_waits(&mut self, port: usize) -> io::Result<()> {
        let port = &mut self.ports[port];
        if !self.accept_when_ready && port.waiting.is_empty() {
            self.epoll.delete(&port.listener)?;
            port.watched = false;
        }
        Ok(())
    }

    fn flush(&mut self, fd: RawFd) {
        let Some(session) = self.sessions.get_mut(usize::try_from(fd).unwrap_or(usize::MAX)) else { return };
        if let Some(session) = session
            && !self.output.is_empty()
        {
            // The next receive tells that the client is gone.
            let _ = session.stream.write_all(&self.output);
        }
        self.output.clear();
    }

    fn close(&mut self, fd: RawFd) {
        let Some(session) =
            self.sessions.get_mut(usize::try_from(fd).unwrap_or(usize::MAX)).and_then(Option::take)
        else {
            return;
        };
        if session.waits_for_data {
            self.ports[session.port].waiting.retain(|&waiting| waiting != fd);
            // It is watched for nobody now: harmless, what arrives is kept for the next.
        }
    }
}

impl PassivePort {
    fn bind(ip: Ipv4Addr) -> io::Result<Self> {
        let listener = listen(SocketAddrV4::new(ip, 0))?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(ErrorKind::Unsupported.into());
        };
        let [h1, h2, h3, h4] = ip.octets();
        let [p1, p2] = address.port().to_be_bytes();
        Ok(Self {
            listener,
            extended_reply: format!("229 Entering Extended Passive Mode (|||{}|)\r\n", address.port())
                .into_bytes(),
            reply: format!("227 Entering Passive Mode ({h1},{h2},{h3},{h4},{p1},{p2}).\r\n").into_bytes(),
            arrived: VecDeque::with_capacity(4096),
            waiting: VecDeque::with_capacity(4096),
            watched: false,
        })
    }

    fn watch(&mut self, epoll: &Epoll) -> io::Result<()> {
        if !self.watched {
            watch(epoll, &self.listener)?;
            self.watched = true;
        }
        Ok(())
    }
}

/// A listener whose connections send small packets at once, as they inherit it.
fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from(address).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn watch(epoll: &Epoll, socket: &(impl AsRawFd + std::os::fd::AsFd)) -> io::Result<()> {
    let fd = u64::try_from(socket.as_raw_fd()).map_err(io::Error::other)?;
    Ok(epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, fd))?)
}

/// One accept4(2). The connection stays blocking: it is only read when epoll says that there is something.
fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
