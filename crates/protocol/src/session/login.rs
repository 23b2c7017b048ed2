//! Logging in: `USER`, `PASS`, `HOST`, `REIN`.

use std::collections::VecDeque;

use crate::command::Password;
use crate::path::VirtualPath;
use crate::reply::Reply;
use crate::rights::Rights;

use super::replies as say;
use super::{Action, FactSelection, Secret, Session, TransferType, Waiting};

/// Who is logged in.
#[derive(Debug)]
pub(super) enum Login {
    NoUser,
    Named { user: Box<[u8]> },
    Checking { user: Box<[u8]> },
    LoggedIn { user: Box<[u8]> },
}

/// What became of [`Action::Authenticate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginVerdict {
    /// The account may do this.
    Accepted(Rights),
    /// Name or password are wrong; which of them is not told.
    Refused,
    /// The account has as many sessions as it may have.
    TooManySessions,
    /// It could not be found out.
    Unavailable,
}

impl Session {
    /// The outside checked a name and a password.
    pub fn handle_login(&mut self, verdict: LoginVerdict) {
        self.stop_waiting();
        let Login::Checking { user } = std::mem::replace(&mut self.login, Login::NoUser) else {
            return;
        };
        match verdict {
            LoginVerdict::Accepted(rights) => {
                self.login = Login::LoggedIn { user };
                self.rights = rights;
                self.failed_logins = 0;
                self.reply(say::LOGGED_IN);
            }
            LoginVerdict::Refused => {
                self.failed_logins += 1;
                if self.failed_logins < self.settings.failed_logins_max {
                    self.reply(say::LOGIN_INCORRECT);
                } else {
                    self.reply(say::TOO_MANY_LOGINS);
                    self.close();
                }
            }
            LoginVerdict::TooManySessions => self.reply(say::ACCOUNT_FULL),
            LoginVerdict::Unavailable => self.reply(say::LOGIN_NOT_CHECKED),
        }
        self.resume();
    }

    /// The name that is logged in.
    pub fn user(&self) -> Option<&[u8]> {
        match &self.login {
            Login::LoggedIn { user } => Some(user),
            _ => None,
        }
    }

    /// The name whose login is being checked, as the client sent it.
    pub fn user_asked(&self) -> Option<&[u8]> {
        match &self.login {
            Login::Checking { user } => Some(user),
            _ => None,
        }
    }

    /// `USER` begins a login afresh; transfer parameters stay, and a transfer that runs goes on under the old account
    /// (RFC 959 section 4.1.1).
    pub(super) fn on_user(&mut self, name: &[u8]) {
        self.log_out();
        self.login = Login::Named { user: name.into() };
        let is_guest = self.settings.guests.iter().any(|guest| guest.as_bytes() == name);
        self.reply(if is_guest { say::GUEST_PASSWORD_PLEASE } else { say::PASSWORD_PLEASE });
    }

    pub(super) fn on_pass(&mut self, password: Password<'_>) {
        match std::mem::replace(&mut self.login, Login::NoUser) {
            Login::Named { user } => {
                self.login = Login::Checking { user };
                self.ask(Waiting::Login, Action::Authenticate(Secret::new(password.reveal())));
            }
            Login::NoUser | Login::Checking { .. } => self.reply(say::USER_FIRST),
            logged_in @ Login::LoggedIn { .. } => {
                self.login = logged_in;
                self.reply(say::ALREADY_LOGGED_IN);
            }
        }
    }

    /// One host is served, whatever it is called (RFC 7151 section 3.2).
    pub(super) fn on_host(&mut self) {
        self.reply(if matches!(self.login, Login::NoUser) {
            say::HOST_ACCEPTED
        } else {
            say::HOST_BEFORE_USER
        });
    }

    /// `REIN` puts everything back to how it was at the start, "except to allow any transfer in progress to be completed"
    /// (RFC 959 section 4.1.1).
    pub(super) fn on_rein(&mut self) {
        self.log_out();
        self.transfer_type = TransferType::default();
        self.restart = None;
        self.allocate_bytes = 0;
        self.facts = FactSelection::default();
        self.hash = crate::command::HashAlgorithm::default();
        self.only_epsv = false;
        self.forget_data_setup();
        self.reply(say::REINITIALISED);
    }

    fn log_out(&mut self) {
        if self.is_logged_in() {
            self.actions.push_back(Action::Logout);
        }
        self.login = Login::NoUser;
        self.rights = Rights::empty();
        self.working_directory = VirtualPath::root();
    }

    /// `STAT` without a path (RFC 959 section 4.1.3).
    pub(super) fn status_reply(&self) -> Reply {
        let mut lines: VecDeque<Vec<u8>> = VecDeque::new();
        lines.push_back(format!("Connected from {}", self.peer).into_bytes());
        lines.push_back(match &self.login {
            Login::LoggedIn { user } => [b"Logged in as ", &user[..]].concat(),
            Login::NoUser => b"Not logged in".to_vec(),
            Login::Named { .. } | Login::Checking { .. } => b"Waiting for a password".to_vec(),
        });
        lines.push_back(match self.transfer_type {
            TransferType::Ascii => b"TYPE: ASCII; STRU: F; MODE: S".to_vec(),
            TransferType::Image => b"TYPE: Binary; STRU: F; MODE: S".to_vec(),
        });
        lines.push_back(self.data.describe().into_bytes());
        Reply::lines(say::STATUS, "Status of the server:", lines.into(), "End of status.")
    }
}
