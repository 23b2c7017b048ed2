//! The counting of a session's commands and their replies.

use std::time::Instant;

use protocol::command::VerbNumber;
use protocol::reply::Code;

use crate::metrics::WorkerCounters;

/// What is known of the commands that wait for their reply.
#[derive(Debug)]
pub(crate) struct Answers {
    counters: &'static WorkerCounters,
    /// When the last command came, or the transfer ended that it had to wait for.
    asked_at: Instant,
    /// The command that runs a transfer: its first reply is said, the last one is not.
    transferring: Option<VerbNumber>,
    /// First replies that are not sent yet.
    unsent: u64,
}

impl Answers {
    pub(crate) fn new(counters: &'static WorkerCounters, now: Instant) -> Self {
        Self { counters, asked_at: now, transferring: None, unsent: 0 }
    }

    /// Commands came.
    pub(crate) fn asked(&mut self, at: Instant) {
        self.asked_at = at;
    }

    /// A transfer has come further. What waits behind one that was begun has its turn now, and did not wait for the server.
    pub(crate) fn transfer_went_on(&mut self, at: Instant) {
        if self.transferring.is_some() {
            self.asked_at = at;
        }
    }

    /// There is a reply, to a command if it is one.
    pub(crate) fn replied(&mut self, code: Code, to: Option<VerbNumber>) {
        let Some(verb) = to else { return };
        if code.class() == 1 {
            self.transferring = Some(verb);
            self.unsent += 1;
            return;
        }
        self.counters.on_command(verb, code);
        if self.transferring.take_if(|transferring| *transferring == verb).is_none() {
            self.unsent += 1;
        }
    }

    /// The kernel has all replies there were.
    pub(crate) fn sent(&mut self) {
        if self.unsent > 0 {
            self.counters.reply_latency.record(self.asked_at.elapsed(), self.unsent);
            self.unsent = 0;
        }
    }
}
