//! The log: lines on standard error, for people or as JSON.
//!
//! Events name the session and the peer as fields. What clients sent is escaped by whoever logs it, so that no log line can
//! be split or coloured by a name; passwords never come here.
//!
//! Lines are gathered in memory and written by a thread of their own, many at a time: a core must not wait for whoever
//! reads standard error, and to wake a thread for each line cost more than a small transfer.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use config::{Log, LogFormat, LogLevel};
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How many bytes wait for a slow standard error before newer lines are dropped, and counted.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);

/// Log lines that are in no log.
static LINES_LOST: AtomicU64 = AtomicU64::new(0);

/// How many log lines are in no log.
pub(crate) fn lines_lost() -> u64 {
    LINES_LOST.load(Ordering::Relaxed)
}

/// Starts the log. The guard writes what is left when it is dropped; the other changes the level.
pub(crate) fn start(options: &Log) -> io::Result<(LogGuard, LogLevelSetter)> {
    let lines = Arc::new(Lines::default());
    let writer = {
        let lines = Arc::clone(&lines);
        thread::Builder::new()
            .name(String::from("log"))
            .spawn(move || lines.write_all_to(&mut io::stderr()))?
    };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(LineWriter(Arc::clone(&lines)))
        .with_target(false)
        .with_max_level(LevelFilter::TRACE);
    let set_level = match options.format {
        LogFormat::Human => {
            let colours =
                io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            install(subscriber.with_ansi(colours).finish(), options.level)
        }
        LogFormat::Json => install(subscriber.json().flatten_event(true).finish(), options.level),
    };
    Ok((LogGuard { lines, writer: Some(writer) }, set_level))
}

/// Makes a subscriber the program's, below a level that can be changed.
fn install<S>(subscriber: S, at: LogLevel) -> LogLevelSetter
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(level(at));
    subscriber.with(filter).init();
    // There is nobody to tell if the log is gone.
    Box::new(move |to| drop(handle.reload(level(to))))
}

/// Changes the least that is logged.
pub(crate) type LogLevelSetter = Box<dyn Fn(LogLevel) + Send>;

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// A line or name of a client's as the log shows it: escaped, and without any password.
///
/// Whatever may be a PASS command is cut off behind that word, also one that is none for the blanks or for the remains of telnet
/// before it, or that stands in the middle of a line.
pub(crate) fn loggable(bytes: &[u8]) -> impl fmt::Display + '_ {
    let shown = end_of_what_may_be_shown(bytes);
    let hidden = if shown < bytes.len() { " ..." } else { "" };
    // A value that writes when it is asked to: most lines are never written.
    fmt::from_fn(move |out| write!(out, "{}{hidden}", bytes[..shown].escape_ascii()))
}

fn end_of_what_may_be_shown(bytes: &[u8]) -> usize {
    const VERB: &[u8] = b"PASS";
    let begins_a_word = |at: usize| at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
    let found = bytes.windows(VERB.len()).enumerate().find(|(at, window)| {
        let after = bytes.get(at + VERB.len());
        let ends_a_word = after.is_none_or(|byte| !byte.is_ascii_alphanumeric());
        // At the beginning of a line a blank may have been forgotten.
        let is_first = bytes[..*at].iter().all(|byte| !byte.is_ascii_alphanumeric());
        window.eq_ignore_ascii_case(VERB) && begins_a_word(*at) && (is_first || ends_a_word)
    });
    found.map_or(bytes.len(), |(at, _)| at + VERB.len())
}

/// Ends the log's thread once everything is written.
pub(crate) struct LogGuard {
    lines: Arc<Lines>,
    writer: Option<thread::JoinHandle<()>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.lines.waiting().ended = true;
        self.lines.came.notify_one();
        if let Some(writer) = self.writer.take() {
            // A log that failed has nobody left to tell.
            let _ = writer.join();
        }
    }
}

/// Lines on their way to the log's thread.
#[derive(Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: u64,
    ended: bool,
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Bytes are never left half-changed by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.came.notify_one();
        }
    }

    /// Writes what comes, until the end. A log that cannot be written is given up for that moment, and nothing else is.
    fn write_all_to(&self, out: &mut impl Write) {
        let mut gathered = Vec::new();
        loop {
            let mut waiting = self.waiting();
            while waiting.bytes.is_empty() && !waiting.ended {
                waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let ended = waiting.ended;
            drop(waiting);
            if !ended {
                thread::sleep(GATHER);
            }
            let mut waiting = self.waiting();
            std::mem::swap(&mut gathered, &mut waiting.bytes);
            let dropped = std::mem::take(&mut waiting.dropped);
            drop(waiting);
            let _ = out.write_all(&gathered);
            if dropped > 0 {
                let _ = writeln!(out, "{dropped} log lines were dropped: standard error is too slow");
            }
            gathered.clear();
            if ended {
                return;
            }
        }
    }
}

/// Gives each event a writer that hands whole lines over.
struct LineWriter(Arc<Lines>);

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = &'a LineWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_shows_a_password_or_a_control_character() {
        let shown = |line: &[u8]| loggable(line).to_string();
        assert_eq!(shown(b"PASS secret"), "PASS ...");
        assert_eq!(shown(b"pass"), "pass");
        assert_eq!(shown(b"passsecret"), "pass ...");
        assert_eq!(shown(b"  PASS secret"), "  PASS ...");
        assert_eq!(shown(b"\xff\xf4PASS secret"), "\\xff\\xf4PASS ...");
        assert_eq!(shown(b"USER a\rPASS secret"), "USER a\\rPASS ...");
        assert_eq!(shown(b"RETR compass.txt"), "RETR compass.txt");
        assert_eq!(shown(b"RETR passage"), "RETR passage");
        assert_eq!(shown(b"CWD a\x1b[31m\n\x07\xc2\x9b"), "CWD a\\x1b[31m\\n\\x07\\xc2\\x9b");
    }

    #[test]
    fn every_line_is_written_in_order() {
        let lines = Arc::new(Lines::default());
        let writer = {
            let lines = Arc::clone(&lines);
            thread::spawn(move || {
                let mut out = Vec::new();
                lines.write_all_to(&mut out);
                out
            })
        };
        let mut expected = Vec::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            lines.push(line.as_bytes());
            expected.extend_from_slice(line.as_bytes());
        }
        lines.waiting().ended = true;
        lines.came.notify_one();
        assert_eq!(writer.join().unwrap(), expected);
    }

    #[test]
    fn a_reader_that_is_too_slow_costs_lines_and_no_memory() {
        let lines = Lines::default();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            lines.push(&line);
        }
        assert_eq!(lines.waiting().bytes.len(), WAITING_BYTES_MAX);
        assert_eq!(lines.waiting().dropped, 2);
        lines.waiting().ended = true;
        let mut out = Vec::new();
        lines.write_all_to(&mut out);
        assert!(out.ends_with(b"2 log lines were dropped: standard error is too slow\n"));
    }
}
