//! A line for each transfer, as wu-ftpd writes it (`xferlog(5)`), for the programs that count downloads by it.
//!
//! A thread writes it, which may wait for its disk. Before each writing it looks whether the file is still the one of that name,
//! so that a log that was moved away for rotation is begun anew, without being told.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use time::OffsetDateTime;

use super::lines::{self, Lines, Output, WriterGuard};

/// The mode of a file that is made here: names of files and users are not for everybody.
const MODE: u32 = 0o640;

/// The log of transfers.
#[derive(Debug)]
pub(crate) struct TransferLog(Arc<Lines>);

/// Ends the log's thread once everything is written.
#[derive(Debug)]
pub(crate) struct TransferLogGuard {
    _writer: WriterGuard,
}

/// What is noted of a transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransferNote<'a> {
    pub(crate) peer: IpAddr,
    /// As the client gave it. Never the password, which wu-ftpd writes of guests.
    pub(crate) user: &'a [u8],
    pub(crate) is_anonymous: bool,
    pub(crate) path: &'a [u8],
    pub(crate) is_ascii: bool,
    pub(crate) is_upload: bool,
    pub(crate) took: Duration,
    pub(crate) bytes: u64,
    pub(crate) is_complete: bool,
}

impl TransferLog {
    /// Opens the file as the user that writes it, so that what is wrong with it is found out at the start.
    pub(crate) fn open(path: &Path) -> anyhow::Result<(Self, TransferLogGuard)> {
        let cannot = || format!("cannot write the log of transfers {} (log.xferlog)", path.display());
        let file = open(path).with_context(cannot)?;
        let lines = Arc::<Lines>::default();
        let writer = lines::start("xferlog", &lines, LogFile { path: path.to_owned(), file: Some(file) })
            .context("cannot start a thread")?;
        Ok((Self(lines), TransferLogGuard { _writer: writer }))
    }

    /// A transfer is over.
    pub(crate) fn write(&self, note: &TransferNote<'_>) {
        self.0.push(line(note, SystemTime::now()).as_bytes());
    }

    /// How many lines are lost.
    pub(crate) fn lines_lost(&self) -> u64 {
        self.0.lost()
    }
}

fn line(note: &TransferNote<'_>, now: SystemTime) -> String {
    let &TransferNote { peer, user, is_anonymous, path, is_ascii, is_upload, took, bytes, is_complete } =
        note;
    let time = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // In whole seconds, and never none of them.
    let seconds = took.as_secs().max(1);
    let one_of = |which: bool, yes: char, no: char| if which { yes } else { no };
    format!(
        "{} {seconds} {peer} {bytes} {} {} _ {} {} {} ftp 0 * {}\n",
        calendar(time),
        word(path),
        one_of(is_ascii, 'a', 'b'),
        one_of(is_upload, 'i', 'o'),
        one_of(is_anonymous, 'a', 'r'),
        word(user),
        one_of(is_complete, 'c', 'i'),
    )
}

/// `Thu Nov 26 00:19:41 2026`, in UTC.
fn calendar(unix_seconds: u64) -> String {
    let time = i64::try_from(unix_seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let short = |name: String| name.chars().take(3).collect::<String>();
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        short(time.weekday().to_string()),
        short(time.month().to_string()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.year(),
    )
}

/// Characters that turn the direction of the text around, and would show it as another.
const TURNS_AROUND: [RangeInclusive<char>; 3] =
    ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];

/// Bytes as one word of a line: blanks, control characters, those of a direction of writing and what is not UTF-8 become `_`.
fn word(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::from("_");
    }
    let turns_around = |character| TURNS_AROUND.iter().any(|range| range.contains(&character));
    let is_plain = |character: char| {
        !character.is_control()
            && !character.is_whitespace()
            && !turns_around(character)
            && character != char::REPLACEMENT_CHARACTER
    };
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|character| if is_plain(character) { character } else { '_' })
        .collect()
}

/// The file, open as long as it is the one of its name.
struct LogFile {
    path: PathBuf,
    file: Option<File>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

impl LogFile {
    fn is_current(&self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let open = self.file.as_ref().and_then(|file| file.metadata().ok()).map(identity);
        let named = std::fs::metadata(&self.path).ok().map(identity);
        open.is_some() && open == named
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

impl Output for LogFile {
    fn prepare(&mut self) -> io::Result<()> {
        if !self.is_current() {
            self.file = None;
            self.file = Some(open(&self.path)?);
        }
        Ok(())
    }

    fn on_failure(&mut self, error: &io::Error) {
        tracing::error!(path = %self.path.display(), %error, "the log of transfers cannot be written; transfers go on");
    }

    fn on_loss(&mut self, lines: u64, why: &str) {
        tracing::error!(path = %self.path.display(), lines, why, "the log of transfers is written again, and lacks lines");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(path: &[u8]) -> TransferNote<'_> {
        TransferNote {
            peer: "192.0.2.1".parse().unwrap(),
            user: b"an na",
            is_anonymous: false,
            path,
            is_ascii: false,
            is_upload: false,
            took: Duration::from_millis(2900),
            bytes: 1234,
            is_complete: true,
        }
    }

    #[test]
    fn a_line_is_as_wu_ftpd_writes_it() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_651_181);
        assert_eq!(
            line(&note(b"/pub/a file.iso"), at),
            "Wed Nov 25 23:59:41 2026 2 192.0.2.1 1234 /pub/a_file.iso b _ o r an_na ftp 0 * c\n"
        );
        let upload = TransferNote {
            is_anonymous: true,
            is_ascii: true,
            is_upload: true,
            user: b"ftp",
            took: Duration::ZERO,
            bytes: 0,
            is_complete: false,
            ..note(b"/\x1b[31m\n\xff\xc3\xa4\xc2\x9b\xe2\x80\xae")
        };
        assert_eq!(
            line(&upload, UNIX_EPOCH + Duration::from_secs(1)),
            "Thu Jan  1 00:00:01 1970 1 192.0.2.1 0 /_[31m__\u{e4}__ a _ i a ftp ftp 0 * i\n"
        );
    }

    #[test]
    fn a_file_that_was_moved_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xferlog");
        let mut file = LogFile { path: path.clone(), file: None };
        file.prepare().unwrap();
        file.write_all(b"one\n").unwrap();
        file.prepare().unwrap();
        file.write_all(b"two\n").unwrap();
        std::fs::rename(&path, folder.path().join("xferlog.1")).unwrap();
        file.prepare().unwrap();
        file.write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read(folder.path().join("xferlog.1")).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(file.prepare().is_err());
        assert!(file.write_all(b"four\n").is_err());
    }
}
