//! Replies: RFC 959 section 4.2.
//!
//! A [`Reply`] is a code and text. However its text came about (a path, a client's own word, an error of the
//! system), what is encoded is one well-formed reply: control characters cannot split it, a line of a
//! multi-line reply cannot look like its end.

mod decode;

pub use decode::{ReceivedReply, ReplyDecoder, ReplyError};

use std::fmt;

use crate::line::IAC;

/// A reply code: a number of 100 to 659.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// The lowest code.
    pub const MIN: Self = Self(100);
    /// The highest code: RFC 2228 section 4 adds the class 6 for protected replies.
    pub const MAX: Self = Self(659);

    /// A code for a constant.
    ///
    /// # Panics
    /// If `number` is not of 100 to 659; in a constant, that is an error of compilation.
    pub const fn new(number: u16) -> Self {
        match Self::try_new(number) {
            Some(code) => code,
            None => panic!("a reply code is of 100 to 659"),
        }
    }

    /// A code from a number that came from elsewhere; `None` if it is not of 100 to 659.
    pub const fn try_new(number: u16) -> Option<Self> {
        if Self::MIN.0 <= number && number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// The code as a number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The first digit: 1 means that another reply follows, 2 and 3 that all is well, 4 that trying again may
    /// help, 5 that it will not.
    pub const fn class(self) -> u8 {
        self.digits()[0] - b'0'
    }

    #[allow(clippy::cast_possible_truncation, reason = "each is a digit")]
    const fn digits(self) -> [u8; 3] {
        [b'0' + (self.0 / 100) as u8, b'0' + (self.0 / 10 % 10) as u8, b'0' + (self.0 % 10) as u8]
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A reply, of one line or of several. Two replies are equal if the same bytes are sent for them.
#[derive(Clone)]
pub struct Reply {
    code: Code,
    text: Text,
}

#[derive(Clone)]
enum Text {
    /// Without a byte that must not stand in a line: what most replies are is copied as it is.
    Fixed(&'static str),
    /// As it was made: to shrink it to its length would copy it once more.
    Owned(Vec<u8>),
    Lines(Box<Lines>),
}

#[derive(Clone)]
struct Lines {
    first: Vec<u8>,
    body: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Reply {
    /// A reply of one line that is known when the program is compiled.
    ///
    /// # Panics
    /// If there is a control character in `text`; in a constant, that is an error of compilation.
    pub const fn fixed(code: Code, text: &'static str) -> Self {
        // Byte 255 stands in no UTF-8.
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(!bytes[at].is_ascii_control(), "a fixed reply is one line of text");
            at += 1;
        }
        Self { code, text: Text::Fixed(text) }
    }

    /// A reply of one line.
    pub fn new(code: Code, text: impl Into<Vec<u8>>) -> Self {
        Self { code, text: Text::Owned(text.into()) }
    }

    /// A reply of several lines. `first` and `last` stand beside the code; the lines of `body` stand between
    /// them, each behind one space (RFC 959 section 4.2, RFC 2389 section 3.2), which is added here.
    pub fn lines(
        code: Code,
        first: impl Into<Vec<u8>>,
        body: Vec<Vec<u8>>,
        last: impl Into<Vec<u8>>,
    ) -> Self {
        let lines = Lines { first: first.into(), body, last: last.into() };
        Self { code, text: Text::Lines(Box::new(lines)) }
    }

    /// A 257 reply: the name in double quotes, quotes in it written twice, and a comment behind it (RFC 959
    /// appendix II).
    pub fn pathname(path: &[u8], comment: &'static str) -> Self {
        let mut text = Vec::with_capacity(path.len() + comment.len() + 3);
        text.push(b'"');
        for &byte in path {
            text.push(byte);
            if byte == b'"' {
                text.push(b'"');
            }
        }
        text.extend_from_slice(b"\" ");
        text.extend_from_slice(comment.as_bytes());
        Self::new(Code::new(257), text)
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Appends the reply as it is sent. Control characters (0 to 31 and 127) become `?`, byte 255 is doubled
    /// as telnet asks; every other byte stays, for a name need not be UTF-8.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.text {
            Text::Fixed(text) => {
                encode_code(out, self.code, b' ', text.len());
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Text::Owned(text) => encode_line(out, self.code, b' ', text),
            Text::Lines(lines) => {
                encode_line(out, self.code, b'-', &lines.first);
                for line in &lines.body {
                    out.push(b' ');
                    encode_text(out, line);
                    out.extend_from_slice(b"\r\n");
                }
                encode_line(out, self.code, b' ', &lines.last);
            }
        }
    }
}

impl PartialEq for Reply {
    fn eq(&self, other: &Self) -> bool {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        self.encode(&mut ours);
        other.encode(&mut others);
        ours == others
    }
}

impl Eq for Reply {}

/// The reply as it is sent, for transcripts.
impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut encoded = Vec::new();
        self.encode(&mut encoded);
        formatter.write_str(String::from_utf8_lossy(&encoded).trim_end_matches("\r\n"))
    }
}

fn encode_line(out: &mut Vec<u8>, code: Code, separator: u8, text: &[u8]) {
    encode_code(out, code, separator, text.len());
    encode_text(out, text);
    out.extend_from_slice(b"\r\n");
}

/// The code and what stands behind it, with room for `text_bytes` and the line's end.
fn encode_code(out: &mut Vec<u8>, code: Code, separator: u8, text_bytes: usize) {
    let [hundreds, tens, ones] = code.digits();
    out.reserve(text_bytes + 6);
    out.extend_from_slice(&[hundreds, tens, ones, separator]);
}

/// Nearly all text needs neither replacement nor doubling, and to see that is a loop without an exit, which the compiler
/// turns into vector instructions.
fn encode_text(out: &mut Vec<u8>, text: &[u8]) {
    let is_plain = text.iter().fold(true, |plain, &byte| plain & !byte.is_ascii_control() & (byte != IAC));
    if is_plain {
        return out.extend_from_slice(text);
    }
    for &byte in text {
        out.push(if byte.is_ascii_control() { b'?' } else { byte });
        if byte == IAC {
            out.push(IAC);
        }
    }
}
