//! The client connects: EPSV and PASV.

use std::net::{SocketAddr, TcpStream};

use protocol::command::{Command, Epsv, parse_extended_passive_reply, parse_passive_reply};

use super::control::Control;
use super::outcome::{Failure, Outcome, read_listing, request_listing};
use super::target::Target;
use super::verdict;
use crate::address::Reach;
use crate::report::Finding;

/// How many ports are asked for, to see from what range they come.
const SAMPLES: usize = 8;

/// What was found of the passive ways.
pub(super) struct Passive {
    pub(super) findings: Vec<Finding>,
    /// Whether one of them works.
    pub(super) works: bool,
}

/// A passive way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Epsv,
    Pasv,
}

impl Way {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Epsv => "EPSV",
            Self::Pasv => "PASV",
        }
    }
}

/// Tries both ways, over `control` and over connections of their own. PASV can tell IPv4 alone.
pub(super) fn examine(target: &Target, mut control: Control) -> Passive {
    let address = control.peer;
    let mut findings = Vec::new();
    let extended = sample(&mut control, Way::Epsv);
    let plain = if address.is_ipv4() { sample(&mut control, Way::Pasv) } else { Vec::new() };
    drop(control);
    findings.extend(verdict::ports(&extended, &plain));

    let epsv = attempt(target, address, Way::Epsv, Follow::TheReply);
    let epsv_works = epsv.is_ok();
    findings.push(verdict::epsv(address, &epsv));
    if address.is_ipv6() {
        return Passive { findings, works: epsv_works };
    }
    let pasv = attempt(target, address, Way::Pasv, Follow::TheReply);
    // Whether the port is the trouble, or the address that was told.
    let told = plain.first().map(SocketAddr::ip).filter(|told| *told != address.ip());
    let disregarding = match (&pasv, told) {
        (Err(_), Some(_)) => Some(attempt(target, address, Way::Pasv, Follow::TheControlConnection)),
        _ => None,
    };
    findings.push(verdict::pasv(address, told, &pasv, disregarding.as_ref(), epsv_works));
    let works = epsv_works || pasv.is_ok() || disregarding.is_some_and(|outcome| outcome.is_ok());
    Passive { findings, works }
}

/// The addresses of several replies; none where the server refuses.
fn sample(control: &mut Control, way: Way) -> Vec<SocketAddr> {
    (0..SAMPLES).map_while(|_| set_up(control, way).ok()).collect()
}

/// Where the server says that it waits.
fn set_up(control: &mut Control, way: Way) -> Result<SocketAddr, Failure> {
    let command = match way {
        Way::Epsv => Command::Epsv(Epsv::SameFamily),
        Way::Pasv => Command::Pasv,
    };
    let answer = control.command(&command)?;
    if !answer.is_success() {
        return Err(Failure::Refused(answer));
    }
    let told = match way {
        Way::Epsv => {
            parse_extended_passive_reply(&answer.text).map(|port| SocketAddr::new(control.peer.ip(), port))
        }
        Way::Pasv => parse_passive_reply(&answer.text).map(SocketAddr::V4),
    };
    told.ok_or(Failure::Unreadable(answer))
}

/// Which address the client connects to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    TheReply,
    /// As curl and browsers do, whatever the reply says.
    TheControlConnection,
}

fn attempt(target: &Target, address: SocketAddr, way: Way, follow: Follow) -> Outcome {
    let mut control = super::open(target, address)?;
    let mut told = set_up(&mut control, way)?;
    if follow == Follow::TheControlConnection {
        told.set_ip(address.ip());
    }
    // No server may send this client to its own machine's services.
    let is_here = matches!(Reach::of(told.ip()), Reach::Loopback | Reach::Nowhere);
    if is_here && Reach::of(address.ip()) != Reach::Loopback {
        return Err(Failure::Misled(told));
    }
    let data = TcpStream::connect_timeout(&told, target.timeout)
        .map_err(|error| Failure::Unreachable { address: told, error })?;
    let first = request_listing(&mut control)?;
    if !first.is_preliminary() && !first.is_success() {
        return Err(Failure::NotListed(first));
    }
    read_listing(&mut control, data, told, &first, target.timeout)
}
