//! Replies: by example, and that what is encoded decodes to itself.

use proptest::prelude::*;
use protocol::reply::{Code, Reply, ReplyDecoder, ReplyError};

const OKAY: Code = Code::new(200);

fn encoded(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    reply.encode(&mut out);
    out
}

/// Every reply in `stream`, fed in pieces of `piece_bytes`, as code and text.
fn decoded(stream: &[u8], piece_bytes: usize) -> Result<Vec<(u16, Vec<u8>)>, ReplyError> {
    let mut decoder = ReplyDecoder::new(100, 200);
    let mut replies = Vec::new();
    for mut piece in stream.chunks(piece_bytes) {
        while let Some(reply) = decoder.next(&mut piece)? {
            replies.push((reply.code.number(), reply.text.to_vec()));
        }
    }
    Ok(replies)
}

#[test]
fn replies_are_well_formed() {
    for (reply, expected) in [
        (Reply::fixed(OKAY, "Okay."), &b"200 Okay.\r\n"[..]),
        (Reply::new(OKAY, "a\r\n530 b"), b"200 a??530 b\r\n"),
        (Reply::new(OKAY, *b"\x00\x01\x1f\x7f\x80\xff\t"), b"200 ????\x80\xff\xff?\r\n"),
        (Reply::new(OKAY, ""), b"200 \r\n"),
        (Reply::lines(OKAY, "a", vec![], "b"), b"200-a\r\n200 b\r\n"),
        (
            Reply::lines(OKAY, "a\n", vec![b"200 x".to_vec(), b"\ry".to_vec(), vec![]], "b\r"),
            b"200-a?\r\n 200 x\r\n ?y\r\n \r\n200 b?\r\n",
        ),
        (Reply::pathname(b"/a", "created."), b"257 \"/a\" created.\r\n"),
        (Reply::pathname(b"/\"a\"\"\n", "created."), b"257 \"/\"\"a\"\"\"\"?\" created.\r\n"),
        (Reply::pathname("/ä\u{7f}".as_bytes(), "created."), "257 \"/ä?\" created.\r\n".as_bytes()),
        (Reply::pathname(b"/\xff", "created."), b"257 \"/\xff\xff\" created.\r\n"),
    ] {
        assert_eq!(encoded(&reply), expected, "{reply:?}");
    }
}

#[test]
fn replies_are_equal_when_they_are_sent_alike() {
    assert_eq!(Reply::fixed(OKAY, "a"), Reply::new(OKAY, "a"));
    assert_ne!(Reply::fixed(OKAY, "a"), Reply::fixed(OKAY, "b"));
    assert_ne!(Reply::fixed(OKAY, "a"), Reply::fixed(Code::new(201), "a"));
    assert_eq!(format!("{:?}", Reply::lines(OKAY, "a", vec![b"b".to_vec()], "c")), "200-a\r\n b\r\n200 c");
    assert!(size_of::<Reply>() <= 40);
}

#[test]
fn codes_have_bounds_and_classes() {
    assert_eq!(Code::try_new(99), None);
    assert_eq!(Code::try_new(660), None);
    assert_eq!(Code::try_new(100), Some(Code::MIN));
    assert_eq!(Code::try_new(659), Some(Code::MAX));
    assert_eq!(Code::new(425).class(), 4);
    assert_eq!(Code::new(425).to_string(), "425");
}

#[test]
fn replies_of_other_servers_are_read() {
    for (stream, expected) in [
        ("220 Ready\r\n", vec![(220, "Ready")]),
        ("220\r\n", vec![(220, "")]),
        ("220-\r\n220\n", vec![(220, "\n")]),
        (
            "220-Welcome\r\n220-to\r\n  200 us\r\n221 no\r\n\r\n220 end\r\n",
            vec![(220, "Welcome\n220-to\n  200 us\n221 no\n\nend")],
        ),
        ("200 a\r\n331 b\r\n230-c\r\n", vec![(200, "a"), (331, "b")]),
    ] {
        let expected: Vec<_> =
            expected.into_iter().map(|(code, text)| (code, text.as_bytes().to_vec())).collect();
        for piece_bytes in [1, 7, 1000] {
            assert_eq!(decoded(stream.as_bytes(), piece_bytes).as_ref(), Ok(&expected), "{stream}");
        }
    }
}

#[test]
fn what_is_no_reply_is_an_error() {
    let long_line = [b'x'; 101];
    let many_lines = b"220-01234567890123456789012345678901234567890123456789\r\n".repeat(5);
    for (stream, error) in [
        (&b"hello\r\n"[..], ReplyError::Malformed),
        (b"\r\n", ReplyError::Malformed),
        (b"099 a\r\n", ReplyError::Malformed),
        (b"700 a\r\n", ReplyError::Malformed),
        (b"2000 a\r\n", ReplyError::Malformed),
        (b"SSH-2.0-x\r\n", ReplyError::Malformed),
        (&long_line, ReplyError::LineTooLong),
        (&many_lines, ReplyError::TooLong),
    ] {
        assert_eq!(decoded(stream, 10), Err(error), "{}", stream.escape_ascii());
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n\xff\xf0\xfa2 -"[..])], 0..20)
}

/// What the documentation says of a text: control characters are replaced.
fn replaced(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&byte| if byte < 32 || byte == 127 { b'?' } else { byte }).collect()
}

fn code() -> impl Strategy<Value = Code> {
    (100_u16..660).prop_map(Code::new)
}

proptest! {
    #[test]
    fn a_line_decodes_to_itself(code in code(), text in text(), piece_bytes in 1_usize..50) {
        let stream = encoded(&Reply::new(code, text.clone()));
        prop_assert_eq!(decoded(&stream, piece_bytes), Ok(vec![(code.number(), replaced(&text))]));
    }

    #[test]
    fn lines_decode_to_themselves(
        code in code(),
        first in text(),
        body in prop::collection::vec(text(), 0..5),
        last in text(),
        piece_bytes in 1_usize..50,
    ) {
        let mut stream = encoded(&Reply::lines(code, first.clone(), body.clone(), last.clone()));
        Reply::fixed(OKAY, "Next.").encode(&mut stream);
        let mut lines = vec![replaced(&first)];
        lines.extend(body.iter().map(|line| [b" ", &replaced(line)[..]].concat()));
        lines.push(replaced(&last));
        let expected = vec![(code.number(), lines.join(&b'\n')), (200, b"Next.".to_vec())];
        prop_assert_eq!(decoded(&stream, piece_bytes), Ok(expected));
    }

    #[test]
    fn a_pathname_can_be_read_back(path in text()) {
        let stream = encoded(&Reply::pathname(&path, "is current."));
        let replies = decoded(&stream, 1000).unwrap();
        let text = replies[0].1.strip_prefix(b"\"").unwrap().strip_suffix(b"\" is current.").unwrap();
        let quotes = text.iter().filter(|&&byte| byte == b'"').count();
        prop_assert_eq!(quotes % 2, 0);
        let mut name = text.to_vec();
        let mut after_quote = false;
        name.retain(|&byte| {
            after_quote = byte == b'"' && !after_quote;
            !after_quote
        });
        prop_assert_eq!(name, replaced(&path));
    }

    #[test]
    fn the_decoder_takes_anything(
        stream in prop::collection::vec(any::<u8>(), 0..300), piece_bytes in 1_usize..50,
    ) {
        let whole = decoded(&stream, 1000);
        prop_assert_eq!(decoded(&stream, piece_bytes), whole);
    }
}
