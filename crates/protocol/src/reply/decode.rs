//! Replies as a client reads them.

use super::Code;
use crate::line::{Frame, LineSplitter};

/// Why bytes are not a reply. Each means that the server cannot be followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line passed the bound.
    #[error("a line of the reply is too long")]
    LineTooLong,
    /// The lines of one reply passed the bound together.
    #[error("the reply is too long")]
    TooLong,
    /// A line that should begin a reply does not begin with a code and a blank or a hyphen.
    #[error("the line is not a reply")]
    Malformed,
}

/// A reply that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedReply<'a> {
    /// The code.
    pub code: Code,
    /// The text: of the first line and of the last without the code, of those between as they came, with an
    /// LF between two lines.
    pub text: &'a [u8],
}

impl<'a> ReceivedReply<'a> {
    /// The lines of the text, at least one.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.text.split(|&byte| byte == b'\n')
    }
}

/// Puts replies together from bytes as they come from the network. Its memory is reused from one reply to the
/// next.
#[derive(Debug)]
pub struct ReplyDecoder {
    splitter: LineSplitter,
    reply_bytes_max: usize,
    text: Vec<u8>,
    progress: Progress,
}

/// What stands in [`ReplyDecoder::text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing, or a reply that the caller has read by now.
    Between,
    /// The lines so far of a reply of several.
    Inside(Code),
}

impl ReplyDecoder {
    /// A decoder for lines of at most `line_bytes_max` bytes as sent, and replies of at most
    /// `reply_bytes_max` bytes of text.
    pub fn new(line_bytes_max: usize, reply_bytes_max: usize) -> Self {
        let splitter = LineSplitter::new(line_bytes_max);
        Self { splitter, reply_bytes_max, text: Vec::new(), progress: Progress::Between }
    }

    /// Takes the next reply off the front of `input`. `None` means that `input` is used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<ReceivedReply<'_>>, ReplyError> {
        loop {
            let line = match self.splitter.next(input) {
                Some(Frame::Line(line)) => line,
                Some(Frame::TooLong) => return Err(ReplyError::LineTooLong),
                None => return Ok(None),
            };
            let start = split_code(line);
            let (text, finished) = match (self.progress, start) {
                (Progress::Between, None) => return Err(ReplyError::Malformed),
                (Progress::Between, Some((code, is_last, text))) => {
                    self.text.clear();
                    self.progress = Progress::Inside(code);
                    (text, is_last.then_some(code))
                }
                // Only the code that began the reply, with a blank behind it, ends it (RFC 959 section 4.2).
                (Progress::Inside(code), Some((last, true, text))) if last == code => (text, Some(code)),
                (Progress::Inside(_), _) => (line, None),
            };
            if self.text.len() + text.len() > self.reply_bytes_max {
                return Err(ReplyError::TooLong);
            }
            self.text.extend_from_slice(text);
            if let Some(code) = finished {
                self.progress = Progress::Between;
                return Ok(Some(ReceivedReply { code, text: &self.text }));
            }
            self.text.push(b'\n');
        }
    }
}

/// Cuts `NNN text` or `NNN-text`, and says whether it was the former. A code with nothing behind it is taken
/// as the former, as some servers send it.
fn split_code(line: &[u8]) -> Option<(Code, bool, &[u8])> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, &digit| number * 10 + u16::from(digit - b'0'));
    let code = Code::try_new(number)?;
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}
