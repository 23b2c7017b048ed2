//! TCP connections.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{SockAddr, SockRef};

use crate::backend::Backend;
use crate::context;
use crate::deadline::sleep_until;
use crate::long_turns::end_long_turn;
use crate::source::{Interest, Source, has_events};

/// How often it is looked whether a peer has acknowledged the last bytes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A TCP connection on this worker.
#[derive(Debug)]
pub struct Stream {
    source: Source,
    peer: SocketAddr,
    receives_ahead: bool,
}

impl Stream {
    /// Takes a connected, non-blocking socket to this worker.
    ///
    /// # Errors
    ///
    /// Off a worker's thread.
    pub fn new(fd: OwnedFd, peer: SocketAddr) -> io::Result<Stream> {
        Ok(Stream::over(Source::new(fd)?, peer))
    }

    pub(super) fn over(source: Source, peer: SocketAddr) -> Stream {
        Stream { source, peer, receives_ahead: false }
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end. It asks the kernel each time.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` says.
    pub fn local(&self) -> io::Result<SocketAddr> {
        local_address(&self.source)
    }

    /// The descriptor and its readiness, for calls that this type does not have.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Lets the kernel receive by itself from now on, where the backend can: for connections on which short messages come
    /// again and again. Up to some 32 KiB are received before they are asked for.
    ///
    /// It is the last that is received otherwise: [`source`](Stream::source) must not be used to receive any more.
    pub fn receive_ahead(&mut self) {
        self.receives_ahead = context::current_backend() == Some(Backend::IoUring);
    }

    /// Receives into `buffer`: the number of bytes, 0 once the peer has ended its side (or for an empty buffer).
    ///
    /// # Errors
    ///
    /// What `recv(2)` says: `ECONNRESET`, `ETIMEDOUT`, `EHOSTUNREACH`.
    pub fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.receives_ahead
            && let Some(received) = self
                .source
                .ask(|driver, registration, fd| driver.poll_received(registration, fd, cx, buffer))?
        {
            return received;
        }
        let room = buffer.len();
        let received =
            ready!(self.source.poll_io(cx, Interest::Readable, |fd| {
                Ok(recv(fd, &mut *buffer, RecvFlags::empty())?.0)
            }))?;
        if received > 0 && received < room {
            self.source.clear_ready(Interest::Readable);
        }
        Poll::Ready(Ok(received))
    }

    /// [`poll_receive`](Stream::poll_receive) as a future. Dropping it loses no byte.
    ///
    /// # Errors
    ///
    /// As [`poll_receive`](Stream::poll_receive).
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_receive(cx, buffer)).await
    }

    /// Receives what has come by now, without waiting; 0 once the peer has ended its side.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if nothing has come, else what `recv(2)` says.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.receives_ahead
            && let Some(received) =
                self.source.ask(|driver, registration, fd| driver.received_now(registration, fd, buffer))?
        {
            return received;
        }
        self.source.try_io(Interest::Readable, |fd| Ok(recv(fd, &mut *buffer, RecvFlags::DONTWAIT)?.0))
    }

    /// Sends what the kernel takes at once of `bytes`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if it takes none, else what `send(2)` says: `EPIPE`, `ECONNRESET`.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.source.try_io(Interest::Writable, |fd| Ok(send(fd, bytes, SendFlags::NOSIGNAL)?))
    }

    /// [`try_send`](Stream::try_send) for the last bytes, and if it takes them all, the end of this side: the kernel sends
    /// both in one segment. Nothing more is to be received then.
    ///
    /// To close instead would lose the bytes where something of the peer's is not received yet: the kernel then resets the
    /// connection.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Stream::try_send).
    pub fn try_send_last(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
        let sent = self.source.try_io(Interest::Writable, |fd| Ok(send(fd, bytes, flags)?))?;
        if sent == bytes.len() {
            // A peer that has reset the connection meanwhile gets nothing either way.
            drop(self.shutdown_write());
        }
        Ok(sent)
    }

    /// Sends what the kernel takes of `bytes`, and waits only if it takes none.
    ///
    /// # Errors
    ///
    /// What `send(2)` says: `EPIPE`, `ECONNRESET`.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(
            self.source.poll_io(cx, Interest::Writable, |fd| { Ok(send(fd, bytes, SendFlags::NOSIGNAL)?) })
        )?;
        if sent < bytes.len() {
            self.source.clear_ready(Interest::Writable);
        }
        Poll::Ready(Ok(sent))
    }

    /// Sends all of `bytes`. Dropping the future leaves a part of them sent, and does not tell how much.
    ///
    /// # Errors
    ///
    /// As [`poll_send`](Stream::poll_send).
    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = poll_fn(|cx| self.poll_send(cx, bytes)).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Ends this side: the peer reads to the end of what was sent, and then the end.
    ///
    /// # Errors
    ///
    /// What `shutdown(2)` says: `ENOTCONN` if the peer has reset the connection.
    pub fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(&self.source).shutdown(Shutdown::Write)
    }

    /// Ends this side, and waits until the peer has ended its own. What it sends meanwhile is thrown away.
    ///
    /// # Errors
    ///
    /// What `recv(2)` says, as `ECONNRESET`.
    pub async fn end_both(&self) -> io::Result<()> {
        // A peer that has reset the connection is told of by what is received.
        drop(self.shutdown_write());
        while self.receive(&mut [0; 512]).await? > 0 {
            end_long_turn().await;
        }
        Ok(())
    }

    /// Sends small segments at once instead of gathering them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        SockRef::from(&self.source).set_tcp_nodelay(on)
    }

    /// Is writable only while fewer bytes than that wait in the kernel to be sent (`TCP_NOTSENT_LOWAT`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_unsent_max(&self, bytes: u32) -> io::Result<()> {
        SockRef::from(&self.source).set_tcp_notsent_lowat(bytes)
    }

    /// Receives urgent bytes in their place among the others (`SO_OOBINLINE`). A control connection needs it: the
    /// data mark of a telnet interrupt comes as urgent data, and without it the sequence would be torn.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_urgent_inline(&self, on: bool) -> io::Result<()> {
        SockRef::from(&self.source).set_out_of_band_inline(on)
    }

    /// [`peer_closed`] for this connection.
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        peer_closed(&self.source)
    }

    /// Closes a connection on which there was only to send, so that the peer gets all of it.
    ///
    /// To close with something unread resets the connection, and what the peer has not received by then is lost. So what it has
    /// sent, though nobody asked for it, is thrown away first; and whoever has sent something, and may again, is waited for until
    /// it has acknowledged everything, or ended its side. A peer that has sent nothing costs one system call.
    ///
    /// # Errors
    ///
    /// What `recv(2)` says, as `ECONNRESET`, or [`io::ErrorKind::TimedOut`] if the peer acknowledges nothing more for `patience`: it
    /// may not have got all.
    pub async fn close_delivered(self, patience: Option<Duration>) -> io::Result<()> {
        let outcome = match self.try_receive(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Ok(0) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Box::pin(self.outlast(patience)).await,
        };
        self.close().await;
        outcome
    }

    /// Ends this side, and waits until that has arrived; what the peer sends meanwhile is thrown away.
    async fn outlast(&self, patience: Option<Duration>) -> io::Result<()> {
        self.shutdown_write()?;
        let mut thrown_away = vec![0; 64 << 10];
        let (mut unacknowledged, mut since) = (self.source.unacknowledged()?, Instant::now());
        loop {
            match self.try_receive(&mut thrown_away) {
                Ok(0) => return Ok(()),
                Ok(_) => end_long_turn().await,
                // What is acknowledged wakes nobody.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep_until(Instant::now() + LOOK_EVERY).await;
                }
                Err(error) => return Err(error),
            }
            // The end is acknowledged last of all.
            let left = self.source.unacknowledged()?;
            if left == 0 {
                return Ok(());
            }
            if left < unacknowledged {
                (unacknowledged, since) = (left, Instant::now());
            }
            if patience.is_some_and(|patience| since.elapsed() >= patience) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Closes the connection; when this returns, nothing in the kernel refers to its descriptor. What was sent is
    /// still delivered, unless something that the peer has sent is unread.
    pub async fn close(self) {
        self.source.close().await;
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// Whether the peer has ended its side, or the connection is broken. One system call; bytes that the peer sent
/// before may still wait to be received.
#[must_use]
pub fn peer_closed(fd: impl AsFd) -> bool {
    has_events(fd, PollFlags::from_bits_retain(libc::POLLRDHUP))
}

/// The address that a socket is bound to.
pub(super) fn local_address(socket: &impl AsFd) -> io::Result<SocketAddr> {
    internet_address(&SockRef::from(socket).local_addr()?)
}

/// An address of the internet families.
fn internet_address(address: &SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}
