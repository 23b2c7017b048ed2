//! A control connection in the hand of the laboratory, for dialogues that no client would hold.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context as _, bail, ensure};

use crate::lab::PATIENCE;
use crate::lab::namespace::Namespace;

/// A control connection that is logged in.
#[derive(Debug)]
pub(crate) struct Control {
    stream: BufReader<TcpStream>,
    /// All lines so far, as `C: ` and `S: `.
    dialogue: String,
}

impl Control {
    /// Connects from a machine and logs in as `anonymous`.
    pub(crate) fn open(machine: &Namespace, server: SocketAddr) -> anyhow::Result<Self> {
        let stream = machine.within(|| TcpStream::connect_timeout(&server, PATIENCE))?;
        Self::log_in(stream.with_context(|| format!("cannot connect to {server}"))?)
    }

    /// Logs in on a connection that was just made.
    pub(crate) fn log_in(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut control = Self { stream: BufReader::new(stream), dialogue: String::new() };
        control.expect(220)?;
        control.send("USER anonymous")?;
        control.expect(331)?;
        control.ask("PASS lab@", 230)?;
        control.ask("TYPE I", 200)?;
        Ok(control)
    }

    /// Sends a command and takes no reply.
    pub(crate) fn send(&mut self, command: &str) -> anyhow::Result<()> {
        // Writing to a string cannot fail.
        let _ = writeln!(self.dialogue, "C: {command}");
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        Ok(())
    }

    /// Takes a reply, and gives its last line.
    pub(crate) fn reply(&mut self) -> anyhow::Result<String> {
        loop {
            let mut line = String::new();
            let received = self.stream.read_line(&mut line);
            let length = received.with_context(|| format!("no reply\n{}", self.dialogue))?;
            ensure!(length > 0, "the server closed the control connection\n{}", self.dialogue);
            let line = line.trim_end();
            let _ = writeln!(self.dialogue, "S: {line}");
            let mut bytes = line.bytes();
            if bytes.by_ref().take(3).all(|byte| byte.is_ascii_digit()) && bytes.next() == Some(b' ') {
                return Ok(line.to_owned());
            }
        }
    }

    /// Takes a reply, which has to have this code.
    pub(crate) fn expect(&mut self, code: u16) -> anyhow::Result<String> {
        let reply = self.reply()?;
        if !reply.starts_with(&code.to_string()) {
            bail!("expected {code}, got {reply}\n{}", self.dialogue);
        }
        Ok(reply)
    }

    /// Sends a command and takes its reply, which has to have this code.
    pub(crate) fn ask(&mut self, command: &str, code: u16) -> anyhow::Result<String> {
        self.send(command)?;
        self.expect(code)
    }

    /// Where the reply to `PASV` says to connect to.
    pub(crate) fn pasv(&mut self) -> anyhow::Result<SocketAddr> {
        let reply = self.ask("PASV", 227)?;
        parse_227(&reply).with_context(|| format!("cannot read {reply}"))
    }

    /// The argument of `PORT` for an address.
    pub(crate) fn port_argument(address: SocketAddr) -> anyhow::Result<String> {
        let IpAddr::V4(ip) = address.ip() else { bail!("PORT needs IPv4") };
        let [a, b, c, d] = ip.octets();
        let [high, low] = address.port().to_be_bytes();
        Ok(format!("{a},{b},{c},{d},{high},{low}"))
    }

    /// The `EPRT` command for a port of this end.
    pub(crate) fn eprt(&self, port: u16) -> anyhow::Result<String> {
        let ip = self.local_ip()?;
        let family = if ip.is_ipv4() { 1 } else { 2 };
        Ok(format!("EPRT |{family}|{ip}|{port}|"))
    }

    /// The address of this end.
    pub(crate) fn local_ip(&self) -> anyhow::Result<IpAddr> {
        Ok(self.stream.get_ref().local_addr()?.ip())
    }

    /// All that was said.
    pub(crate) fn dialogue(&self) -> &str {
        &self.dialogue
    }
}

fn parse_227(reply: &str) -> Option<SocketAddr> {
    let first = reply.get(3..)?.find(|byte: char| byte.is_ascii_digit())? + 3;
    let numbers = reply[first..].split(|byte: char| !byte.is_ascii_digit() && byte != ',').next()?;
    let numbers: Vec<u8> = numbers.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [a, b, c, d, high, low] = *numbers.as_slice() else { return None };
    Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_227_reply_is_read_in_whatever_form() {
        let expected: SocketAddr = "198.18.0.40:50000".parse().unwrap();
        for reply in ["227 Entering Passive Mode (198,18,0,40,195,80).", "227 =198,18,0,40,195,80"] {
            assert_eq!(parse_227(reply), Some(expected), "{reply}");
        }
        assert_eq!(parse_227("227 nothing"), None);
        assert_eq!(parse_227("227 (1,2,3)"), None);
    }
}
