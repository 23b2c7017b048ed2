//! The line splitter: by example, and against a model that reads the whole stream at once.

use proptest::prelude::*;
use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};

/// A frame that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Line(Vec<u8>),
    TooLong,
}

/// Feeds `pieces` one after the other and collects every frame.
fn frames<'a>(line_bytes_max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
    let mut splitter = LineSplitter::new(line_bytes_max);
    let mut frames = Vec::new();
    for mut piece in pieces {
        while let Some(frame) = splitter.next(&mut piece) {
            frames.push(match frame {
                Frame::Line(line) => Owned::Line(line.to_vec()),
                Frame::TooLong => Owned::TooLong,
            });
        }
        assert!(piece.is_empty(), "all of the input is taken before the splitter says that there is no more");
        assert!(splitter.partial_bytes() <= line_bytes_max + 1);
    }
    frames
}

fn line(bytes: &[u8]) -> Owned {
    Owned::Line(bytes.to_vec())
}

#[test]
fn lines_are_cut_and_cleaned() {
    let table: &[(&[u8], &[&[u8]])] = &[
        (b"", &[]),
        (b"NOOP", &[]),
        (b"NOOP\r\n", &[b"NOOP"]),
        (b"NOOP\n", &[b"NOOP"]),
        (b"\r\n\n", &[b"", b""]),
        (b"NOOP\r\r\n", &[b"NOOP\r"]),
        (b"A\rB\r\n", &[b"A\rB"]),
        (b"USER a\r\nPASS b\r\nQUIT\r\n", &[b"USER a", b"PASS b", b"QUIT"]),
        (b"A\0B\r\n", &[b"A\0B"]),
        // Telnet.
        (b"\xff\xf4\xff\xf2ABOR\r\n", &[b"ABOR"]),
        (b"AB\xff\xf1OR\r\n", &[b"ABOR"]),
        (b"RETR \xff\xff\r\n", &[b"RETR \xff"]),
        (b"RETR \xff\xff\xff\xf4\r\n", &[b"RETR \xff"]),
        (b"\xff\xfb\x18NOOP\xff\xfc\x01\xff\xfd\xff\xff\xfe\x03\r\n", &[b"NOOP"]),
        (b"\xff\xfa\x18\x00VT100\xff\xf0NOOP\r\n", &[b"NOOP"]),
        (b"\xff\xfaA\xff\xff\xf0B\xff\xf0NOOP\r\n", &[b"NOOP"]),
        // Latin-1 that looks like telnet.
        (b"RETR \xffx\r\n", &[b"RETR \xffx"]),
        (b"RETR \xff\r\n", &[b"RETR \xff"]),
        (b"RETR \xff\n", &[b"RETR \xff"]),
        (b"RETR \xff\xfb\r\n", &[b"RETR \xff\xfb"]),
        (b"RETR \xff\xfax\r\nNOOP\r\n", &[b"RETR \xff\xfax", b"NOOP"]),
        (b"RETR \xff\xfax\xff\r\n", &[b"RETR \xff\xfax\xff"]),
        (b"RETR \xf2\r\n", &[b"RETR \xf2"]),
    ];
    for (stream, expected) in table {
        let expected: Vec<_> = expected.iter().map(|bytes| line(bytes)).collect();
        assert_eq!(frames(LINE_BYTES_MAX, [*stream]), expected, "{}", stream.escape_ascii());
        assert_eq!(frames(LINE_BYTES_MAX, stream.chunks(1)), expected, "{} by byte", stream.escape_ascii());
    }
}

#[test]
fn the_bound_does_not_count_the_end_of_the_line() {
    for (stream, expected) in [
        (&b"12345\r\nok\n"[..], vec![line(b"12345"), line(b"ok")]),
        (b"12345\nok\n", vec![line(b"12345"), line(b"ok")]),
        (b"1234\r\r\nok\n", vec![line(b"1234\r"), line(b"ok")]),
        (b"123456\r\nok\n", vec![Owned::TooLong, line(b"ok")]),
        (b"12345\r6\nok\n", vec![Owned::TooLong, line(b"ok")]),
        (b"12345\r\r\nok\n", vec![Owned::TooLong, line(b"ok")]),
        (b"12\xff\xff\xff\xff\r\nok\n", vec![Owned::TooLong, line(b"ok")]),
        (b"123456", vec![Owned::TooLong]),
        (b"12345\r", vec![]),
    ] {
        assert_eq!(frames(5, [stream]), expected, "{}", stream.escape_ascii());
        assert_eq!(frames(5, stream.chunks(1)), expected, "{} by byte", stream.escape_ascii());
    }
}

#[test]
fn a_line_without_end_is_reported_once_and_never_held() {
    let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
    let part = [b'x'; 1000];
    let mut reports = Vec::new();
    for number in 0..10_000 {
        let mut input = &part[..];
        while let Some(frame) = splitter.next(&mut input) {
            assert_eq!(frame, Frame::TooLong);
            reports.push(number);
        }
        assert!(splitter.partial_bytes() <= LINE_BYTES_MAX);
    }
    assert_eq!(reports, [8], "as soon as the bound is passed, and once");
    let mut input = &b"rest\r\nNOOP\r\n"[..];
    assert_eq!(splitter.next(&mut input), Some(Frame::Line(b"NOOP")));
    assert_eq!(splitter.next(&mut input), None);
}

#[test]
fn a_whole_line_is_not_copied() {
    let stream = b"RETR name\r\n";
    let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
    let mut input = &stream[..];
    let Some(Frame::Line(line)) = splitter.next(&mut input) else { panic!("a line is there") };
    assert_eq!(line.as_ptr(), stream.as_ptr());
}

#[test]
fn an_idle_splitter_is_small() {
    assert!(size_of::<LineSplitter>() <= 40);
}

/// What stands between two LF, read by the letter of the documentation.
fn model(line_bytes_max: usize, stream: &[u8]) -> Vec<Owned> {
    let mut pieces: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
    let unfinished = pieces.pop().unwrap_or_default();
    let is_too_long = |piece: &[u8]| piece.strip_suffix(b"\r").unwrap_or(piece).len() > line_bytes_max;
    let mut frames: Vec<_> = pieces
        .into_iter()
        .map(|piece| match is_too_long(piece) {
            true => Owned::TooLong,
            false => Owned::Line(without_telnet(piece.strip_suffix(b"\r").unwrap_or(piece))),
        })
        .collect();
    if is_too_long(unfinished) {
        frames.push(Owned::TooLong);
    }
    frames
}

fn without_telnet(mut line: &[u8]) -> Vec<u8> {
    let mut clean = Vec::new();
    while let Some((&byte, rest)) = line.split_first() {
        line = rest;
        let after = match (byte, rest.first()) {
            (255, Some(251..=254)) => rest.get(2..),
            (255, Some(240..=249)) => rest.get(1..),
            (255, Some(250)) => behind_subnegotiation(&rest[1..]),
            (255, Some(255)) => {
                clean.push(255);
                rest.get(1..)
            }
            _ => None,
        };
        match after {
            Some(after) => line = after,
            None => clean.push(byte),
        }
    }
    clean
}

fn behind_subnegotiation(parameters: &[u8]) -> Option<&[u8]> {
    match parameters {
        [255, 240, rest @ ..] => Some(rest),
        [255, _, rest @ ..] | [_, rest @ ..] => behind_subnegotiation(rest),
        [] => None,
    }
}

/// Bytes among which those that mean something are frequent.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let meaningful =
        prop::sample::select(&[b'\n', b'\r', b'A', 0, 240, 242, 244, 249, 250, 251, 254, 255, 255][..]);
    prop::collection::vec(prop_oneof![4 => meaningful, 1 => any::<u8>()], 0..200)
}

/// `stream`, cut before each of the positions in `cuts`, wherever they fall in it.
fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut positions: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    positions.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for position in positions {
        pieces.push(&stream[start..position]);
        start = position;
    }
    pieces.push(&stream[start..]);
    pieces
}

proptest! {
    #[test]
    fn frames_are_the_models_wherever_the_stream_is_cut(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        line_bytes_max in 0_usize..40,
    ) {
        let expected = model(line_bytes_max, &stream);
        prop_assert_eq!(&frames(line_bytes_max, [&stream[..]]), &expected);
        prop_assert_eq!(&frames(line_bytes_max, cut(&stream, &cuts)), &expected);
        prop_assert_eq!(&frames(line_bytes_max, stream.chunks(1)), &expected);
    }
}
