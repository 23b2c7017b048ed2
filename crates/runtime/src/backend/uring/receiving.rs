//! What the kernel receives by itself.
//!
//! What has come is copied out at once, into a vector that an idle connection does not have. A connection whose bytes nobody
//! takes is received from no more once it has [`INBOX_BYTES_MAX`]: no client can take the buffers from the others, nor memory.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::task::{Context, Poll, Waker};

use io_uring::{opcode, types};
use rustix::net::{RecvFlags, recv};

use super::provided_buffers::GROUP;
use super::{Operation, Ring, Wait, What};
use crate::context;

/// What a connection may send ahead, in bytes, before it is received from no more. One turn's buffers may come on top.
const INBOX_BYTES_MAX: usize = 32 * 1024;

/// What is known of one connection.
#[derive(Default)]
pub(super) struct Receiving {
    inbox: Inbox,
    waker: Option<Waker>,
    /// Too much was sent ahead: a cancel is on its way.
    is_stopping: bool,
    /// How receiving ended for good.
    end: Option<End>,
}

#[derive(Clone, Copy)]
enum End {
    /// The peer has ended its side.
    OfPeer,
    /// Receiving failed, with this errno.
    Failed(i32),
}

impl Receiving {
    /// The kernel received `bytes`, and goes on or not; whether it is to be stopped.
    pub(super) fn completed(&mut self, bytes: &[u8], result: i32, goes_on: bool) -> bool {
        self.inbox.put(bytes);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
        if goes_on {
            let too_much = !self.is_stopping && self.inbox.len() > INBOX_BYTES_MAX;
            self.is_stopping |= too_much;
            return too_much;
        }
        self.is_stopping = false;
        self.end = match -result {
            0 => Some(End::OfPeer),
            // Cancelled; or the buffers, or the room for completions, had run out for a moment.
            libc::ECANCELED | libc::ENOBUFS | libc::EINTR | libc::EAGAIN => None,
            errno if errno > 0 => Some(End::Failed(errno)),
            _ => None,
        };
        false
    }

    /// What a receive would say without waiting; `None` where it would wait.
    fn ready(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        if let Some(length) = self.inbox.take(buffer) {
            return Some(Ok(length));
        }
        Some(match self.end? {
            End::OfPeer => Ok(0),
            End::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
        })
    }
}

/// What came and was not taken.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    fn put(&mut self, bytes: &[u8]) {
        // Whoever is never quite caught up with must not make this grow by what was taken long ago.
        if self.taken >= INBOX_BYTES_MAX {
            self.bytes.drain(..std::mem::take(&mut self.taken));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves what fits to `buffer`; `None` if there is nothing.
    fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let waiting = &self.bytes[self.taken..];
        if waiting.is_empty() {
            return None;
        }
        let length = waiting.len().min(buffer.len());
        buffer[..length].copy_from_slice(&waiting[..length]);
        self.taken += length;
        if self.taken == self.bytes.len() {
            // An idle connection keeps no memory.
            *self = Inbox::default();
        }
        Some(length)
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }
}

impl Ring {
    fn receiving(&mut self, place: &Cell<Option<usize>>) -> (usize, &mut Receiving, bool) {
        let key = place.get().unwrap_or_else(|| self.insert(What::Receiving(Receiving::default())));
        place.set(Some(key));
        match &mut self.operations[key] {
            Operation { what: What::Receiving(receiving), is_in_flight, .. } => {
                (key, receiving, *is_in_flight)
            }
            _ => unreachable!("a connection's place holds what was received"),
        }
    }

    pub(crate) fn poll_received(
        &mut self,
        place: &Cell<Option<usize>>,
        connection: BorrowedFd<'_>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (key, receiving, is_in_flight) = self.receiving(place);
        if let Some(ready) = receiving.ready(buffer) {
            return Poll::Ready(ready);
        }
        match &mut receiving.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => receiving.waker = Some(cx.waker().clone()),
        }
        if !is_in_flight {
            context::with(|worker| worker.counters.polls.add(1));
            self.start(key, opcode::RecvMulti::new(types::Fd(connection.as_raw_fd()), GROUP).build());
        }
        Poll::Pending
    }

    pub(crate) fn received_now(
        &mut self,
        place: &Cell<Option<usize>>,
        connection: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if self.receiving(place).2 {
            self.turn(Wait::Not);
        }
        let (_, receiving, is_in_flight) = self.receiving(place);
        match receiving.ready(buffer) {
            Some(ready) => ready,
            None if is_in_flight => Err(io::ErrorKind::WouldBlock.into()),
            None => Ok(recv(connection, buffer, RecvFlags::DONTWAIT)?.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_that_is_never_empty_keeps_its_bounds() {
        const PIECE: usize = 2048;
        let mut inbox = Inbox::default();
        let mut buffer = [0; PIECE];
        let piece = |number: u32| number.to_le_bytes().repeat(PIECE / 4);
        inbox.put(&piece(0));
        for number in 0..10_000 {
            inbox.put(&piece(number + 1));
            assert_eq!(inbox.take(&mut buffer), Some(PIECE));
            assert_eq!(buffer[..], piece(number), "in order");
            assert_eq!(inbox.len(), PIECE);
            assert!(inbox.bytes.capacity() <= 4 * INBOX_BYTES_MAX, "{}", inbox.bytes.capacity());
        }
        assert_eq!(inbox.take(&mut buffer), Some(PIECE));
        assert_eq!(inbox.bytes.capacity(), 0, "an idle connection keeps no memory");
    }
}
