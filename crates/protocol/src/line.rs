//! Lines of a control connection: RFC 959 section 4.1.3 and the part of telnet (RFC 854) that FTP kept.
//!
//! [`LineSplitter`] takes bytes as they come from the network and gives [`Frame`]s. It is driven until it has
//! no more to give:
//!
//! ```
//! use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};
//!
//! let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
//! let mut input: &[u8] = b"USER anonymous\r\nPASS\r\nSY";
//! let mut lines = Vec::new();
//! while let Some(frame) = splitter.next(&mut input) {
//!     if let Frame::Line(line) = frame {
//!         lines.push(line.to_vec());
//!     }
//! }
//! assert_eq!(lines, [b"USER anonymous".to_vec(), b"PASS".to_vec()]);
//! assert_eq!(splitter.partial_bytes(), 2);
//! ```
//!
//! # What ends a line
//! LF, always, even inside a telnet sequence; one CR before it belongs to the end. So a line is found by one
//! search for LF, whatever is in it, and after nonsense the next line is read normally again.
//! The price is that telnet option 10 cannot be negotiated, which no client of FTP tries.
//!
//! # Telnet
//! Once the line is whole, sequences are taken out of it:
//!
//! | bytes | becomes |
//! | --- | --- |
//! | `IAC IAC` | the byte 255 |
//! | `IAC` `WILL`, `WONT`, `DO` or `DONT`, option | nothing |
//! | `IAC SB` ... `IAC SE` | nothing |
//! | `IAC` and another command (240 to 249) | nothing: `IAC IP IAC DM ABOR` reads as `ABOR` |
//! | `IAC` and anything else | the byte 255, and what follows it |
//! | a sequence that its line's end cuts off | its bytes as they are |
//!
//! The last two rows are no telnet. They are there because `ÿ` of Latin-1 is byte 255, and clients that send
//! names in Latin-1 seldom double it.
//!
//! Half a sequence can be left at a line's start where the kernel cut TCP's urgent byte out of the stream;
//! what to do with it is a question of the verb behind it, see [`crate::command::parse`]. A control
//! connection is better read with `SO_OOBINLINE`: Python's `ftplib` sends all of `ABOR`, line end included,
//! as urgent data, and without the option its LF never arrives.

use memchr::{memchr, memchr2};

/// The usual bound of a line, in bytes as sent, without the line's end: room for a path of `PATH_MAX` bytes
/// each of which is doubled.
pub const LINE_BYTES_MAX: usize = 8192;

/// Interpret as command: the byte that begins a telnet sequence (RFC 854).
pub(crate) const IAC: u8 = 255;
const DONT: u8 = 254;
const WILL: u8 = 251;
const SUBNEGOTIATION: u8 = 250;
/// SE, the lowest of telnet's command bytes.
pub(crate) const SUBNEGOTIATION_END: u8 = 240;

/// What a [`LineSplitter`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole line, without its end and without telnet sequences.
    Line(&'a [u8]),
    /// A line passed the bound. This comes once per such line, as soon as the bound is passed; its rest is
    /// discarded.
    TooLong,
}

/// Cuts a byte stream into lines of bounded length. While no part of a line is held, it owns no heap memory.
#[derive(Debug, Clone)]
pub struct LineSplitter {
    /// The bytes of a line whose end has not come, or of the line given last, as `state` says.
    buffer: Vec<u8>,
    line_bytes_max: u32,
    state: State,
}

/// What stands in [`LineSplitter::buffer`], and what the next byte of input belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The buffer holds the beginning of a line, possibly nothing.
    Partial,
    /// The buffer holds a line that the caller has read by now.
    Given,
    /// The buffer is empty, and bytes are dropped up to the next LF.
    Discarding,
}

impl LineSplitter {
    /// A splitter for lines of at most `line_bytes_max` bytes as sent, without the line's end. Bounds above
    /// 1 GiB are taken as 1 GiB.
    pub fn new(line_bytes_max: usize) -> Self {
        let line_bytes_max = u32::try_from(line_bytes_max).unwrap_or(u32::MAX).min(1 << 30);
        Self { buffer: Vec::new(), line_bytes_max, state: State::Partial }
    }

    /// Takes the next frame off the front of `input`. `None` means that `input` is used up: the beginning of
    /// an unfinished line, if there is one, has been copied.
    ///
    /// A line without telnet sequences that stands wholly in `input` is given as a slice of it.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Frame<'a>> {
        if self.state == State::Given {
            self.release();
        }
        while !input.is_empty() {
            // One search for both: nearly always the line's end is met first.
            let found = memchr2(b'\n', IAC, input);
            let is_plain = found.is_none_or(|at| input[at] == b'\n');
            let line_end = if is_plain { found } else { memchr(b'\n', input) };
            let taken = match line_end {
                Some(at) => take(input, at + 1),
                None => take(input, input.len()),
            };
            match (self.state, line_end) {
                (State::Discarding, Some(_)) => self.state = State::Partial,
                (State::Discarding, None) => return None,
                (_, Some(at)) => return Some(self.finish(&taken[..at], is_plain)),
                (_, None) => return self.keep(taken),
            }
        }
        None
    }

    /// The bytes of an unfinished line that are held, as sent.
    pub fn partial_bytes(&self) -> usize {
        if self.state == State::Partial { self.buffer.len() } else { 0 }
    }

    /// The line is whole: what is held, and `rest` behind it, which has no LF, and where it is plain, no IAC.
    fn finish<'a>(&'a mut self, rest: &'a [u8], is_plain: bool) -> Frame<'a> {
        if self.is_over_bound(rest) {
            self.release();
            return Frame::TooLong;
        }
        if self.buffer.is_empty() && is_plain {
            return Frame::Line(rest.strip_suffix(b"\r").unwrap_or(rest));
        }
        self.append(rest);
        self.state = State::Given;
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        remove_telnet_sequences(&mut self.buffer);
        Frame::Line(&self.buffer)
    }

    /// The line goes on behind `part`, which is the end of the input.
    fn keep(&mut self, part: &[u8]) -> Option<Frame<'static>> {
        if self.is_over_bound(part) {
            self.release();
            self.state = State::Discarding;
            return Some(Frame::TooLong);
        }
        self.append(part);
        None
    }

    /// Whether what is held and `more` behind it are longer than a line may be. A CR at the very end is not
    /// counted: it can be the line end's.
    fn is_over_bound(&self, more: &[u8]) -> bool {
        let last = more.last().or(self.buffer.last());
        let counted = self.buffer.len() + more.len() - usize::from(last == Some(&b'\r'));
        counted > self.bound()
    }

    /// Grows as a vector does, but never beyond what a line within the bound can need.
    fn append(&mut self, more: &[u8]) {
        let needed = self.buffer.len() + more.len();
        if needed > self.buffer.capacity() {
            let capacity = needed.max(2 * self.buffer.capacity()).min(self.bound() + 1);
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        self.buffer.extend_from_slice(more);
    }

    fn release(&mut self) {
        self.buffer = Vec::new();
        self.state = State::Partial;
    }

    fn bound(&self) -> usize {
        self.line_bytes_max as usize
    }
}

/// Takes `count` bytes off the front.
fn take<'i>(input: &mut &'i [u8], count: usize) -> &'i [u8] {
    let (taken, rest) = input.split_at(count);
    *input = rest;
    taken
}

/// Takes telnet sequences out of a whole line, in place, as the table above says.
fn remove_telnet_sequences(line: &mut Vec<u8>) {
    let Some(first) = memchr(IAC, line) else { return };
    let (mut read, mut write) = (first, first);
    while read < line.len() {
        let (length, literal) = telnet_sequence(&line[read..]);
        if let Some(byte) = literal {
            line[write] = byte;
            write += 1;
        }
        read += length;
    }
    line.truncate(write);
}

/// How many bytes at the front of `bytes`, which has at least one, belong together, and the byte they stand
/// for.
fn telnet_sequence(bytes: &[u8]) -> (usize, Option<u8>) {
    match *bytes {
        [IAC, IAC, ..] => (2, Some(IAC)),
        [IAC, WILL..=DONT, _, ..] => (3, None),
        [IAC, SUBNEGOTIATION, ref parameters @ ..] => match subnegotiation_length(parameters) {
            Some(length) => (2 + length, None),
            None => (1, Some(IAC)),
        },
        [IAC, SUBNEGOTIATION_END..SUBNEGOTIATION, ..] => (2, None),
        [byte, ..] => (1, Some(byte)),
        [] => (0, None),
    }
}

/// The length of the parameters of a subnegotiation with their `IAC SE`; inside them `IAC IAC` is data.
fn subnegotiation_length(parameters: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(IAC, &parameters[at..])?;
        match parameters.get(at + 1)? {
            &SUBNEGOTIATION_END => return Some(at + 2),
            _ => at += 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_memory_is_held_between_lines() {
        let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
        for stream in [&b"RETR na"[..], b"me\r\n", b"RETR \xff\xff\r\nNOOP\r\n"] {
            let mut input = stream;
            while splitter.next(&mut input).is_some() {}
            assert_eq!(
                splitter.buffer.capacity() > 0,
                splitter.partial_bytes() > 0,
                "{}",
                stream.escape_ascii()
            );
        }
    }

    #[test]
    fn memory_never_passes_the_bound() {
        let mut splitter = LineSplitter::new(1000);
        for _ in 0..1000 {
            let mut input = &b"x"[..];
            assert_eq!(splitter.next(&mut input), None);
            assert!(splitter.buffer.capacity() <= 1001);
        }
        let mut input = &b"x"[..];
        assert_eq!(splitter.next(&mut input), Some(Frame::TooLong));
        assert_eq!(splitter.buffer.capacity(), 0);
    }
}
