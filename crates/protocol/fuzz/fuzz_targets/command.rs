//! The parser takes every line, and what it reads as a command is encoded to a line that reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::command::{self, Command, ParseError};
use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};

fuzz_target!(|stream: &[u8]| {
    let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
    let mut input = stream;
    while let Some(frame) = splitter.next(&mut input) {
        if let Frame::Line(line) = frame {
            check(line);
        }
    }
    // The parser itself makes no demand on a line; the encoder alone cannot say an LF.
    let parsed = command::parse(stream);
    if !stream.contains(&b'\n')
        && let Ok(command) = &parsed
    {
        assert_reads_as_itself(command);
    }
});

fn check(line: &[u8]) {
    match command::parse(line) {
        Ok(command) => assert_reads_as_itself(&command),
        Err(ParseError::Unknown) => {}
        Err(ParseError::Arguments { verb, usage }) => {
            assert!(
                command::syntax(verb.as_str().as_bytes()).is_some(),
                "a verb that is not offered has no arguments"
            );
            assert!(!usage.is_empty());
        }
    }
}

fn assert_reads_as_itself(command: &Command<'_>) {
    let mut encoded = Vec::new();
    command.encode(&mut encoded);
    let mut splitter = LineSplitter::new(2 * encoded.len());
    let mut input = &encoded[..];
    let Some(Frame::Line(line)) = splitter.next(&mut input) else { panic!("a command is one line") };
    assert_eq!(command::parse(line).as_ref(), Ok(command));
    assert!(input.is_empty(), "a command is no more than one line");
}
