//! `ringftpd health`: asks the server of a configuration whether it takes clients, as a stranger would.
//!
//! For health checks of containers, whose images have neither a shell nor another client.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use config::{Config, Listener, ListenerKind, ProxyProtocol};

/// How long the whole question may take: whoever asks for health has a deadline as well, thirty seconds mostly.
const PATIENCE: Duration = Duration::from_secs(5);

/// As much of an answer as is read in search of its first line.
const LINE_BYTES_MAX: u64 = 512;

/// A header of the PROXY protocol, version 2, with which a proxy says that it connects for itself (command LOCAL, no
/// addresses), as it does to see whether the server is well.
const PROXY_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// What is asked, of whom, and what a server that is well answers.
struct Question {
    address: SocketAddr,
    /// What stands in the configuration for the address.
    key: &'static str,
    request: &'static [u8],
    /// What the first line of a good answer begins with.
    good: &'static str,
    /// What to say where nothing comes back.
    silence: &'static str,
}

/// Asks, and gives the answer; or the reason why the server is not ready.
pub(crate) fn ask(config: &Config) -> anyhow::Result<String> {
    let question = question(config)?;
    let Question { key, silence, .. } = question;
    if question.address.port() == 0 {
        bail!("{key} leaves the port to the kernel, so that it cannot be asked there; name one");
    }
    let deadline = Instant::now() + PATIENCE;
    let mut stream = connect(question.address, deadline)
        .with_context(|| format!("no connection to {} ({key})", question.address))?;
    let asked =
        |error| anyhow::Error::new(error).context(format!("{} ({key}) does not answer", question.address));
    let line = first_line(&mut stream, question.request, deadline).or_else(ended).map_err(asked)?;
    if line.is_empty() {
        bail!("{} ({key}) closed the connection without an answer{silence}", question.address);
    }
    if !line.starts_with(question.good) {
        bail!("{} ({key}) answers: {line}", question.address);
    }
    Ok(format!("{} answers: {line}", question.address))
}

fn question(config: &Config) -> anyhow::Result<Question> {
    if let Some(address) = config.metrics.address {
        return Ok(Question {
            address,
            key: "metrics.address",
            request: b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            good: "HTTP/1.1 200",
            silence: "",
        });
    }
    let is_plain = |listener: &&Listener| listener.proxy_protocol == ProxyProtocol::Off;
    let ftp = || config.listeners.iter().filter(|listener| listener.kind == ListenerKind::Ftp);
    let listener = ftp().find(is_plain).or_else(|| ftp().next());
    let listener = listener.context("there is no listener for FTP, and metrics.address is not set")?;
    let (request, silence): (&[u8], _) = match listener.proxy_protocol {
        ProxyProtocol::Off => (b"", ""),
        ProxyProtocol::Required => {
            (PROXY_LOCAL, ": is this machine's own address in proxy_networks? Else set metrics.address")
        }
    };
    Ok(Question { address: listener.address, key: "listeners", request, good: "220", silence })
}

/// Connects; to an address that stands for all of this machine's by loopback.
fn connect(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let to = |ip: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), left(deadline)?);
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => to(Ipv4Addr::LOCALHOST.into()),
        // By IPv4 where there is no IPv6: then the server listens there as well.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            to(Ipv6Addr::LOCALHOST.into()).or_else(|_| to(Ipv4Addr::LOCALHOST.into()))
        }
        ip => to(ip),
    }
}

/// Sends a request and reads the first line of the answer, without its end; what is no text in it is escaped.
fn first_line(stream: &mut TcpStream, request: &[u8], deadline: Instant) -> io::Result<String> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request)?;
    let mut line = Vec::new();
    let mut stream = stream.take(LINE_BYTES_MAX);
    let mut received = [0; 64];
    while !line.contains(&b'\n') {
        stream.get_ref().set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut received) {
            Ok(0) => break,
            Ok(length) => line.extend_from_slice(&received[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(out_of_time()),
            Err(error) => return Err(error),
        }
    }
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.trim_ascii_end().escape_ascii().to_string())
}

/// A server that closes before it has read what was sent resets the connection: that is an end like any other.
fn ended(error: io::Error) -> io::Result<String> {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(String::new()),
        _ => Err(error),
    }
}

/// The time until the deadline, which an operation may not wait beyond.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(out_of_time()) } else { Ok(left) }
}

fn out_of_time() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("not within {} s", PATIENCE.as_secs()))
}
