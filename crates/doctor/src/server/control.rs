//! The control connection, from the client's end.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocol::command::Command;
use protocol::reply::{ReceivedReply, ReplyDecoder, ReplyError};
use thiserror::Error;

/// Bounds that no honest server passes.
const LINE_BYTES_MAX: usize = 4096;
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// What is shown of a reply.
const SHOWN_CHARACTERS_MAX: usize = 160;

/// A reply, safe to print: control characters, with which a server could write to the user's terminal, are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: u16,
    /// The text without code, at least one line.
    pub(super) lines: Vec<String>,
    /// As it came, to be parsed.
    pub(super) text: Vec<u8>,
}

impl Answer {
    fn new(reply: &ReceivedReply<'_>) -> Self {
        let lines = reply.lines().map(printable).collect();
        Self { code: reply.code.number(), lines, text: reply.text.to_vec() }
    }

    pub(super) fn is_preliminary(&self) -> bool {
        self.code / 100 == 1
    }

    pub(super) fn is_success(&self) -> bool {
        self.code / 100 == 2
    }
}

fn printable(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// The code and the first line, in quotes.
impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.lines.first().map_or("", String::as_str);
        let shown: String = line.chars().take(SHOWN_CHARACTERS_MAX).collect();
        let more = if shown.len() < line.len() || self.lines.len() > 1 { "..." } else { "" };
        write!(formatter, "\"{} {shown}{more}\"", self.code)
    }
}

/// Why there is no reply.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error("the server closed the control connection")]
    Closed,
    #[error("the server did not answer in time")]
    Silent,
    #[error("what the server answers is no FTP: {0}")]
    Garbled(#[from] ReplyError),
    #[error("the control connection failed: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// A control connection. Each wait is bounded.
#[derive(Debug)]
pub(super) struct Control {
    stream: TcpStream,
    decoder: ReplyDecoder,
    /// What was received and not decoded yet.
    received: Vec<u8>,
    timeout: Duration,
    /// This end, as it sees itself: a translator may show the server another.
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
}

impl Control {
    pub(super) fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self {
            decoder: ReplyDecoder::new(LINE_BYTES_MAX, REPLY_BYTES_MAX),
            received: Vec::new(),
            timeout,
            local: stream.local_addr()?,
            peer: address,
            stream,
        })
    }

    /// The first reply; 120 only announces it (RFC 959 section 5.4).
    pub(super) fn greeting(&mut self) -> Result<Answer, Lost> {
        loop {
            let answer = self.answer()?;
            if !answer.is_preliminary() {
                return Ok(answer);
            }
        }
    }

    /// Sends a command and waits for its first reply.
    pub(super) fn command(&mut self, command: &Command<'_>) -> Result<Answer, Lost> {
        let mut line = Vec::new();
        command.encode(&mut line);
        self.stream.write_all(&line)?;
        self.answer()
    }

    /// The next reply.
    pub(super) fn answer(&mut self) -> Result<Answer, Lost> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let mut input = self.received.as_slice();
            let answer = self.decoder.next(&mut input)?.map(|reply| Answer::new(&reply));
            let decoded = self.received.len() - input.len();
            self.received.drain(..decoded);
            if let Some(answer) = answer {
                return Ok(answer);
            }
            let mut buffer = [0; 2048];
            match read_until(&mut self.stream, &mut buffer, deadline)? {
                0 => return Err(Lost::Closed),
                length => self.received.extend_from_slice(&buffer[..length]),
            }
        }
    }
}

/// Reads what is there, or waits for it until `deadline`.
pub(super) fn read_until(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    stream.read(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::reply::Code;

    #[test]
    fn a_reply_cannot_write_to_the_terminal() {
        let code = Code::new(220);
        let answer = Answer::new(&ReceivedReply { code, text: b"hello \x1b[2J\nmore" });
        assert_eq!(answer.to_string(), "\"220 hello ?[2J...\"");
        let long = Answer::new(&ReceivedReply { code, text: &[b'x'; 1000] });
        assert!(long.to_string().len() < 200);
    }
}
