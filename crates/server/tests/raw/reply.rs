//! Replies as they come from the wire, read strictly.

use std::fmt;
use std::io::{BufRead, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};

/// A reply: its code, and its lines as they came, without their ends.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) lines: Vec<Vec<u8>>,
}

impl Reply {
    /// Reads one; `None` where the connection ends instead, by a reset too.
    ///
    /// # Panics
    ///
    /// If it is no reply by RFC 959 section 4.2, or stops in the middle.
    #[track_caller]
    pub(crate) fn read(from: &mut impl BufRead) -> Option<Self> {
        let first = read_line(from)?;
        let code =
            code_of(&first).unwrap_or_else(|| panic!("S: {}, which is no reply", first.escape_ascii()));
        let last_starts = [&first[..3], b" "].concat();
        let mut lines = vec![first];
        while lines[0].get(3) == Some(&b'-') && !lines[lines.len() - 1].starts_with(&last_starts) {
            lines.push(read_line(from).expect("a reply of several lines has a last one"));
        }
        Some(Self { code, lines })
    }

    /// The first line behind its code.
    pub(crate) fn text(&self) -> &[u8] {
        self.lines[0].get(4..).unwrap_or_default()
    }

    /// The lines between the first and the last, without the space before them.
    pub(crate) fn body(&self) -> Vec<&[u8]> {
        let between = self.lines.get(1..self.lines.len() - 1).unwrap_or_default();
        between.iter().map(|line| line.strip_prefix(b" ").unwrap_or(line)).collect()
    }

    /// Whether the bytes stand anywhere in it.
    pub(crate) fn mentions(&self, what: &str) -> bool {
        self.lines.iter().any(|line| line.windows(what.len()).any(|window| window == what.as_bytes()))
    }

    /// The address of a 227, in the one form that address translators read.
    #[track_caller]
    pub(crate) fn passive_address(&self) -> SocketAddr {
        let text = String::from_utf8_lossy(self.text());
        let numbers =
            text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(numbers, _)| numbers);
        let numbers: Option<Vec<u8>> =
            numbers.and_then(|list| list.split(',').map(|number| number.parse().ok()).collect());
        let Some([a, b, c, d, high, low]) = numbers.as_deref() else {
            panic!("S: {self}, which names no port")
        };
        (Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])).into()
    }

    /// The port of a 229.
    #[track_caller]
    pub(crate) fn extended_passive_port(&self) -> u16 {
        let text = String::from_utf8_lossy(self.text());
        let port = text.split_once("(|||").and_then(|(_, rest)| rest.split_once("|)")).map(|(port, _)| port);
        port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("S: {self}, which names no port"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.lines.iter().map(|line| line.escape_ascii().to_string()).collect();
        formatter.write_str(&lines.join("\n   "))
    }
}

/// The code of a reply's first line: three digits, and a space or a hyphen.
fn code_of(line: &[u8]) -> Option<u16> {
    let (digits, rest) = line.split_at_checked(3)?;
    let is_code = (b'1'..=b'5').contains(&digits[0]) && digits.iter().all(u8::is_ascii_digit);
    let is_separated = matches!(rest.first(), Some(b' ' | b'-'));
    std::str::from_utf8(digits).ok().filter(|_| is_code && is_separated)?.parse().ok()
}

/// A line without its CRLF; `None` at the end of the connection.
#[track_caller]
fn read_line(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    match from.read_until(b'\n', &mut line) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no reply came: {error}"),
    }
    if line.is_empty() {
        return None;
    }
    let text =
        line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("S: {}, without its end", line.escape_ascii()));
    assert!(!text.contains(&b'\r'), "S: {}, which a CR splits", text.escape_ascii());
    Some(text.to_vec())
}
