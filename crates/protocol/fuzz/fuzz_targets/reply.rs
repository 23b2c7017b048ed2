//! A reply of any text is one reply, and the decoder of clients takes everything.
//!
//! The first byte of the input chooses among the ways to make a reply; the rest is text, and a stream of a
//! server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::reply::{Code, Reply, ReplyDecoder};

fuzz_target!(|data: &[u8]| {
    let Some((&way, text)) = data.split_first() else { return };
    let lines = || text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
    let (reply, line_count) = match way % 3 {
        0 => (Reply::new(Code::new(550), text), 1),
        1 => (Reply::pathname(text, "is the current directory."), 1),
        _ => (Reply::lines(Code::new(211), text, lines().collect(), text), lines().count() + 2),
    };
    let mut encoded = Vec::new();
    reply.encode(&mut encoded);
    let mut decoder = ReplyDecoder::new(encoded.len(), encoded.len());
    let mut input = &encoded[..];
    let received = decoder.next(&mut input).expect("what is encoded is a reply").expect("and a whole one");
    assert_eq!(received.code, reply.code());
    assert_eq!(received.lines().count(), line_count);
    assert!(input.is_empty(), "one reply, and no more");

    let mut decoder = ReplyDecoder::new(64, 256);
    let mut input = text;
    while let Ok(Some(received)) = decoder.next(&mut input) {
        assert!(received.text.len() <= 256);
    }
});
