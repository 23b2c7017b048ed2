//! A control connection, spoken by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tunnel::Tunnel;

use super::PATIENCE;
use super::lab::Lab;

/// A client without any wit.
pub(crate) struct Control {
    reader: BufReader<TcpStream>,
}

impl Control {
    /// Connects to the tunnel, and takes the greeting.
    #[track_caller]
    pub(crate) fn open(lab: &Lab, tunnel: &Tunnel) -> (Self, String) {
        let mut control = Self { reader: BufReader::new(connect(lab, tunnel.address())) };
        let greeting = control.reply();
        (control, greeting)
    }

    /// Connects and logs in.
    #[track_caller]
    pub(crate) fn log_in(lab: &Lab, tunnel: &Tunnel) -> Self {
        let (mut control, greeting) = Self::open(lab, tunnel);
        assert!(greeting.starts_with("220"), "{greeting}");
        control.expect("USER anonymous", "331");
        control.expect("PASS x", "230");
        control.expect("TYPE I", "200");
        control
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("sent");
    }

    /// Sends a command, and checks how its reply begins.
    #[track_caller]
    pub(crate) fn expect(&mut self, command: &str, code: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.expect_reply(code)
    }

    #[track_caller]
    pub(crate) fn expect_reply(&mut self, code: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(code), "expected {code}, got {reply:?}");
        reply
    }

    /// A whole reply, as it came. Nothing, where the connection has ended.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let count = self.reader.read_line(&mut reply).expect("a line");
            let line = &reply[start..];
            let is_last =
                line.len() > 3 && line.as_bytes()[3] == b' ' && line[..3].bytes().all(|b| b.is_ascii_digit());
            if count == 0 || is_last {
                return reply;
            }
        }
    }

    /// What is left when the other side ends.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Asks by `PASV`, and connects.
    #[track_caller]
    pub(crate) fn passive(&mut self, lab: &Lab) -> TcpStream {
        let reply = self.expect("PASV", "227");
        connect(lab, passive_address(&reply))
    }
}

/// The address in a 227 reply.
#[track_caller]
pub(crate) fn passive_address(reply: &str) -> SocketAddr {
    let text = reply.strip_prefix("227 ").expect("a reply to PASV");
    protocol::command::parse_passive_reply(text.as_bytes()).expect("an address").into()
}

/// Connects from the client's machine.
#[track_caller]
pub(crate) fn connect(lab: &Lab, address: SocketAddr) -> TcpStream {
    let stream = lab.client.enter(|| TcpStream::connect(address)).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}
