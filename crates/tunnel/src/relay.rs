//! Moving the bytes of one data connection.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long one side may take no byte of what is ready for it.
const STALL: Duration = Duration::from_secs(300);

/// How long the client may be silent before its kernel is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Has the kernel notice a client that is gone without a word.
pub(crate) fn keep_watch_over(client: &TcpStream) -> io::Result<()> {
    SockRef::from(client)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    client.set_write_timeout(Some(STALL))
}

/// Moves bytes both ways until the connection is over.
///
/// A data connection carries data one way, so it is over when the server has ended it: what it sent has been passed on then.
/// The client's end is passed on, and the server's awaited, which means that it has read all.
pub(crate) fn relay(client: &TcpStream, server: &UnixStream) -> io::Result<()> {
    keep_watch_over(client)?;
    server.set_write_timeout(Some(STALL))?;
    thread::scope(|scope| {
        let upwards = thread::Builder::new().spawn_scoped(scope, || {
            let ended = match io::copy(&mut &*client, &mut &*server) {
                Ok(_) => Shutdown::Write,
                Err(_) => Shutdown::Both,
            };
            // Either fails only where the other side has ended everything already.
            let _ = server.shutdown(ended);
        });
        let moved = match upwards {
            Ok(_) => io::copy(&mut &*server, &mut &*client).map(drop),
            Err(error) => Err(error),
        };
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        moved
    })
}
