//! What is done to the tree without a data connection: `CWD`, `DELE`, `RNFR`, `SIZE`, `MLST`, `SITE`, `HASH` and their like.

use crate::command::{ChecksumArgument, HashAlgorithm, HashName, ListArgument, Site, Timestamp};
use crate::path::VirtualPath;
use crate::reply::{Code, Reply};
use crate::rights::Rights;

use super::replies as say;
use super::{
    Action, DigestForm, FileAnswer, FileRequest, ListFormat, ListRequest, Session, TransferType, Waiting,
};

impl Session {
    /// The outside did what an [`Action::File`] asked, or could not: then `Err` is the reply.
    pub fn handle_file_answer(&mut self, request: FileRequest, answer: Result<FileAnswer, Reply>) {
        self.stop_waiting();
        let reply = match answer {
            Ok(answer) => self.file_reply(request, answer),
            Err(refusal) => refusal,
        };
        self.reply(reply);
        self.resume();
    }

    fn file_reply(&mut self, request: FileRequest, answer: FileAnswer) -> Reply {
        match (request, answer) {
            (FileRequest::Enter(path), _) => {
                let reply = quoted(say::FILE_OKAY, &path, "is the current directory.");
                self.working_directory = path;
                reply
            }
            (FileRequest::Delete(_), _) => say::FILE_REMOVED,
            (FileRequest::RemoveDirectory(_), _) => say::DIRECTORY_REMOVED,
            (FileRequest::MakeDirectory(path), _) => Reply::pathname(path.as_bytes(), "directory created."),
            (FileRequest::RenameFrom(path), _) => {
                self.rename_from = Some(path);
                say::RENAME_READY
            }
            (FileRequest::Rename { .. }, _) => say::RENAMED,
            (FileRequest::SetMode { .. }, _) => say::MODE_CHANGED,
            // As it is stored, which may be another time than was asked for.
            (FileRequest::SetModified { path, .. }, FileAnswer::Modified(unix_seconds)) => {
                let mut text = format!("Modify={}; ", Timestamp { unix_seconds }).into_bytes();
                text.extend_from_slice(path.as_bytes());
                Reply::new(say::FILE_STATUS, text)
            }
            (_, FileAnswer::Size(bytes)) => Reply::new(say::FILE_STATUS, bytes.to_string()),
            (_, FileAnswer::Modified(unix_seconds)) => {
                Reply::new(say::FILE_STATUS, Timestamp { unix_seconds }.to_string())
            }
            (FileRequest::Facts { path, .. }, FileAnswer::Lines { text, .. }) => {
                let first = [b"Listing ", path.as_bytes()].concat();
                Reply::lines(say::FILE_OKAY, first, lines_of(&text), "End.")
            }
            (FileRequest::Status(request), FileAnswer::Lines { text, cut }) => {
                let first = [b"Status of ", request.path.as_bytes(), b":"].concat();
                let last = if cut { "End of the first entries; LIST shows all." } else { "End of status." };
                Reply::lines(say::FILE_STATUS, first, lines_of(&text), last)
            }
            (
                FileRequest::Digest { path, algorithm, start, form, .. },
                FileAnswer::Digest { hexadecimal, end },
            ) => digest_reply(&path, algorithm, start, end, form, &hexadecimal),
            (FileRequest::Digest { .. } | FileRequest::Facts { .. } | FileRequest::Status(_), _)
            | (FileRequest::Size(_) | FileRequest::Modified(_) | FileRequest::SetModified { .. }, _) => {
                Reply::new(say::NOT_TAKEN, "No answer.")
            }
        }
    }

    fn ask_file(&mut self, request: FileRequest) {
        self.ask(Waiting::File, Action::File(Box::new(request)));
    }

    /// Asks for what `request` makes of the path that `argument` means, if the account has the right.
    fn ask_path(&mut self, right: Rights, argument: &[u8], request: impl FnOnce(VirtualPath) -> FileRequest) {
        if self.may(right)
            && let Some(path) = self.path(argument)
        {
            self.ask_file(request(path));
        }
    }

    pub(super) fn on_cwd(&mut self, argument: Option<&[u8]>) {
        self.ask_path(Rights::empty(), argument.unwrap_or(b"/"), FileRequest::Enter);
    }

    pub(super) fn on_pwd(&mut self) {
        let reply = Reply::pathname(self.working_directory.as_bytes(), "is the current directory.");
        self.reply(reply);
    }

    pub(super) fn on_dele(&mut self, argument: &[u8]) {
        self.ask_path(Rights::DELETE, argument, FileRequest::Delete);
    }

    pub(super) fn on_rmd(&mut self, argument: &[u8]) {
        if !self.may(Rights::DELETE) {
            return;
        }
        let Some(path) = self.path(argument) else { return };
        if path.is_root() {
            return self.reply(say::ROOT_STAYS);
        }
        self.ask_file(FileRequest::RemoveDirectory(path));
    }

    pub(super) fn on_mkd(&mut self, argument: &[u8]) {
        self.ask_path(Rights::MAKE_DIRECTORY, argument, FileRequest::MakeDirectory);
    }

    pub(super) fn on_rnfr(&mut self, argument: &[u8]) {
        if !self.may(Rights::RENAME) {
            return;
        }
        let Some(path) = self.path(argument) else { return };
        if path.is_root() {
            return self.reply(say::ROOT_KEEPS_ITS_NAME);
        }
        self.ask_file(FileRequest::RenameFrom(path));
    }

    pub(super) fn on_rnto(&mut self, argument: &[u8], rename_from: Option<VirtualPath>) {
        let Some(from) = rename_from else {
            return self.reply(say::RENAME_FROM_FIRST);
        };
        if !self.may(Rights::RENAME) {
            return;
        }
        let Some(to) = self.path(argument) else { return };
        if to.is_root() {
            return self.reply(say::ROOT_KEEPS_ITS_NAME);
        }
        let replace = self.rights.contains(Rights::OVERWRITE);
        self.ask_file(FileRequest::Rename { from, to, replace });
    }

    /// The size of what would be sent, which in ASCII only a reading of the whole file could tell (RFC 3659 section 4).
    pub(super) fn on_size(&mut self, argument: &[u8]) {
        if self.transfer_type == TransferType::Ascii {
            return self.reply(say::NO_SIZE_IN_ASCII);
        }
        self.ask_path(Rights::LIST, argument, FileRequest::Size);
    }

    pub(super) fn on_mdtm(&mut self, argument: &[u8]) {
        self.ask_path(Rights::LIST, argument, FileRequest::Modified);
    }

    pub(super) fn on_set_time(&mut self, time: Timestamp, argument: &[u8]) {
        let unix_seconds = time.unix_seconds;
        self.ask_path(Rights::SET_TIMES, argument, |path| FileRequest::SetModified { path, unix_seconds });
    }

    pub(super) fn on_mlst(&mut self, argument: Option<&[u8]>) {
        let (facts, rights) = (self.facts, self.rights);
        self.ask_path(Rights::LIST, argument.unwrap_or_default(), |path| FileRequest::Facts {
            path,
            facts,
            rights,
        });
    }

    pub(super) fn on_stat(&mut self, argument: ListArgument<'_>) {
        let Some(path) = argument.path else {
            let reply = self.status_reply();
            return self.reply(reply);
        };
        self.ask_path(Rights::LIST, path, |path| {
            FileRequest::Status(ListRequest::new(path, argument, ListFormat::Long))
        });
    }

    pub(super) fn on_hash(&mut self, argument: &[u8]) {
        if self.is_before_an_abort(say::CHECKSUM_ABORTED) {
            return;
        }
        let algorithm = self.hash;
        self.ask_path(Rights::DOWNLOAD, argument, |path| FileRequest::Digest {
            path,
            algorithm,
            start: 0,
            end: None,
            form: DigestForm::Hash,
        });
    }

    pub(super) fn on_checksum(&mut self, algorithm: HashAlgorithm, argument: &ChecksumArgument<'_>) {
        if self.is_before_an_abort(say::CHECKSUM_ABORTED) {
            return;
        }
        self.ask_path(Rights::DOWNLOAD, &argument.path, |path| FileRequest::Digest {
            path,
            algorithm,
            start: argument.start,
            end: argument.end,
            form: DigestForm::Plain,
        });
    }

    pub(super) fn on_hash_option(&mut self, name: Option<HashName<'_>>) {
        match name {
            None => {}
            Some(HashName::Known(algorithm)) => self.hash = algorithm,
            Some(HashName::Unknown(_)) => {
                return self.reply(Reply::new(
                    say::ARGUMENT_NOT_IMPLEMENTED,
                    "That algorithm is not offered; FEAT lists them.",
                ));
            }
        }
        self.reply(Reply::fixed(say::OKAY, self.hash.name()));
    }

    pub(super) fn on_site(&mut self, site: Site<'_>) {
        match site {
            Site::Chmod(mode, argument) => {
                self.ask_path(Rights::SET_MODES, argument, |path| FileRequest::SetMode { path, mode });
            }
            Site::Utime(time, argument) => self.on_set_time(time, argument),
            Site::Help => self.on_site_help(),
            Site::Unknown => self.reply(say::SITE_UNKNOWN),
        }
    }
}

/// A reply whose text is a path in quotes and a comment, with another code than 257.
fn quoted(code: Code, path: &VirtualPath, comment: &str) -> Reply {
    let mut text = vec![b'"'];
    text.extend_from_slice(path.as_bytes());
    text.extend_from_slice(b"\" ");
    text.extend_from_slice(comment.as_bytes());
    Reply::new(code, text)
}

/// The lines of a listing without their ends, as the body of a reply.
fn lines_of(text: &[u8]) -> Vec<Vec<u8>> {
    // Only these: a name may end in blanks.
    let without_end = |line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line).to_vec()
    };
    text.split_inclusive(|&byte| byte == b'\n').map(without_end).collect()
}

fn digest_reply(
    path: &VirtualPath,
    algorithm: HashAlgorithm,
    start: u64,
    end: u64,
    form: DigestForm,
    hexadecimal: &str,
) -> Reply {
    match form {
        // draft-bryan-ftpext-hash section 3.1: the range names its first byte and the one behind its last.
        DigestForm::Hash => {
            let mut text = format!("{} {start}-{end} {hexadecimal} ", algorithm.name()).into_bytes();
            text.extend_from_slice(path.as_bytes());
            Reply::new(say::FILE_STATUS, text)
        }
        DigestForm::Plain => Reply::new(say::FILE_OKAY, hexadecimal.to_ascii_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_the_blanks_that_end_a_name() {
        assert_eq!(lines_of(b"type=file; /a \r\n- b \t\n"), [&b"type=file; /a "[..], b"- b \t"]);
    }
}
