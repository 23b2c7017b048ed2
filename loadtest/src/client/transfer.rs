//! Transfers.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use protocol::command::Command;
use runtime::{Stream, end_long_turn, sleep_until};

use super::control::excerpt;
use super::data::TRANSFER_ENDED;
use super::{Control, DataEnd};
use crate::content::Content;
use crate::failure::{Cause, Failure};
use crate::measure::Step;

/// So many pieces in a row, and the other sessions of the worker have their turn. The network may always be ready, and then nobody
/// else would ever be, not even the clock.
const PIECES_IN_A_ROW: u32 = 16;

/// How long a server may take to say why it broke a data connection.
const WHY_MAX: Duration = Duration::from_secs(1);

/// What is received or sent at a time.
const DATA_BYTES: usize = 256 * 1024;

thread_local! {
    static DATA: RefCell<Vec<u8>> = RefCell::new(vec![0; DATA_BYTES]);
}

impl Control {
    /// `RETR` over a data connection: the contents are compared as they come.
    pub(crate) async fn retrieve(
        &mut self,
        data: DataEnd,
        path: &[u8],
        content: &Content,
    ) -> Result<(), Failure> {
        let mut check = content.check();
        let take = |bytes: &[u8]| {
            check.take(bytes);
            // A server may send without end.
            if check.has_too_much() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.download(data, &Command::Retr(path), take).await?;
        check.finish().map_err(|cause| self.slot.failed(cause))
    }

    /// A command whose answer is a download, given to `take` piece by piece, until that wants no more. The control connection is
    /// of no more use then.
    pub(crate) async fn download(
        &mut self,
        data: DataEnd,
        command: &Command<'_>,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let (stream, began) = self.begin_transfer(data, command).await?;
        let mut first = true;
        self.slot.at(Step::FirstByte);
        for piece in (0..PIECES_IN_A_ROW).cycle() {
            if piece == PIECES_IN_A_ROW - 1 {
                end_long_turn().await;
            }
            let received = poll_fn(|context| {
                DATA.with_borrow_mut(|buffer| {
                    let received = stream.poll_receive(context, buffer);
                    received.map(|received| received.map(|length| (length, take(&buffer[..length]))))
                })
            });
            let (length, goes_on) = match received.await {
                Ok(received) => received,
                Err(error) => return Err(self.broken(error).await),
            };
            if length == 0 {
                break;
            }
            if first {
                first = false;
                self.slot.done(Step::FirstByte, began);
                self.slot.at(Step::Completion);
            } else {
                self.slot.touch(Instant::now());
            }
            self.slot.moved(length as u64);
            if goes_on.is_break() {
                return Ok(());
            }
        }
        drop(stream);
        self.end_transfer(began).await
    }

    /// `STOR` over a data connection: `length` bytes, which `fill` makes piece by piece from their offsets.
    pub(crate) async fn store(
        &mut self,
        data: DataEnd,
        path: &[u8],
        length: u64,
        mut fill: impl FnMut(u64, &mut [u8]),
    ) -> Result<(), Failure> {
        let (stream, began) = self.begin_transfer(data, &Command::Stor(path)).await?;
        let (mut sent, mut pieces) = (0, 0_u32);
        while sent < length {
            pieces += 1;
            if pieces == PIECES_IN_A_ROW {
                pieces = 0;
                end_long_turn().await;
            }
            let size = usize::try_from(length - sent).unwrap_or(usize::MAX).min(DATA_BYTES);
            // Made afresh after each piece that the kernel took in part: pieces are made from their offsets.
            let piece = poll_fn(|context| {
                DATA.with_borrow_mut(|buffer| {
                    fill(sent, &mut buffer[..size]);
                    stream.poll_send(context, &buffer[..size])
                })
            });
            let count = match piece.await {
                Ok(count) => count,
                Err(error) => return Err(self.broken(error).await),
            };
            sent += count as u64;
            self.slot.touch(Instant::now());
            self.slot.moved(count as u64);
        }
        drop(stream);
        self.end_transfer(began).await
    }

    /// Sends a transfer's command, and takes its first reply.
    pub(crate) async fn begin_transfer(
        &mut self,
        data: DataEnd,
        command: &Command<'_>,
    ) -> Result<(Stream, Instant), Failure> {
        let began = self.slot.at(Step::Completion);
        self.send(command).await?;
        self.expect(&[150, 125]).await?;
        let stream = match data {
            DataEnd::Connected(stream) => stream,
            DataEnd::Listening(listener) => {
                self.slot.at(Step::DataConnect);
                let stream = listener.accept(self).await?;
                self.slot.done(Step::DataConnect, began);
                stream
            }
        };
        Ok((stream, began))
    }

    /// The failure of a data connection that broke. Where the server says why, that is the failure: of a disk that is full, a client
    /// sees the connection reset before it sees the reply.
    async fn broken(&mut self, error: io::Error) -> Failure {
        let slot = Rc::clone(&self.slot);
        let failure = slot.failed(error);
        if self.ended {
            return failure;
        }
        let longest = WHY_MAX.min(slot.plan.timeout / 2);
        let mut reply = pin!(self.reply(|reply| (reply.code, excerpt(reply.text))));
        let mut end = pin!(sleep_until(Instant::now() + longest));
        let said = poll_fn(|context| match reply.as_mut().poll(context) {
            Poll::Ready(said) => Poll::Ready(said.ok()),
            Poll::Pending => end.as_mut().poll(context).map(|()| None),
        });
        match said.await {
            Some((code, text)) if code.number() >= 400 => slot.failed(Cause::Reply { code, text }),
            _ => failure,
        }
    }

    async fn end_transfer(&mut self, began: Instant) -> Result<(), Failure> {
        self.slot.at(Step::Completion);
        if !std::mem::take(&mut self.ended) {
            self.expect(&TRANSFER_ENDED).await?;
        }
        self.slot.done(Step::Completion, began);
        Ok(())
    }
}
