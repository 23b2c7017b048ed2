//! The lines of a control connection as they are, to be passed on.

use std::io::{self, BufRead, BufReader, Read};

/// Cuts a stream behind each LF, and changes nothing.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    line_bytes_max: u64,
    part: Vec<u8>,
    is_inside: bool,
}

/// A line, or what of it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// A whole line with its LF.
    Line(&'a [u8]),
    /// The beginning of a line that is too long, or that the stream's end cut off.
    Begin(&'a [u8]),
    /// More of it.
    Rest(&'a [u8]),
}

impl<R: Read> Lines<R> {
    /// Gives lines of at most `line_bytes_max` bytes, LF included, and longer ones in parts.
    pub(crate) fn new(stream: R, line_bytes_max: u64) -> Self {
        Self { reader: BufReader::new(stream), line_bytes_max, part: Vec::new(), is_inside: false }
    }

    /// Waits for the next part. `None` is the stream's end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Part<'_>>> {
        self.part.clear();
        (&mut self.reader).take(self.line_bytes_max).read_until(b'\n', &mut self.part)?;
        if self.part.is_empty() {
            return Ok(None);
        }
        let was_inside = self.is_inside;
        self.is_inside = !self.part.ends_with(b"\n");
        let part = match (was_inside, self.is_inside) {
            (false, false) => Part::Line(&self.part),
            (false, true) => Part::Begin(&self.part),
            (true, _) => Part::Rest(&self.part),
        };
        Ok(Some(part))
    }
}

impl<'a> Part<'a> {
    pub(crate) fn bytes(self) -> &'a [u8] {
        let (Self::Line(bytes) | Self::Begin(bytes) | Self::Rest(bytes)) = self;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_or_changed() {
        let stream = b"\xff\xf4\xff\xf2ABOR\r\nNOOP\n\r\n12345678\n123456789\r\n1234567\nend";
        let mut lines = Lines::new(&stream[..], 8);
        let mut all = Vec::new();
        let mut shapes = String::new();
        while let Some(part) = lines.next().unwrap() {
            shapes.push(match part {
                Part::Line(_) => 'L',
                Part::Begin(_) => 'B',
                Part::Rest(_) => 'R',
            });
            all.extend_from_slice(part.bytes());
        }
        assert_eq!(all, stream);
        assert_eq!(shapes, "BRLLBRBRLB");
    }
}
