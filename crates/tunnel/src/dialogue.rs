//! Which reply answers which command.
//!
//! Replies come in the order of the commands, and a client need not wait for one before it sends the next command. So a reply of
//! the tunnel's own takes its place in a queue, and what a command set up becomes valid when its reply comes.

use std::collections::VecDeque;

use protocol::reply::{Code, Reply};

/// How many commands may wait for their replies.
const EXPECTED_MAX: usize = 1024;

/// What a reply will answer. `S` is what an active data connection was set up with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expected<S> {
    /// A command that the tunnel has no part in.
    Other,
    /// A command whose last reply ends a transfer.
    Transfer,
    /// `PASV`.
    Pasv,
    /// `EPSV`.
    Epsv,
    /// `PORT` or `EPRT`.
    Active(S),
    /// A command that never went to the server.
    Own(Reply),
}

/// The commands of a session whose replies have not come.
#[derive(Debug)]
pub(crate) struct Dialogue<S>(VecDeque<Expected<S>>);

/// There are too many.
#[derive(Debug)]
pub(crate) struct TooManyCommands;

impl<S> Dialogue<S> {
    /// The dialogue of a new connection: the server speaks first.
    pub(crate) fn new() -> Self {
        Self(VecDeque::from([Expected::Other]))
    }

    /// A command is about to go to the server, or was answered by the tunnel.
    pub(crate) fn expect(&mut self, expected: Expected<S>) -> Result<(), TooManyCommands> {
        if self.0.len() >= EXPECTED_MAX {
            return Err(TooManyCommands);
        }
        self.0.push_back(expected);
        Ok(())
    }

    /// What the server's reply of this code answers. `None`: more is to come for the same command, or nobody asked.
    pub(crate) fn answer(&mut self, code: Code) -> Option<Expected<S>> {
        if code.class() == 1 {
            return None;
        }
        let position = match code.number() {
            // Only one command has such a reply. Whatever stands before it, the server has passed over.
            227 => self.drop_up_to(|expected| matches!(expected, Expected::Pasv)),
            229 => self.drop_up_to(|expected| matches!(expected, Expected::Epsv)),
            // These end transfers; 225 and 226 answer ABOR too, and come behind the transfer's own.
            225 | 226 | 250 => None,
            // STAT and NOOP may be answered in the middle of a transfer, or before it has begun.
            _ if code.class() == 2 && matches!(self.0.front(), Some(Expected::Transfer)) => {
                self.0.iter().position(|expected| matches!(expected, Expected::Other))
            }
            _ => None,
        };
        self.0.remove(position.unwrap_or(0))
    }

    /// The next of the tunnel's own replies whose turn has come.
    pub(crate) fn poll_own(&mut self) -> Option<Reply> {
        match self.0.pop_front()? {
            Expected::Own(reply) => Some(reply),
            other => {
                self.0.push_front(other);
                None
            }
        }
    }

    /// Drops what the server has passed over, but no reply of the tunnel's own. Gives the place of what was found.
    fn drop_up_to(&mut self, is_meant: impl Fn(&Expected<S>) -> bool) -> Option<usize> {
        let mut position = self.0.iter().position(is_meant)?;
        let mut at = 0;
        while at < position {
            if matches!(self.0.get(at), Some(Expected::Own(_))) {
                at += 1;
            } else {
                self.0.remove(at);
                position -= 1;
            }
        }
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(number: u16) -> Code {
        Code::try_new(number).unwrap()
    }

    /// A dialogue after its greeting.
    fn greeted(expected: Vec<Expected<u32>>) -> Dialogue<u32> {
        let mut dialogue = Dialogue::new();
        for expected in expected {
            dialogue.expect(expected).unwrap();
        }
        assert_eq!(dialogue.answer(code(120)), None);
        assert_eq!(dialogue.answer(code(220)), Some(Expected::Other));
        dialogue
    }

    #[test]
    fn replies_come_in_the_order_of_pipelined_commands() {
        let mut dialogue =
            greeted(vec![Expected::Active(1), Expected::Transfer, Expected::Active(2), Expected::Transfer]);
        assert_eq!(dialogue.answer(code(200)), Some(Expected::Active(1)));
        assert_eq!(dialogue.answer(code(150)), None);
        assert_eq!(dialogue.answer(code(226)), Some(Expected::Transfer));
        assert_eq!(dialogue.answer(code(200)), Some(Expected::Active(2)));
        assert_eq!(dialogue.answer(code(550)), Some(Expected::Transfer));
        assert_eq!(dialogue.answer(code(421)), None);
    }

    #[test]
    fn own_replies_wait_for_their_turn() {
        let own = Reply::fixed(Code::new(425), "no");
        let mut dialogue = greeted(vec![Expected::Transfer, Expected::Own(own.clone()), Expected::Other]);
        assert_eq!(dialogue.poll_own(), None);
        assert_eq!(dialogue.answer(code(226)), Some(Expected::Transfer));
        assert_eq!(dialogue.poll_own(), Some(own));
        assert_eq!(dialogue.poll_own(), None);
        assert_eq!(dialogue.answer(code(200)), Some(Expected::Other));
    }

    #[test]
    fn abor_has_the_second_of_two_replies() {
        let mut dialogue = greeted(vec![Expected::Transfer, Expected::Other]);
        assert_eq!(dialogue.answer(code(426)), Some(Expected::Transfer));
        assert_eq!(dialogue.answer(code(226)), Some(Expected::Other));
    }

    #[test]
    fn status_in_the_middle_of_a_transfer_does_not_end_it() {
        let mut dialogue = greeted(vec![Expected::Transfer, Expected::Other]);
        assert_eq!(dialogue.answer(code(213)), Some(Expected::Other));
        assert_eq!(dialogue.answer(code(226)), Some(Expected::Transfer));
    }

    #[test]
    fn what_the_server_passed_over_is_forgotten_when_an_address_comes() {
        let own = Reply::fixed(Code::new(502), "no");
        let mut dialogue =
            greeted(vec![Expected::Other, Expected::Own(own.clone()), Expected::Pasv, Expected::Transfer]);
        assert_eq!(dialogue.answer(code(227)), Some(Expected::Pasv));
        assert_eq!(dialogue.poll_own(), Some(own));
        assert_eq!(dialogue.answer(code(226)), Some(Expected::Transfer));
    }

    #[test]
    fn commands_without_replies_are_bounded() {
        let mut dialogue: Dialogue<u32> = Dialogue::new();
        let taken = (0..2 * EXPECTED_MAX).take_while(|_| dialogue.expect(Expected::Other).is_ok()).count();
        assert_eq!(taken, EXPECTED_MAX - 1);
    }
}
