//! The frames of a stream do not depend on where the network cuts it, and no more than the bound is ever
//! held.
//!
//! The first byte of the input is the bound; the second is how many of the following bytes are lengths of
//! pieces, which are used in turn; the rest is the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::line::{Frame, LineSplitter};

fuzz_target!(|data: &[u8]| {
    let [line_bytes_max, length_count, rest @ ..] = data else { return };
    let line_bytes_max = usize::from(*line_bytes_max);
    let (lengths, stream) = rest.split_at(usize::from(*length_count % 16).min(rest.len()));
    let whole = frames(line_bytes_max, [stream]);
    assert_eq!(whole, frames(line_bytes_max, Pieces { stream, lengths: lengths.iter().cycle() }));
    assert_eq!(whole, frames(line_bytes_max, stream.chunks(1)));
});

/// `stream` in pieces of the given lengths, at least one byte each; without lengths, in one.
struct Pieces<'a, L> {
    stream: &'a [u8],
    lengths: L,
}

impl<'a, L: Iterator<Item = &'a u8>> Iterator for Pieces<'a, L> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.stream.is_empty() {
            return None;
        }
        let length = self.lengths.next().map_or(self.stream.len(), |&length| usize::from(length).max(1));
        let (piece, rest) = self.stream.split_at(length.min(self.stream.len()));
        self.stream = rest;
        Some(piece)
    }
}

/// Every frame of the pieces: a line's bytes, or nothing for one that is too long.
fn frames<'a>(line_bytes_max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let mut splitter = LineSplitter::new(line_bytes_max);
    let mut frames = Vec::new();
    for mut piece in pieces {
        while let Some(frame) = splitter.next(&mut piece) {
            frames.push(match frame {
                Frame::Line(line) => {
                    assert!(line.len() <= line_bytes_max && !line.contains(&b'\n'));
                    Some(line.to_vec())
                }
                Frame::TooLong => None,
            });
        }
        assert!(piece.is_empty());
        // One more than the bound: a CR that may be the end's.
        assert!(splitter.partial_bytes() <= line_bytes_max + 1);
    }
    frames
}
