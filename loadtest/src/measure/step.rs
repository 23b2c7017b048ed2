//! The steps of a session, each with a histogram of its own.

use std::fmt;

/// A step of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// From the start of `connect` to the connection.
    Connect,
    /// From the connection to the greeting.
    Greeting,
    /// From `USER` to 230.
    Login,
    /// A command with one reply: `TYPE`, `NOOP`, `HASH`, `QUIT` and their like.
    Command,
    /// `EPSV` or `PASV` and its reply.
    Passive,
    /// `EPRT` or `PORT` and its reply.
    Active,
    /// From the start of `connect` to the data connection; in active mode, from the transfer's command to the server's
    /// connection.
    DataConnect,
    /// From the transfer's command to the first byte of data.
    FirstByte,
    /// From the transfer's command to its last reply.
    Completion,
    /// What the scenario counts: a session, a transfer, a round trip. At a given rate, from the intended start.
    Unit,
}

impl Step {
    /// Every step, in the order in which a session has them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Connect,
        Self::Greeting,
        Self::Login,
        Self::Command,
        Self::Passive,
        Self::Active,
        Self::DataConnect,
        Self::FirstByte,
        Self::Completion,
        Self::Unit,
    ];

    /// The name in tables and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Command => "command",
            Self::Passive => "passive",
            Self::Active => "active",
            Self::DataConnect => "data connect",
            Self::FirstByte => "first byte",
            Self::Completion => "completion",
            Self::Unit => "unit",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
