//! The control connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};

use protocol::command::{Command, Password, TypeCode};
use protocol::line::LINE_BYTES_MAX;
use protocol::reply::{Code, ReceivedReply, ReplyDecoder};
use runtime::Stream;

use super::connect;
use super::unread::Unread;
use crate::failure::{Cause, Failure};
use crate::measure::Step;
use crate::plan::{DataMode, Side};
use crate::slot::Slot;

/// The longest reply that is taken: room for a long STAT.
const REPLY_BYTES_MAX: usize = 1024 * 1024;
/// How much of a reply's text an error tells.
const TEXT_BYTES_MAX: usize = 160;
/// What is received at a time; shared by the sessions of a worker, so that a waiting session holds no buffer.
const RECEIVED_BYTES: usize = 64 * 1024;

thread_local! {
    static RECEIVED: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVED_BYTES]);
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A control connection of one slot. Dropping it closes it.
pub(crate) struct Control {
    pub(super) slot: Rc<Slot>,
    pub(super) data: DataMode,
    side: Side,
    stream: Stream,
    decoder: ReplyDecoder,
    /// What came behind the last reply.
    unread: Unread,
    /// The reply that ends a transfer came before its data connection was looked at.
    pub(super) ended: bool,
}

impl Control {
    /// Connects and takes the greeting.
    pub(crate) async fn open(slot: &Rc<Slot>) -> Result<Self, Failure> {
        Self::open_at(slot, Side::Server).await
    }

    async fn open_at(slot: &Rc<Slot>, side: Side) -> Result<Self, Failure> {
        let began = slot.at(Step::Connect);
        let address = slot.plan.endpoint(side).address;
        let stream = connect(address, slot.source_for(address)).await.map_err(|error| slot.failed(error))?;
        slot.done(Step::Connect, began);
        let decoder = ReplyDecoder::new(LINE_BYTES_MAX, REPLY_BYTES_MAX);
        let data = slot.plan.data;
        let mut control = Self {
            slot: Rc::clone(slot),
            data,
            side,
            stream,
            decoder,
            unread: Unread::default(),
            ended: false,
        };
        let began = slot.at(Step::Greeting);
        // A server may say first that it will be ready (RFC 959 section 5.4); that is part of the wait, and of its timeout.
        if control.expect(&[220, 120]).await?.number() == 120 {
            control.expect(&[220]).await?;
        }
        slot.done(Step::Greeting, began);
        Ok(control)
    }

    /// Connects and logs in; bytes will be moved as they are.
    pub(crate) async fn ready(slot: &Rc<Slot>) -> Result<Self, Failure> {
        Self::ready_at(slot, Side::Server).await
    }

    /// As [`ready`](Self::ready), at that server.
    pub(crate) async fn ready_at(slot: &Rc<Slot>, side: Side) -> Result<Self, Failure> {
        let mut control = Self::open_at(slot, side).await?;
        control.login().await?;
        control.command(&Command::Type(TypeCode::Image), &[200]).await?;
        Ok(control)
    }

    /// `USER`, and `PASS` where it is asked for.
    pub(crate) async fn login(&mut self) -> Result<(), Failure> {
        let plan = Arc::clone(&self.slot.plan);
        let endpoint = plan.endpoint(self.side);
        let began = self.slot.at(Step::Login);
        self.send(&Command::User(&endpoint.user)).await?;
        if self.expect(&[230, 331]).await?.number() == 331 {
            self.send(&Command::Pass(Password::new(&endpoint.password))).await?;
            self.expect(&[230, 202]).await?;
        }
        self.slot.done(Step::Login, began);
        Ok(())
    }

    /// A command with one reply, timed as [`Step::Command`].
    pub(crate) async fn command(&mut self, command: &Command<'_>, expected: &[u16]) -> Result<Code, Failure> {
        let began = self.slot.at(Step::Command);
        self.send(command).await?;
        let code = self.expect(expected).await?;
        self.slot.done(Step::Command, began);
        Ok(code)
    }

    /// `QUIT` and its reply.
    pub(crate) async fn quit(mut self) -> Result<(), Failure> {
        self.command(&Command::Quit, &[221]).await.map(drop)
    }

    /// Sends a command's line.
    pub(crate) async fn send(&mut self, command: &Command<'_>) -> Result<(), Failure> {
        let mut line = LINE.take();
        line.clear();
        command.encode(&mut line);
        let sent = self.send_batch(&line).await;
        LINE.set(line);
        sent
    }

    /// Sends the lines of some commands, to which nothing was replied yet.
    pub(crate) async fn send_batch(&mut self, lines: &[u8]) -> Result<(), Failure> {
        if !self.unread.is_empty() {
            return Err(self.slot.failed(Cause::Unasked(excerpt(self.unread.rest()))));
        }
        self.send_bytes(lines).await
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.send_all(bytes).await.map_err(|error| self.slot.failed(error))
    }

    /// Takes the next reply, which has to have one of these codes.
    pub(crate) async fn expect(&mut self, expected: &[u16]) -> Result<Code, Failure> {
        self.expect_text(expected, |_| ()).await.map(|(code, ())| code)
    }

    /// As [`expect`](Self::expect), and reads its text.
    pub(crate) async fn expect_text<T>(
        &mut self,
        expected: &[u16],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<(Code, T), Failure> {
        let slot = Rc::clone(&self.slot);
        let taken = self
            .reply(|reply| {
                if expected.contains(&reply.code.number()) {
                    return Ok((reply.code, read(reply.text)));
                }
                Err(Cause::Reply { code: reply.code, text: excerpt(reply.text) })
            })
            .await?;
        taken.map_err(|cause| slot.failed(cause))
    }

    /// Takes the next reply, whatever it is.
    pub(crate) async fn reply<T>(&mut self, read: impl FnOnce(ReceivedReply<'_>) -> T) -> Result<T, Failure> {
        let mut read = Some(read);
        poll_fn(|context| {
            loop {
                if !self.unread.is_empty() {
                    let mut rest = self.unread.rest();
                    let length = rest.len();
                    let found = next_reply(&mut self.decoder, &mut rest, &mut read);
                    let used = length - rest.len();
                    self.unread.take(used);
                    if let Some(found) = found {
                        return Poll::Ready(found);
                    }
                }
                let received = RECEIVED.with_borrow_mut(|buffer| self.stream.poll_receive(context, buffer));
                let length = match ready!(received) {
                    Ok(0) => return Poll::Ready(Err(Cause::Closed)),
                    Ok(length) => length,
                    Err(error) => return Poll::Ready(Err(error.into())),
                };
                let found = RECEIVED.with_borrow(|buffer| {
                    let mut rest = &buffer[..length];
                    let found = next_reply(&mut self.decoder, &mut rest, &mut read);
                    self.unread.add(rest);
                    found
                });
                if let Some(found) = found {
                    return Poll::Ready(found);
                }
            }
        })
        .await
        .map_err(|cause| self.slot.failed(cause))
    }

    /// From now on data connections are asked for so.
    pub(crate) fn prefer(&mut self, data: DataMode) {
        self.data = data;
    }

    /// Whether the server tells hashes of files.
    pub(crate) fn tells_hashes(&self) -> bool {
        self.slot.plan.endpoint(self.side).tells_hashes
    }

    /// The server's address, which data connections go to.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.stream.peer()
    }

    /// The address that this session comes from.
    pub(crate) fn local_ip(&self) -> Result<IpAddr, Failure> {
        self.stream.local().map(|local| local.ip()).map_err(|error| self.slot.failed(error))
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }
}

/// Takes a reply off `input`, if there is a whole one.
fn next_reply<T>(
    decoder: &mut ReplyDecoder,
    input: &mut &[u8],
    read: &mut Option<impl FnOnce(ReceivedReply<'_>) -> T>,
) -> Option<Result<T, Cause>> {
    match decoder.next(input) {
        Ok(Some(reply)) => read.take().map(|read| Ok(read(reply))),
        Ok(None) => None,
        Err(error) => Some(Err(Cause::NotFtp(error))),
    }
}

/// The beginning of a reply's text, printable.
pub(crate) fn excerpt(text: &[u8]) -> String {
    text[..text.len().min(TEXT_BYTES_MAX)].escape_ascii().to_string()
}
