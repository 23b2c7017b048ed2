//! Transfers over a data connection: `RETR`, `STOR`, `APPE`, `STOU`, `LIST`, `NLST`, `MLSD`, with `REST`, `ALLO` and
//! `ABOR`.

use crate::command::{ListArgument, VerbNumber};
use crate::reply::Reply;
use crate::rights::Rights;

use super::data_setup::write_decimal;
use super::replies as say;
use super::{
    Action, DataSetup, ListFormat, ListRequest, Opened, Session, Transfer, TransferEnd, TransferKind,
    TransferType, UploadMode, Waiting,
};

/// The data connection of a session: at most one, and what it is there for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DataSlot {
    /// None is set up.
    Empty,
    /// `PASV`, `EPSV`, `PORT` or `EPRT` set it up, and no transfer has used it.
    Ready(DataSetup),
    /// A transfer was asked for and is not certain to begin.
    Opening { setup: Option<DataSetup>, label: Label },
    /// A transfer runs.
    Moving { label: Label, bytes: u64 },
}

/// What the first reply of a transfer calls it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Label {
    name: Box<[u8]>,
    transfer_type: TransferType,
    verb: Option<VerbNumber>,
}

impl DataSlot {
    pub(super) fn is_transferring(&self) -> bool {
        matches!(self, Self::Opening { .. } | Self::Moving { .. })
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(self, Self::Opening { .. })
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Empty => String::from("No data connection"),
            Self::Ready(DataSetup::Passive) => String::from("A passive data connection is set up"),
            Self::Ready(DataSetup::Active(address)) => format!("A data connection to {address} is set up"),
            Self::Opening { .. } => String::from("A transfer is about to begin"),
            Self::Moving { label, bytes, .. } => {
                format!("Transferring {}: {bytes} bytes so far", label.name.escape_ascii())
            }
        }
    }
}

impl Session {
    /// A transfer is certain to begin: its file is open.
    pub fn handle_transfer_opened(&mut self, opened: &Opened) {
        let DataSlot::Opening { label, .. } = std::mem::replace(&mut self.data, DataSlot::Empty) else {
            return;
        };
        self.answered_verb = label.verb;
        let reply = opening_reply(&label, opened);
        self.data = DataSlot::Moving { label, bytes: 0 };
        self.reply(reply);
        self.resume();
    }

    /// How many bytes the transfer has moved so far, for `STAT`.
    pub fn handle_transfer_progress(&mut self, moved_bytes: u64) {
        if let DataSlot::Moving { bytes, .. } = &mut self.data {
            *bytes = moved_bytes;
        }
    }

    /// The transfer is over; its data connection is closed, unless it was [`TransferEnd::Refused`].
    pub fn handle_transfer_ended(&mut self, end: TransferEnd) {
        let slot = std::mem::replace(&mut self.data, DataSlot::Empty);
        if let DataSlot::Opening { label, .. } | DataSlot::Moving { label, .. } = &slot {
            self.answered_verb = label.verb;
        }
        if let (TransferEnd::Refused(_), DataSlot::Opening { setup: Some(setup), .. }) = (&end, slot) {
            self.data = DataSlot::Ready(setup);
        }
        self.transfer_was_cut = matches!(end, TransferEnd::Failed(_));
        self.reply(match end {
            TransferEnd::Complete => say::TRANSFER_COMPLETE,
            TransferEnd::Aborted => say::TRANSFER_ABORTED,
            TransferEnd::NotSetUp => say::DATA_SETUP_FIRST,
            TransferEnd::Refused(reply) | TransferEnd::Failed(reply) => reply,
        });
        if self.quitting {
            self.quitting = false;
            return self.close();
        }
        self.resume();
    }

    pub(super) fn on_retr(&mut self, argument: &[u8]) {
        let restart = self.restart.take();
        if !self.may(Rights::DOWNLOAD) {
            return;
        }
        if !self.may_begin_at(restart) {
            return;
        }
        let Some(path) = self.path(argument) else { return };
        self.start(argument, TransferKind::Download { path, restart });
    }

    pub(super) fn on_stor(&mut self, argument: &[u8]) {
        let restart = self.restart.take();
        if !self.may_begin_at(restart) {
            return;
        }
        let restart = restart.unwrap_or(0);
        let mode = match restart {
            0 if self.rights.contains(Rights::OVERWRITE) => UploadMode::Replace,
            0 => UploadMode::New,
            offset => UploadMode::ResumeAt(offset),
        };
        let needed = if restart == 0 { Rights::UPLOAD } else { Rights::UPLOAD | Rights::APPEND };
        self.start_upload(argument, mode, needed);
    }

    pub(super) fn on_appe(&mut self, argument: &[u8]) {
        if self.restart.take().is_some_and(|offset| offset != 0) {
            return self.reply(say::APPEND_AFTER_REST);
        }
        // Without the right to change what is there, a new name can still be written.
        let mode = if self.rights.contains(Rights::APPEND) { UploadMode::Append } else { UploadMode::New };
        self.start_upload(argument, mode, Rights::UPLOAD);
    }

    pub(super) fn on_stou(&mut self, hint: Option<&[u8]>) {
        if self.restart.take().is_some_and(|offset| offset != 0) {
            return self.reply(say::UNIQUE_AFTER_REST);
        }
        self.start_upload(hint.unwrap_or_default(), UploadMode::Unique, Rights::UPLOAD);
    }

    fn start_upload(&mut self, argument: &[u8], mode: UploadMode, needed: Rights) {
        let allocate_bytes = std::mem::take(&mut self.allocate_bytes);
        if !self.may(needed) {
            return;
        }
        let Some(path) = self.path(argument) else { return };
        self.start(argument, TransferKind::Upload { path, mode, allocate_bytes });
    }

    pub(super) fn on_list(&mut self, argument: ListArgument<'_>) {
        self.start_listing(argument, ListFormat::Long);
    }

    pub(super) fn on_nlst(&mut self, argument: ListArgument<'_>) {
        self.start_listing(argument, ListFormat::Names);
    }

    pub(super) fn on_mlsd(&mut self, path: Option<&[u8]>) {
        let format = ListFormat::Machine(self.facts, self.rights);
        self.start_listing(ListArgument { all: true, path }, format);
    }

    fn start_listing(&mut self, argument: ListArgument<'_>, format: ListFormat) {
        self.restart = None;
        if !self.may(Rights::LIST) {
            return;
        }
        let Some(path) = self.path(argument.path.unwrap_or_default()) else { return };
        let request = ListRequest::new(path, argument, format);
        self.start(b"file list", TransferKind::Listing(request));
    }

    fn start(&mut self, name: &[u8], what: TransferKind) {
        if self.is_before_an_abort(say::TRANSFER_ABORTED) {
            return;
        }
        let setup = match self.data {
            DataSlot::Ready(setup) => Some(setup),
            _ => None,
        };
        let label = Label { name: name.into(), transfer_type: self.transfer_type, verb: self.answered_verb };
        self.data = DataSlot::Opening { setup, label };
        let transfer = Transfer { what, setup, transfer_type: self.transfer_type };
        self.actions.push_back(Action::Transfer(Box::new(transfer)));
    }

    /// Whether a transfer may begin there; says so if not. The type may have changed since `REST`.
    fn may_begin_at(&mut self, restart: Option<u64>) -> bool {
        let may = self.transfer_type != TransferType::Ascii || restart.is_none_or(|offset| offset == 0);
        if !may {
            self.reply(say::NO_RESTART_IN_ASCII);
        }
        may
    }

    /// RFC 3659 section 5: the marker holds for the next transfer.
    pub(super) fn on_rest(&mut self, offset: u64) {
        if !self.may_begin_at(Some(offset)) {
            return;
        }
        self.restart = Some(offset);
        self.reply(Reply::new(say::FILE_PENDING, format!("Restarting at position {offset}.")));
    }

    pub(super) fn on_allo(&mut self, bytes: u64) {
        self.allocate_bytes = bytes;
        self.reply(say::ALLOCATION_NOTED);
    }

    /// `ABOR` whose turn has come: nothing runs any more. What it ended, if anything, has told its 426 already.
    pub(super) fn on_abor(&mut self) {
        if std::mem::take(&mut self.abort_is_due) {
            self.forget_data_setup();
            self.reply(say::ABORT_DONE);
        } else if matches!(self.data, DataSlot::Ready(_)) {
            self.forget_data_setup();
            self.reply(say::SETUP_ABORTED);
        } else {
            self.reply(say::NOTHING_TO_ABORT);
        }
    }

    /// `ABOR` was seen while something runs: that is taken back at once, even where other commands wait before it.
    pub(super) fn abort_early(&mut self) {
        let can_abort = self.data.is_transferring() || self.waiting == Waiting::File;
        if can_abort && !std::mem::replace(&mut self.abort_is_due, true) {
            self.actions.push_back(Action::Abort);
        }
    }

    /// Whether what is to begin now was taken back by an `ABOR` that was seen ahead of its turn; if so, `aborted` is said.
    pub(super) fn is_before_an_abort(&mut self, aborted: Reply) -> bool {
        if self.abort_is_due {
            self.reply(aborted);
        }
        self.abort_is_due
    }
}

fn opening_reply(label: &Label, opened: &Opened) -> Reply {
    let mode = match label.transfer_type {
        TransferType::Ascii => "ASCII",
        TransferType::Image => "BINARY",
    };
    let mut text = Vec::with_capacity(label.name.len() + 64);
    match opened {
        Opened::Unique { name } => {
            // RFC 1123 section 4.1.2.9 fixes this form.
            text.extend_from_slice(b"FILE: ");
            text.extend_from_slice(name);
            return Reply::new(say::DATA_OPENING, text);
        }
        Opened::Download { .. } | Opened::Upload | Opened::Listing => {
            text.extend_from_slice(b"Opening ");
            text.extend_from_slice(mode.as_bytes());
            text.extend_from_slice(b" mode data connection for ");
            text.extend_from_slice(&label.name);
        }
    }
    if let (Opened::Download { bytes }, TransferType::Image) = (opened, label.transfer_type) {
        text.extend_from_slice(b" (");
        write_decimal(*bytes, &mut text);
        text.extend_from_slice(b" bytes)");
    }
    text.push(b'.');
    Reply::new(say::DATA_OPENING, text)
}
