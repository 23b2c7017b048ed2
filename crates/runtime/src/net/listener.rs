//! Listening sockets.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::poll::PollFlags;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::stream::{self, Stream};
use crate::source::{Interest, Source, has_events};

/// How a listening socket is made.
#[derive(Debug, Clone, Copy)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
    /// Keeps an IPv6 socket from taking IPv4 connections too.
    pub only_v6: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { backlog: 1024, only_v6: true }
    }
}

/// A listening socket that no worker has yet: it can be bound on one thread and given to another.
#[derive(Debug)]
pub struct BoundListener {
    fd: OwnedFd,
    local: SocketAddr,
}

impl BoundListener {
    /// Binds `address` and listens. Port 0 takes a free one.
    ///
    /// `SO_REUSEADDR` is set, so that connections in TIME_WAIT do not keep a restarted server from its port.
    ///
    /// # Errors
    ///
    /// What `socket(2)`, `bind(2)` and `listen(2)` say: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`.
    pub fn bind(address: SocketAddr, options: ListenOptions) -> io::Result<BoundListener> {
        let socket = new_socket(address, options)?;
        socket.bind(&address.into())?;
        listen(socket, options)
    }

    /// Binds `address` with `sockets` sockets, among which the kernel spreads connections (`SO_REUSEPORT`). Port 0
    /// takes one free port for all.
    ///
    /// Sockets that share a port do so with any other process of this user, so that a second server could come in and
    /// take half of the clients. Therefore the first one binds alone, as by [`BoundListener::bind`], and begins to
    /// share only when it has the port.
    ///
    /// # Errors
    ///
    /// As [`BoundListener::bind`].
    pub fn bind_shared(
        address: SocketAddr,
        options: ListenOptions,
        sockets: usize,
    ) -> io::Result<Vec<BoundListener>> {
        let mut listeners: Vec<BoundListener> = Vec::with_capacity(sockets);
        for _ in 0..sockets {
            let socket = new_socket(address, options)?;
            if let Some(first) = listeners.first() {
                socket.set_reuse_port(true)?;
                socket.bind(&first.local.into())?;
            } else {
                socket.bind(&address.into())?;
                socket.set_reuse_port(true)?;
            }
            listeners.push(listen(socket, options)?);
        }
        Ok(listeners)
    }

    /// Takes a socket that listens already, from a service manager or from a predecessor.
    ///
    /// # Errors
    ///
    /// If it is not a socket of the internet families.
    pub fn from_fd(fd: OwnedFd) -> io::Result<BoundListener> {
        SockRef::from(&fd).set_nonblocking(true)?;
        let local = stream::local_address(&fd)?;
        Ok(BoundListener { fd, local })
    }

    /// The address that it listens on, with the port that it got.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

fn new_socket(address: SocketAddr, options: ListenOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    Ok(socket)
}

fn listen(socket: Socket, options: ListenOptions) -> io::Result<BoundListener> {
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    BoundListener::from_fd(socket.into())
}

impl AsFd for BoundListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<BoundListener> for OwnedFd {
    fn from(bound: BoundListener) -> OwnedFd {
        bound.fd
    }
}

/// How many connections are accepted one after the other before the worker's other tasks have their turn.
const ACCEPTS_IN_A_ROW_MAX: u32 = 32;

/// A listening socket on this worker. Dropping it frees the port, even while an accept waits.
#[derive(Debug)]
pub struct Listener {
    source: Source,
    local: SocketAddr,
    accepts_in_a_row: Cell<u32>,
}

impl Listener {
    /// [`BoundListener::bind`] and [`Listener::from_bound`] in one.
    ///
    /// # Errors
    ///
    /// As those two.
    pub fn bind(address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        Listener::from_bound(BoundListener::bind(address, options)?)
    }

    /// Takes a bound socket to this worker.
    ///
    /// # Errors
    ///
    /// Off a worker's thread.
    pub fn from_bound(BoundListener { fd, local }: BoundListener) -> io::Result<Listener> {
        Ok(Listener { source: Source::new(fd)?, local, accepts_in_a_row: Cell::new(0) })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits for a connection. Dropping the future loses none. However many there are, whoever waits for one after the other leaves
    /// the worker to others now and then.
    ///
    /// A connection that died in the queue is passed over.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOBUFS` and `ENOMEM`: the connection stays in the queue, and the caller decides when to
    /// try again.
    pub async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`accept`](Listener::accept) for a caller that polls.
    ///
    /// # Errors
    ///
    /// As [`accept`](Listener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, SocketAddr)>> {
        let in_a_row = self.accepts_in_a_row.replace(0);
        if in_a_row == ACCEPTS_IN_A_ROW_MAX {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let accepted = ready!(self.source.poll_io(cx, Interest::Readable, accept_now))?;
        self.accepts_in_a_row.set(in_a_row + 1);
        // Connections mostly come one at a time. To ask costs less than an accept in vain, which makes a file first.
        if !has_events(&self.source, PollFlags::POLLIN) {
            self.source.would_block(Interest::Readable);
        }
        Poll::Ready(Ok(accepted))
    }

    /// Takes a connection that waits already.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if none does, else as [`accept`](Listener::accept).
    pub fn try_accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        self.source.try_io(Interest::Readable, accept_now)
    }

    /// Stops listening; when this returns, the port is free.
    pub async fn close(self) {
        self.source.close().await;
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// A connection that no worker has yet: it may go to another core.
pub struct Accepted {
    fd: OwnedFd,
    peer: SocketAddr,
}

impl Accepted {
    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Takes the connection to this worker.
    ///
    /// # Errors
    ///
    /// Off a worker's thread.
    pub fn into_stream(self) -> io::Result<Stream> {
        Stream::new(self.fd, self.peer)
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Accepted> for OwnedFd {
    fn from(accepted: Accepted) -> OwnedFd {
        accepted.fd
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// accept4(2), over connections that died before they were accepted.
fn accept_now(listening: BorrowedFd<'_>) -> io::Result<(Accepted, SocketAddr)> {
    loop {
        match accept4(listening) {
            Ok((fd, peer)) => return Ok((Accepted { fd, peer }, peer)),
            Err(error) if died_in_the_queue(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The errors of accept(2) that belong to the one connection and not to the listener. Linux passes on what already
/// happened to the new socket.
fn died_in_the_queue(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
                | libc::EOPNOTSUPP
                | libc::EPERM
                | libc::ETIMEDOUT
        )
    )
}

fn accept4(listening: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let (fd, peer) = acceptfrom_with(listening, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.ok_or(io::ErrorKind::Unsupported)?;
    Ok((fd, peer.try_into()?))
}
