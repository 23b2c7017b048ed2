//! A session's transfer, from one step to the next, and how it is taken back.

use protocol::line::Frame;
use protocol::session::{Transfer, TransferEnd};
use transfer::{Direction, TransferOptions};

use super::{ControlConnection, RECEIVED};
use crate::rates;
use crate::record::Record;
use crate::transfers::{Running, Step};

/// How many buffers full of input are looked through for an ABOR at once.
const LOOKS_MAX: usize = 8;

/// How much of a client's input may be put aside before no more is looked through for an ABOR, in bytes.
const UNREAD_BYTES_MAX: usize = 128 * 1024;

impl ControlConnection {
    pub(super) fn begin_transfer(&mut self, transfer: Transfer) {
        let log = self.worker.service.transfer_log;
        let record = Record::new(self.label(), self.account.clone(), transfer, self.worker.counters, log);
        let step = Running::open(&self.root, record);
        self.take_step(step);
    }

    pub(super) fn on_transfer_step(&mut self, step: Step) {
        // Bytes moved are a sign of life of the session.
        self.idle.touch(self.now);
        self.answers.transfer_went_on(self.now);
        self.transfer = None;
        self.take_step(step);
    }

    /// Goes on with the transfer, from one step to the next.
    fn take_step(&mut self, step: Step) {
        match step {
            Step::Wait(running) => self.transfer = Some(running),
            Step::Opened(opened, description) => {
                self.session.handle_transfer_opened(&description);
                let connector = self.connector(opened.setup());
                let options = self.transfer_options(opened.direction());
                self.transfer = Some(opened.begin(connector, options));
            }
            Step::Received(received) => self.transfer = Some(received.settle()),
            Step::Settled(received) => {
                // An upload takes its name only if the client is still there and has not said ABOR.
                if self.client_stands_by() {
                    self.transfer = Some(received.publish(self.worker.settings.get().sync));
                } else {
                    drop(received);
                    self.session.handle_transfer_ended(TransferEnd::Aborted);
                }
            }
            Step::Ended(end) => self.session.handle_transfer_ended(end),
        }
    }

    /// Whether an upload whose data connection ended cleanly was meant to end there.
    fn client_stands_by(&mut self) -> bool {
        self.look_for_abort();
        !self.session.abort_asked() && (self.session.said_goodbye() || !self.stream.peer_closed())
    }

    /// Reads what the client has sent by now, without waiting, and not for ever where it never pauses.
    fn look_for_abort(&mut self) {
        for _ in 0..LOOKS_MAX {
            if self.input_ended || self.unread.len() >= UNREAD_BYTES_MAX {
                break;
            }
            let received = RECEIVED.with_borrow_mut(|buffer| self.stream.try_receive(buffer));
            let Ok(length @ 1..) = received else { break };
            let is_heard = self.is_heard();
            RECEIVED.with_borrow(|buffer| {
                let received = &buffer[..length];
                if is_heard { self.split(received) } else { self.unread.extend_from_slice(received) }
            });
        }
        // What the session does not want yet: more was said than it holds back.
        let mut splitter = self.splitter.clone();
        let mut rest = &self.unread[..];
        while let Some(frame) = splitter.next(&mut rest) {
            if let Frame::Line(line) = frame {
                self.session.handle_line_ahead(line);
            }
        }
    }

    fn transfer_options(&self, direction: Direction) -> TransferOptions {
        let settings = self.worker.settings.get();
        let account = match self.session.user().and_then(|user| settings.logins.rates(user)) {
            Some(rates) => rates,
            // An account that a reload removed.
            None => &self.account_rates,
        };
        TransferOptions {
            route: settings.route,
            cache_policy: settings.cache_policy,
            stall_timeout: Some(settings.deadlines.stall),
            limits: rates::limits(&self.rates, account, &settings.total_rates, direction),
            ..TransferOptions::default()
        }
    }

    /// Takes back what runs. An upload that is being published has ended already, and is told so.
    pub(super) fn abort(&mut self) {
        self.cancel_file_job();
        if self.transfer.as_ref().is_some_and(Running::can_be_aborted) {
            self.transfer = None;
            self.session.handle_transfer_ended(TransferEnd::Aborted);
        }
    }
}
