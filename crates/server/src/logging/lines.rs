//! Lines on their way to a thread that writes them.
//!
//! They are gathered in memory and written many at a time: a core must not wait for a disk or for whoever reads, and to wake
//! a thread for each line cost more than a small transfer. What cannot be written is lost, counted and told of as soon
//! as something can; nobody waits for it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// How many bytes wait for a slow reader or disk before newer lines are lost.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);

/// How long the end waits for what is not written yet: whoever does not read must not keep the server from ending.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Where lines go.
pub(super) trait Output: Write + Send + 'static {
    /// Called before lines are written.
    ///
    /// # Errors
    ///
    /// Where there is nothing to write to.
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing can be written: said once, until something can again.
    fn on_failure(&mut self, error: &io::Error);

    /// Lines can be written again, after so many were lost since the last time.
    fn on_loss(&mut self, lines: u64, why: &str);
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    came: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that found no room.
    dropped: u64,
    ended: bool,
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Bytes are never left half-changed by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line with its end.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.came.notify_one();
        }
    }

    /// How many lines were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes what comes, until the end.
    fn write_to(&self, out: impl Output) {
        let mut writer = Writer { out, torn: false, lost: 0, why: String::new() };
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
            self.lost.fetch_add(writer.write(&gathered, dropped), Ordering::Relaxed);
            gathered.clear();
            // What was said of lost lines is written too.
            if ended && self.waiting().bytes.is_empty() {
                return;
            }
        }
    }
}

/// The thread's own part.
struct Writer<O> {
    out: O,
    /// The last line that was written has no end.
    torn: bool,
    /// Lines lost since something could be written.
    lost: u64,
    why: String,
}

impl<O: Output> Writer<O> {
    /// Writes lines, after `dropped` that found no room; gives how many of them could not be written.
    fn write(&mut self, lines: &[u8], dropped: u64) -> u64 {
        if dropped > 0 {
            self.lost += dropped;
            self.why = String::from("they came faster than they could be written");
        }
        match self.try_write(lines) {
            Ok(()) => {
                if self.lost > 0 {
                    self.out.on_loss(self.lost, &self.why);
                    self.lost = 0;
                }
                0
            }
            Err((rest, error)) => {
                if self.lost == 0 {
                    self.out.on_failure(&error);
                }
                let lost = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.lost += lost;
                self.why = error.to_string();
                lost
            }
        }
    }

    /// On an error with what was not written, beginning with the line that was torn.
    fn try_write<'l>(&mut self, mut rest: &'l [u8]) -> Result<(), (&'l [u8], io::Error)> {
        let begun = self.out.prepare().and_then(|()| {
            if std::mem::take(&mut self.torn) {
                self.out.write_all(b"\n").inspect_err(|_| self.torn = true)?;
            }
            Ok(())
        });
        begun.map_err(|error| (rest, error))?;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err((rest, io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((rest, error)),
            }
        }
        Ok(())
    }
}

/// Starts the thread that writes `lines`. The guard ends it once what is left is written.
pub(super) fn start(name: &str, lines: &Arc<Lines>, out: impl Output) -> io::Result<WriterGuard> {
    let (tell, ended) = mpsc::channel();
    let thread_lines = Arc::clone(lines);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        thread_lines.write_to(out);
        // Nobody may be waiting any more.
        let _ = tell.send(());
    })?;
    Ok(WriterGuard { lines: Arc::clone(lines), ended })
}

/// Ends a thread that writes, once everything is written, or nothing can be.
#[derive(Debug)]
pub(super) struct WriterGuard {
    lines: Arc<Lines>,
    ended: mpsc::Receiver<()>,
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        self.lines.waiting().ended = true;
        self.lines.came.notify_one();
        // A log that failed has nobody left to tell.
        let _ = self.ended.recv_timeout(END_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes, and what is told of it.
    #[derive(Default, Clone)]
    struct Disk(Arc<Mutex<Contents>>);

    #[derive(Default)]
    struct Contents {
        written: Vec<u8>,
        room: usize,
        told: Vec<String>,
    }

    impl Disk {
        fn contents(&self) -> MutexGuard<'_, Contents> {
            self.0.lock().unwrap()
        }

        fn with_room(room: usize) -> Self {
            let disk = Self::default();
            disk.contents().room = room;
            disk
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut contents = self.contents();
            let fits = bytes.len().min(contents.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            contents.room -= fits;
            contents.written.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output for Disk {
        fn on_failure(&mut self, error: &io::Error) {
            self.contents().told.push(format!("failed: {error}"));
        }

        fn on_loss(&mut self, lines: u64, why: &str) {
            self.contents().told.push(format!("{lines} lost: {why}"));
        }
    }

    #[test]
    fn every_line_is_written_in_order() {
        let disk = Disk::with_room(usize::MAX);
        let lines = Arc::new(Lines::default());
        let guard = start("test", &lines, disk.clone()).unwrap();
        let mut expected = Vec::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            lines.push(line.as_bytes());
            expected.extend_from_slice(line.as_bytes());
        }
        drop(guard);
        assert_eq!(disk.contents().written, expected);
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn a_reader_that_is_too_slow_costs_lines_and_no_memory() {
        let lines = Lines::default();
        let mut line = vec![b'x'; 1 << 20];
        *line.last_mut().unwrap() = b'\n';
        for _ in 0..10 {
            lines.push(&line);
        }
        assert_eq!(lines.waiting().bytes.len(), WAITING_BYTES_MAX);
        assert_eq!(lines.lost(), 2);
        lines.waiting().ended = true;
        let disk = Disk::with_room(usize::MAX);
        lines.write_to(disk.clone());
        assert_eq!(disk.contents().told, ["2 lost: they came faster than they could be written"]);
    }

    #[test]
    fn a_full_disk_costs_lines_and_none_is_torn_afterwards() {
        let disk = Disk::with_room(13);
        let mut writer = Writer { out: disk.clone(), torn: false, lost: 0, why: String::new() };
        assert_eq!(writer.write(b"one\ntwo\nthree and more\nfour\n", 0), 2);
        assert_eq!(writer.write(b"five\n", 0), 1);
        disk.contents().room = 100;
        assert_eq!(writer.write(b"six\n", 0), 0);
        assert_eq!(writer.write(b"seven\n", 0), 0);
        let contents = disk.contents();
        assert_eq!(contents.written.escape_ascii().to_string(), "one\\ntwo\\nthree\\nsix\\nseven\\n");
        assert_eq!(contents.told, ["failed: no storage space", "3 lost: no storage space"]);
    }
}
