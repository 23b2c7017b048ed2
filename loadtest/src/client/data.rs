//! Data connections: made to the server, or taken from it.

use std::future::{Future as _, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use protocol::command::{Command, Eprt, Epsv, parse_extended_passive_reply, parse_passive_reply};
use runtime::{ListenOptions, Listener, Stream};

use super::connect;
use super::control::{Control, excerpt};
use crate::failure::{Cause, Failure};
use crate::measure::Step;
use crate::plan::DataMode;

/// Where the data connection of the next transfer comes from.
#[derive(Debug)]
pub(crate) enum DataEnd {
    /// This client connected.
    Connected(Stream),
    /// The server connects here.
    Listening(DataListener),
}

/// The replies that say that a transfer is whole.
pub(crate) const TRANSFER_ENDED: [u16; 2] = [226, 250];

/// A listener for one data connection of the server's.
#[derive(Debug)]
pub(crate) struct DataListener {
    listener: Listener,
    control: SocketAddr,
}

impl Control {
    /// `EPSV`, or `PASV` where it has to be: the address that the server listens on.
    ///
    /// What host PASV names is passed over, as curl does: behind NAT it is often wrong.
    pub(crate) async fn passive(&mut self) -> Result<SocketAddr, Failure> {
        let named = self.passive_as_named().await?;
        Ok(SocketAddr::new(self.peer().ip(), named.port()))
    }

    /// As [`passive`](Self::passive), with the host that PASV names: another server may have to connect to it.
    pub(crate) async fn passive_as_named(&mut self) -> Result<SocketAddr, Failure> {
        let began = self.slot.at(Step::Passive);
        let ip = self.peer().ip();
        let address = if self.data == DataMode::Pasv {
            self.send(&Command::Pasv).await?;
            let parse =
                |text: &[u8]| parse_passive_reply(text).map(SocketAddr::V4).ok_or_else(|| excerpt(text));
            self.expect_text(&[227], parse).await?.1
        } else {
            self.send(&Command::Epsv(Epsv::SameFamily)).await?;
            let parse = |text: &[u8]| {
                let port = parse_extended_passive_reply(text);
                port.map(|port| SocketAddr::new(ip, port)).ok_or_else(|| excerpt(text))
            };
            self.expect_text(&[229], parse).await?.1
        };
        let address = address.map_err(|text| self.slot.failed(Cause::NoPort(text)))?;
        self.slot.done(Step::Passive, began);
        Ok(address)
    }

    /// Connects to a passive port.
    pub(crate) async fn connect_data(&mut self, address: SocketAddr) -> Result<Stream, Failure> {
        let began = self.slot.at(Step::DataConnect);
        let stream =
            connect(address, self.slot.source_for(address)).await.map_err(|error| self.slot.failed(error))?;
        self.slot.done(Step::DataConnect, began);
        Ok(stream)
    }

    /// A passive port and a connection to it.
    pub(crate) async fn open_data(&mut self) -> Result<DataEnd, Failure> {
        let address = self.passive().await?;
        self.connect_data(address).await.map(DataEnd::Connected)
    }

    /// Listens, and tells the server by `EPRT`, or `PORT` where it has to be.
    pub(crate) async fn listen_data(&mut self) -> Result<DataListener, Failure> {
        let ip: IpAddr = self.local_ip()?;
        let options = ListenOptions { backlog: 4, ..ListenOptions::default() };
        let listener =
            Listener::bind(SocketAddr::new(ip, 0), options).map_err(|error| self.slot.failed(error))?;
        let began = self.slot.at(Step::Active);
        self.active(listener.local()).await?;
        self.slot.done(Step::Active, began);
        Ok(DataListener { listener, control: self.peer() })
    }
}

impl Control {
    /// `EPRT`, or `PORT` where it has to be: where the server is to connect to.
    pub(crate) async fn active(&mut self, address: SocketAddr) -> Result<(), Failure> {
        if self.data == DataMode::Pasv {
            self.send(&Command::Port(address)).await?;
        } else {
            self.send(&Command::Eprt(Eprt::Address(address))).await?;
        }
        self.expect(&[200]).await.map(drop)
    }
}

impl DataListener {
    /// Takes the server's connection, and looks where it comes from.
    pub(super) async fn accept(self, control: &mut Control) -> Result<Stream, Failure> {
        // A refusal of the transfer comes by the control connection: both are waited for. A small file may be through,
        // and its last reply here, before the connection that brought it is looked at.
        let slot = Rc::clone(&control.slot);
        let mut ended = false;
        // It is often here with the reply, and then nothing has to be waited for.
        let stream = if let Ok((accepted, _)) = self.listener.try_accept() {
            accepted.into_stream().map_err(|error| slot.failed(error))?
        } else {
            let mut reply = pin!(control.reply(|reply| (reply.code, excerpt(reply.text))));
            let accepted = poll_fn(|context| {
                loop {
                    if let Poll::Ready(accepted) = self.listener.poll_accept(context) {
                        let stream = accepted.and_then(|(accepted, _)| accepted.into_stream());
                        return Poll::Ready(stream.map_err(|error| slot.failed(error)));
                    }
                    if ended {
                        return Poll::Pending;
                    }
                    match ready!(reply.as_mut().poll(context)) {
                        Ok((code, _)) if TRANSFER_ENDED.contains(&code.number()) => ended = true,
                        Ok((code, text)) => {
                            return Poll::Ready(Err(slot.failed(Cause::Reply { code, text })));
                        }
                        Err(failure) => return Poll::Ready(Err(failure)),
                    }
                }
            });
            accepted.await?
        };
        control.ended = ended;
        let peer = stream.peer();
        if peer.ip() != self.control.ip() {
            let what = format!("{peer}, while the control connection goes to {}", self.control);
            return Err(slot.failed(Cause::WrongPeer(what)));
        }
        let expected = self.control.port().wrapping_sub(1);
        slot.remark(if peer.port() == expected {
            "connect-backs from the control port less one"
        } else {
            "connect-backs from another port"
        });
        Ok(stream)
    }
}
