//! A client by hand: a test is a dialogue, and every byte of it is the test's own.
//!
//! It is stricter than any real client. A reply whose lines do not end with CRLF, or have a CR or LF inside, fails the
//! test; and so does a server that says nothing for [`PATIENCE`].
#![allow(dead_code)] // Each test binary uses its part.

pub(crate) mod file_system;
pub(crate) mod process;
pub(crate) mod reply;
pub(crate) mod waiting;

use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use reply::Reply;

/// How long an answer may take before the test fails. No good run comes near it, on a busy machine either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A control connection, held by the client's end.
pub(crate) struct Client {
    control: BufReader<TcpStream>,
    server: SocketAddr,
}

impl Client {
    /// Connects and hears the greeting.
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let mut client = Self::connect_only(server, None);
        client.hears(220);
        client
    }

    /// Connects and says nothing, hears nothing; from `source`, if one is given.
    pub(crate) fn connect_only(server: SocketAddr, source: Option<IpAddr>) -> Self {
        Self { control: BufReader::new(connect_from(source, server)), server }
    }

    /// Connects and logs in, and asks for `TYPE I`, as nearly every client does.
    pub(crate) fn log_in(server: SocketAddr) -> Self {
        Self::connect(server).logged_in()
    }

    /// The same from an address of this machine's choice.
    pub(crate) fn log_in_from(source: Ipv4Addr, server: SocketAddr) -> Self {
        let mut client = Self::connect_only(server, Some(source.into()));
        client.hears(220);
        client.logged_in()
    }

    fn logged_in(mut self) -> Self {
        self.says("USER anonymous", 331);
        self.says("PASS guest@", 230);
        self.says("TYPE I", 200);
        self
    }

    /// Sends a line and hears the reply to it, which must have this code.
    #[track_caller]
    pub(crate) fn says(&mut self, line: impl AsRef<[u8]>, code: u16) -> Reply {
        let line = line.as_ref();
        self.sends([line, b"\r\n"].concat());
        let reply = self.hears_any();
        assert_eq!(reply.code, code, "C: {}\nS: {reply}", line.escape_ascii());
        reply
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn sends(&mut self, bytes: impl AsRef<[u8]>) {
        self.control.get_mut().write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Hears a reply, which must have this code.
    #[track_caller]
    pub(crate) fn hears(&mut self, code: u16) -> Reply {
        let reply = self.hears_any();
        assert_eq!(reply.code, code, "S: {reply}");
        reply
    }

    /// Hears whatever the server says next.
    #[track_caller]
    pub(crate) fn hears_any(&mut self) -> Reply {
        self.hears_reply_or_end().expect("a reply, before the control connection ends")
    }

    /// Hears the next reply, or that the server has closed.
    #[track_caller]
    pub(crate) fn hears_reply_or_end(&mut self) -> Option<Reply> {
        Reply::read(&mut self.control)
    }

    /// Hears the end of the control connection, and nothing before it.
    #[track_caller]
    pub(crate) fn hears_the_end(&mut self) {
        if let Some(reply) = self.hears_reply_or_end() {
            panic!("S: {reply}, where the connection should end");
        }
    }

    /// Whether something has come that was not heard yet.
    pub(crate) fn has_answer(&mut self) -> bool {
        self.control.get_ref().set_nonblocking(true).expect("a socket option");
        let came = !self.control.buffer().is_empty() || self.control.get_ref().peek(&mut [0]).is_ok();
        self.control.get_ref().set_nonblocking(false).expect("a socket option");
        came
    }

    /// What the server says within `wait`, if it says anything.
    #[track_caller]
    pub(crate) fn hears_within(&mut self, wait: Duration) -> Option<Reply> {
        if self.control.buffer().is_empty() {
            self.control.get_ref().set_read_timeout(Some(wait)).expect("a socket option");
            let came = self.control.get_ref().peek(&mut [0]);
            self.control.get_ref().set_read_timeout(Some(PATIENCE)).expect("a socket option");
            came.ok()?;
        }
        Some(self.hears_any())
    }

    /// Asks for a passive data connection, by `PASV` or where that cannot be by `EPSV`.
    #[track_caller]
    pub(crate) fn leases(&mut self) -> SocketAddr {
        if self.server.is_ipv4() {
            self.says("PASV", 227).passive_address()
        } else {
            let port = self.says("EPSV", 229).extended_passive_port();
            SocketAddr::new(self.server.ip(), port)
        }
    }

    /// Connects to a passive port, from the address that the control connection comes from.
    #[track_caller]
    pub(crate) fn connects_to(&self, passive: SocketAddr) -> TcpStream {
        connect_from(Some(self.address()), passive)
    }

    /// Asks for a passive data connection and connects to it.
    #[track_caller]
    pub(crate) fn opens_data(&mut self) -> TcpStream {
        let passive = self.leases();
        self.connects_to(passive)
    }

    /// Does a whole `RETR`, `LIST`, `NLST` or `MLSD`, and returns what came.
    #[track_caller]
    pub(crate) fn fetches(&mut self, command: impl AsRef<[u8]>) -> Vec<u8> {
        let mut data = self.opens_data();
        self.says(command, 150);
        let received = read_all(&mut data);
        self.hears(226);
        received
    }

    /// Does a whole `STOR`, `APPE` or `STOU`.
    #[track_caller]
    pub(crate) fn stores(&mut self, command: impl AsRef<[u8]>, contents: &[u8]) {
        let mut data = self.opens_data();
        self.says(command, 150);
        data.write_all(contents).expect("the server takes the data");
        drop(data);
        self.hears(226);
    }

    /// A transfer that must be refused with this code, before any data connection is made.
    #[track_caller]
    pub(crate) fn is_refused(&mut self, command: impl AsRef<[u8]>, code: u16) -> Reply {
        self.leases();
        self.says(command, code)
    }

    /// Says `QUIT`, and hears the end.
    #[track_caller]
    pub(crate) fn quits(mut self) {
        self.says("QUIT", 221);
        self.hears_the_end();
    }

    /// Ends the connection as a machine does that lost its power and came back: by a reset.
    pub(crate) fn resets(self) {
        reset(self.control.into_inner());
    }

    /// Sends no more, and still listens.
    pub(crate) fn closes_its_side(&mut self) {
        self.control.get_ref().shutdown(Shutdown::Write).expect("a connection");
    }

    /// Sends bytes of which the last is urgent, as telnet's data mark is.
    pub(crate) fn sends_urgently(&mut self, bytes: &[u8]) {
        let sent = SockRef::from(self.control.get_ref()).send_out_of_band(bytes);
        assert_eq!(sent.expect("the server takes what is sent"), bytes.len());
    }

    /// The client's own address.
    pub(crate) fn address(&self) -> IpAddr {
        self.control.get_ref().local_addr().expect("a connection has an address").ip()
    }
}

/// Connects to `target`; from `source`, if one is given.
#[track_caller]
pub(crate) fn connect_from(source: Option<IpAddr>, target: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).expect("a socket");
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into()).expect("an address of this machine");
    }
    socket.connect(&target.into()).unwrap_or_else(|error| panic!("cannot connect to {target}: {error}"));
    socket.set_tcp_nodelay(true).expect("a socket option");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    socket.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    socket.into()
}

/// Reads to the end of a connection, which must not be a reset.
#[track_caller]
pub(crate) fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("data to its end");
    received
}

/// Waits until the server has closed its end, by whichever way, and returns how many bytes came before.
#[track_caller]
pub(crate) fn read_until_closed(stream: &mut TcpStream) -> u64 {
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(length) => bytes += length as u64,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("the data connection should be closed: {error}"),
        }
    }
}

/// Closes a connection by a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(stream);
}
