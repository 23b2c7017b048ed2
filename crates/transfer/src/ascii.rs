//! Line ends of TYPE A (RFC 959, section 3.1.1.1): CRLF on the network, LF in the file.
//!
//! Both converters are fed piece by piece, cut anywhere, and give the same bytes as if fed at once. A file that
//! comes from the network and goes back is the same again, unless it had LF and CRLF mixed.

use std::ops::Range;

use memchr::memchr;

/// From the file to the network: an LF that no CR precedes becomes CRLF. A CRLF that is there stays one.
#[derive(Debug, Clone, Default)]
pub struct ToNetwork {
    /// The last byte of the piece before was a CR.
    after_cr: bool,
}

impl ToNetwork {
    /// A converter at the start of a file.
    #[must_use]
    pub fn new() -> ToNetwork {
        ToNetwork::default()
    }

    /// Appends the converted `piece` to `output`: at most twice its length.
    pub fn convert(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        // Most text has lines: room for a CR in every sixteen bytes spares the usual file a second growth.
        output.reserve(piece.len() + piece.len() / 16);
        let mut rest = piece;
        while let Some(at) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at);
            output.extend_from_slice(line);
            let preceded = line.last().map_or(self.after_cr, |&last| last == b'\r');
            output.extend_from_slice(if preceded { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            rest = &after[1..];
        }
        output.extend_from_slice(rest);
        if let Some(&last) = rest.last() {
            self.after_cr = last == b'\r';
        }
    }
}

/// From the network to the file: CRLF becomes LF. A CR that no LF follows stays.
#[derive(Debug, Clone, Default)]
pub struct FromNetwork {
    /// The piece before ended in a CR, which is held back until its successor is known.
    held_cr: bool,
}

impl FromNetwork {
    /// A converter at the start of an upload.
    #[must_use]
    pub fn new() -> FromNetwork {
        FromNetwork::default()
    }

    /// Converts a piece where it is, and gives where in it the bytes for the file are. Its first byte is no part of it: there is
    /// room for a CR that was held back.
    pub fn convert(&mut self, piece: &mut [u8]) -> Range<usize> {
        let Some(&first) = piece.get(1) else { return 0..0 };
        let mut start = 1;
        if std::mem::take(&mut self.held_cr) && first != b'\n' {
            start = 0;
            piece[0] = b'\r';
        }
        // Before `end` all is converted, and from `at` on nothing is.
        let (mut end, mut at) = (1, 1);
        while let Some(length) = memchr(b'\r', &piece[at..]) {
            piece.copy_within(at..at + length, end);
            end += length;
            at += length + 1;
            match piece.get(at) {
                // The CR goes, and the LF is taken up with what follows it.
                Some(b'\n') => {}
                Some(_) => {
                    piece[end] = b'\r';
                    end += 1;
                }
                None => self.held_cr = true,
            }
        }
        piece.copy_within(at.., end);
        start..end + piece.len() - at
    }

    /// What is held back at the end of the upload, which belongs to the file then.
    pub fn finish(&mut self) -> Option<u8> {
        std::mem::take(&mut self.held_cr).then_some(b'\r')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte by byte, as the RFC says it.
    fn naive_to_network(file: &[u8]) -> Vec<u8> {
        let mut network = Vec::new();
        for (at, &byte) in file.iter().enumerate() {
            if byte == b'\n' && (at == 0 || file[at - 1] != b'\r') {
                network.push(b'\r');
            }
            network.push(byte);
        }
        network
    }

    fn naive_from_network(network: &[u8]) -> Vec<u8> {
        let is_end = |at: usize| network[at] == b'\r' && network.get(at + 1) == Some(&b'\n');
        (0..network.len()).filter(|&at| !is_end(at)).map(|at| network[at]).collect()
    }

    fn from_network(pieces: Vec<&[u8]>) -> Vec<u8> {
        let mut converter = FromNetwork::new();
        let mut file = Vec::new();
        for piece in pieces {
            let mut piece = [b"#", piece].concat();
            let converted = converter.convert(&mut piece);
            file.extend_from_slice(&piece[converted]);
        }
        file.extend(converter.finish());
        file
    }

    /// Cuts at the given places, which may repeat and so make empty pieces.
    fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.push(bytes.len());
        places.sort_unstable();
        let mut from = 0;
        places.into_iter().map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
    }

    /// Text that is all about line ends.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop_oneof![3 => Just(b'\r'), 3 => Just(b'\n'), 2 => Just(b'x'), 1 => any::<u8>()],
            0..64,
        )
    }

    /// Text without a CRLF; a CR may stand anywhere else.
    fn unix_text() -> impl Strategy<Value = Vec<u8>> {
        text().prop_map(|text| {
            let mut unix = Vec::new();
            for byte in text {
                while byte == b'\n' && unix.last() == Some(&b'\r') {
                    unix.pop();
                }
                unix.push(byte);
            }
            unix
        })
    }

    proptest! {
        #[test]
        fn to_network_is_the_naive_one(file in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let mut converter = ToNetwork::new();
            let mut network = Vec::new();
            for piece in pieces(&file, &cuts) {
                converter.convert(piece, &mut network);
            }
            prop_assert_eq!(network, naive_to_network(&file));
        }

        #[test]
        fn from_network_is_the_naive_one(network in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            prop_assert_eq!(from_network(pieces(&network, &cuts)), naive_from_network(&network));
        }

        #[test]
        fn a_unix_file_comes_back_as_it_was(file in unix_text()) {
            let mut network = Vec::new();
            ToNetwork::new().convert(&file, &mut network);
            prop_assert_eq!(from_network(vec![&network]), file);
        }
    }
}
