//! The server connects: EPRT and PORT.

use std::net::{SocketAddr, TcpListener};

use protocol::command::{Command, Eprt};
use socket2::SockRef;

use super::control::Lost;
use super::outcome::{Failure, Outcome, read_listing, request_listing};
use super::target::Target;
use super::verdict;
use crate::report::Finding;

/// An active way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Eprt,
    Port,
}

impl Way {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Eprt => "EPRT",
            Self::Port => "PORT",
        }
    }
}

/// Tries both ways. PORT can tell IPv4 alone.
pub(super) fn examine(target: &Target, address: SocketAddr, passive_works: bool) -> Vec<Finding> {
    let ways: &[Way] = if address.is_ipv4() { &[Way::Eprt, Way::Port] } else { &[Way::Eprt] };
    let judge = |way: &Way| {
        let mut local = None;
        let outcome = attempt(target, address, *way, &mut local);
        verdict::active(*way, address, local, &outcome, passive_works)
    };
    ways.iter().map(judge).collect()
}

/// `told` becomes the address that the server is told to connect to.
fn attempt(target: &Target, address: SocketAddr, way: Way, told: &mut Option<SocketAddr>) -> Outcome {
    let mut control = super::open(target, address)?;
    let listener = TcpListener::bind(SocketAddr::new(control.local.ip(), 0)).map_err(Failure::Here)?;
    let local = listener.local_addr().map_err(Failure::Here)?;
    *told = Some(local);
    let command = match (way, local) {
        (Way::Port, SocketAddr::V4(local)) => Command::Port(SocketAddr::V4(local)),
        _ => Command::Eprt(Eprt::Address(local)),
    };
    let answer = control.command(&command)?;
    if !answer.is_success() {
        return Err(Failure::Refused(answer));
    }
    let first = match request_listing(&mut control) {
        Ok(answer) => answer,
        // It still tries to connect: packets are dropped on the way.
        Err(Lost::Silent) => return Err(Failure::NobodyCame(None)),
        Err(lost) => return Err(lost.into()),
    };
    if first.code == 425 {
        return Err(Failure::NobodyCame(Some(first)));
    }
    if !first.is_preliminary() && !first.is_success() {
        return Err(Failure::NotListed(first));
    }
    // In Linux this bounds `accept(2)` as well: socket(7).
    SockRef::from(&listener).set_read_timeout(Some(target.timeout)).map_err(Failure::Here)?;
    match listener.accept() {
        Ok((data, peer)) => read_listing(&mut control, data, peer, &first, target.timeout),
        Err(_) => Err(Failure::NobodyCame(control.answer().ok())),
    }
}
