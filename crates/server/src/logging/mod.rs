//! The logs: events on standard error, for people or as JSON; and where it is wanted a line for each transfer, as wu-ftpd
//! writes it.
//!
//! Events name the session and the peer as fields. What clients sent is escaped by whoever logs it, so that no log line can
//! be split or coloured by a name; passwords never come here.

mod lines;
mod seldom;
mod shown;
mod xferlog;

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use config::{Log, LogFormat, LogLevel};
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use lines::{Lines, Output, WriterGuard};
use shown::in_one_line;

pub(crate) use seldom::Seldom;
pub(crate) use shown::loggable;
pub(crate) use xferlog::{TransferLog, TransferLogGuard, TransferNote};

/// The lines of the log, of which a program has one.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// How many lines of the log are lost.
pub(crate) fn lines_lost() -> u64 {
    LINES.get().map_or(0, |lines| lines.lost())
}

/// Starts the log. The guard writes what is left when it is dropped; the other changes the level.
pub(crate) fn start(options: &Log) -> io::Result<(LogGuard, LogLevelSetter)> {
    let lines = Arc::clone(LINES.get_or_init(Arc::default));
    let writer = lines::start("log", &lines, StandardError(io::stderr()))?;
    let has_colours = options.format == LogFormat::Human
        && io::IsTerminal::is_terminal(&io::stderr())
        && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(LineWriter { lines, has_colours })
        .with_target(false)
        .with_max_level(LevelFilter::TRACE);
    let set_level = match options.format {
        LogFormat::Human => install(subscriber.with_ansi(has_colours).finish(), options.level),
        LogFormat::Json => install(subscriber.json().flatten_event(true).finish(), options.level),
    };
    Ok((LogGuard { _writer: writer }, set_level))
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

/// Ends the log's thread once everything is written.
pub(crate) struct LogGuard {
    _writer: WriterGuard,
}

/// Standard error, as the log writes to it.
struct StandardError(io::Stderr);

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Output for StandardError {
    /// There is nowhere else to say it.
    fn on_failure(&mut self, _: &io::Error) {}

    fn on_loss(&mut self, lines: u64, why: &str) {
        tracing::error!(lines, why, "log lines were lost");
    }
}

/// Gives each event a writer that hands whole lines over.
struct LineWriter {
    lines: Arc<Lines>,
    has_colours: bool,
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = &'a LineWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match in_one_line(line, self.has_colours) {
            Some(escaped) => self.lines.push(&escaped),
            None => self.lines.push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
