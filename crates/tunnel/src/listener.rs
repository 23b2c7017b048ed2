//! Listening sockets that another thread can close under a blocked `accept`.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use socket2::SockRef;

/// A listening socket of this machine's TCP. Clones are the same socket.
#[derive(Debug, Clone)]
pub(crate) struct Listener(Arc<TcpListener>);

/// A listening Unix socket. Clones are the same socket.
#[derive(Debug, Clone)]
pub(crate) struct PrivateListener(Arc<UnixListener>);

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(Arc::new(TcpListener::bind(address)?)))
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for a connection. An error after [`Listener::close`] is that end.
    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept()
    }

    /// Ends the listening, and with it an `accept` that waits. Connections that were not accepted yet are reset.
    pub(crate) fn close(&self) {
        // Linux ends the listening here, not only when the last descriptor is gone. A second time it fails, and may.
        let _ = SockRef::from(&*self.0).shutdown(Shutdown::Both);
    }
}

impl PrivateListener {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(UnixListener::bind(path)?)))
    }

    /// Waits for a connection. An error after [`PrivateListener::close`] is that end.
    pub(crate) fn accept(&self) -> io::Result<UnixStream> {
        self.0.accept().map(|(stream, _)| stream)
    }

    /// Refuses further connections. `accept` still gives those that came before, and fails then.
    pub(crate) fn close(&self) {
        let _ = SockRef::from(&*self.0).shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn closing_ends_an_accept_that_waits() {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let waiting = listener.clone();
        let accepted = thread::spawn(move || waiting.accept());
        listener.close();
        assert!(accepted.join().unwrap().is_err());
        assert!(TcpStream::connect(listener.address().unwrap()).is_err());
    }

    #[test]
    fn a_private_listener_gives_what_came_before_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = PrivateListener::bind(&path).unwrap();
        let _before = UnixStream::connect(&path).unwrap();
        listener.close();
        assert!(UnixStream::connect(&path).is_err());
        assert!(listener.accept().is_ok());
        assert!(listener.accept().is_err());
    }
}
