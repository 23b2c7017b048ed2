//! File requests: what a session asks of the tree without a data connection, done on a thread that may wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::reply::Reply;
use protocol::rights::Rights;
use protocol::session::{FactSelection, FileAnswer, FileRequest, ListFormat, ListRequest, UploadMode};
use storage::{Format, Kind, ListOptions, Permissions, Replace, Root, StorageError};

use crate::digest::{DigestError, digest};
use crate::logging::loggable;
use crate::record::SessionLabel;
use crate::replies;
use crate::waiting;

/// How much of a directory `STAT` tells over the control connection, in bytes.
const STATUS_BYTES_MAX: usize = 32 * 1024;

/// A file request that is being done on another thread. Dropped, it is taken back as far as it can be.
pub(crate) struct FileJob {
    answer: Pin<Box<dyn Future<Output = Answered>>>,
    cancel: Cancel,
}

/// A file request and its answer.
type Answered = (FileRequest, Result<FileAnswer, Reply>);

impl FileJob {
    pub(crate) fn begin(root: Arc<Root>, request: FileRequest, session: SessionLabel) -> Self {
        let cancel = Cancel::default();
        Self { answer: Box::pin(answer(root, request, cancel.clone(), session)), cancel }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answered> {
        self.answer.as_mut().poll(context)
    }

    /// Ends it early, as far as it can be; there is an answer all the same.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// Takes a file request back, as far as it can be: a digest stops, the rest is over soon.
#[derive(Debug, Clone, Default)]
struct Cancel(Arc<AtomicBool>);

impl Cancel {
    fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The answer, if the kernel has it cached and it is one that clients ask for often.
pub(crate) fn answer_cached(root: &Root, request: &FileRequest) -> Option<Result<FileAnswer, Reply>> {
    let answer = match request {
        FileRequest::Enter(path) => root.enter_directory_cached(path.as_bytes()).map(|()| FileAnswer::Done),
        FileRequest::Size(path) => root.facts_cached(path.as_bytes()).and_then(size_of_file),
        FileRequest::Modified(path) => root.facts_cached(path.as_bytes()).and_then(time_of_file),
        _ => return None,
    };
    match answer {
        Err(StorageError::WouldBlock) => None,
        answer => Some(answer.map_err(replies::storage)),
    }
}

/// The answer, found on another thread. Dropping the future takes the request back as far as it can be.
async fn answer(root: Arc<Root>, request: FileRequest, cancel: Cancel, session: SessionLabel) -> Answered {
    /// Stops a digest whose session is gone.
    struct CancelOnDrop(Cancel);
    impl Drop for CancelOnDrop {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let request = Arc::new(request);
    let session_id = session.id;
    let job = {
        let places = waiting::for_request(&root, &request);
        let (request, cancel) = (Arc::clone(&request), cancel.clone());
        places.blocking(move || {
            let answer = find_answer(&root, &request, &cancel);
            // Here, for it is done even if nobody waits for the answer any more.
            if answer.is_ok() {
                log_change(&session, &request);
            }
            answer
        })
    };
    let guard = CancelOnDrop(cancel);
    let answer = job.await.unwrap_or_else(|error| {
        tracing::error!(session = session_id, %error, "a file request could not be done");
        Err(replies::INTERNAL)
    });
    drop(guard);
    (Arc::unwrap_or_clone(request), answer)
}

/// What changed the tree stands in the log, with whose doing it was.
fn log_change(session: &SessionLabel, request: &FileRequest) {
    let path = request.path();
    let SessionLabel { id: session, peer, user, .. } = session;
    let user = loggable(user);
    match request {
        FileRequest::Delete(_) => tracing::info!(session, %peer, %user, %path, "file deleted"),
        FileRequest::RemoveDirectory(_) => tracing::info!(session, %peer, %user, %path, "directory removed"),
        FileRequest::MakeDirectory(_) => tracing::info!(session, %peer, %user, %path, "directory made"),
        FileRequest::Rename { to, .. } => tracing::info!(session, %peer, %user, %path, %to, "renamed"),
        FileRequest::SetMode { mode, .. } => {
            let mode = format_args!("{mode:04o}");
            tracing::info!(session, %peer, %user, %path, %mode, "mode changed");
        }
        FileRequest::SetModified { .. } => tracing::info!(session, %peer, %user, %path, "time changed"),
        FileRequest::Enter(_)
        | FileRequest::RenameFrom(_)
        | FileRequest::Size(_)
        | FileRequest::Modified(_)
        | FileRequest::Facts { .. }
        | FileRequest::Status(_)
        | FileRequest::Digest { .. } => {}
    }
}

fn find_answer(root: &Root, request: &FileRequest, cancel: &Cancel) -> Result<FileAnswer, Reply> {
    if let FileRequest::Digest { path, algorithm, start, end, .. } = request {
        let download = root.open_download(path.as_bytes(), 0).map_err(replies::storage)?;
        // Or whoever asks for many would have the cores to himself.
        let digest = || digest(*algorithm, download.file, *start, *end, &cancel.0);
        let (hexadecimal, end) = runtime::in_the_background(digest)
            .map_err(DigestError::Io)
            .flatten()
            .map_err(|error| replies::digest(&error))?;
        return Ok(FileAnswer::Digest { hexadecimal, end });
    }
    ask_storage(root, request).map_err(replies::storage)
}

fn ask_storage(root: &Root, request: &FileRequest) -> Result<FileAnswer, StorageError> {
    match request {
        FileRequest::Enter(path) => root.enter_directory(path.as_bytes())?,
        FileRequest::Delete(path) => root.remove_file(path.as_bytes())?,
        FileRequest::RemoveDirectory(path) => root.remove_directory(path.as_bytes())?,
        FileRequest::MakeDirectory(path) => root.make_directory(path.as_bytes())?,
        FileRequest::RenameFrom(path) => drop(root.link_facts(path.as_bytes())?),
        FileRequest::Rename { from, to, replace } => {
            let replace = if *replace { Replace::Yes } else { Replace::No };
            root.rename(from.as_bytes(), to.as_bytes(), replace)?;
        }
        FileRequest::SetModified { path, unix_seconds } => {
            return Ok(FileAnswer::Modified(root.set_modified(path.as_bytes(), *unix_seconds)?));
        }
        FileRequest::SetMode { path, mode } => root.set_mode(path.as_bytes(), *mode)?,
        FileRequest::Size(path) => return size_of_file(root.facts(path.as_bytes())?),
        FileRequest::Modified(path) => return time_of_file(root.facts(path.as_bytes())?),
        FileRequest::Facts { path, facts, rights } => {
            let mut text = Vec::new();
            let found = root.facts(path.as_bytes())?;
            storage::format_machine_entry(
                &found,
                path.as_bytes(),
                selection(*facts),
                permissions(*rights),
                &mut text,
            );
            return Ok(FileAnswer::Lines { text, cut: false });
        }
        FileRequest::Status(request) => {
            let mut text = Vec::new();
            let mut listing = root.list(request.path.as_bytes(), list_options(request))?;
            let mut more = true;
            while more && text.len() < STATUS_BYTES_MAX {
                more = listing.fill(&mut text, STATUS_BYTES_MAX)?;
            }
            return Ok(FileAnswer::Lines { text, cut: more });
        }
        FileRequest::Digest { .. } => {}
    }
    Ok(FileAnswer::Done)
}

fn size_of_file(facts: storage::Facts) -> Result<FileAnswer, StorageError> {
    regular(&facts).map(|()| FileAnswer::Size(facts.size))
}

fn time_of_file(facts: storage::Facts) -> Result<FileAnswer, StorageError> {
    regular(&facts).map(|()| FileAnswer::Modified(facts.modified_unix_seconds))
}

fn regular(facts: &storage::Facts) -> Result<(), StorageError> {
    match facts.kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(StorageError::IsADirectory),
        Kind::Symlink | Kind::Other => Err(StorageError::NotRegular),
    }
}

/// The storage's way of saying how to list.
pub(crate) fn list_options(request: &ListRequest) -> ListOptions {
    let format = match request.format {
        ListFormat::Long => Format::Long,
        ListFormat::Names => Format::Names,
        ListFormat::Machine(facts, rights) => {
            Format::Machine { selection: selection(facts), permissions: permissions(rights) }
        }
    };
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ListOptions {
        format,
        all: request.all,
        argument: request.argument.to_vec(),
        now_unix_seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
    }
}

/// The storage's way of saying how an upload meets what is there.
pub(crate) fn upload_mode(mode: UploadMode) -> storage::UploadMode {
    match mode {
        UploadMode::Replace => storage::UploadMode::Replace,
        UploadMode::New => storage::UploadMode::New,
        UploadMode::Append => storage::UploadMode::Append,
        UploadMode::ResumeAt(offset) => storage::UploadMode::ResumeAt(offset),
        UploadMode::Unique => storage::UploadMode::Unique,
    }
}

fn selection(facts: FactSelection) -> storage::FactSelection {
    const SAME: [(FactSelection, storage::FactSelection); 8] = [
        (FactSelection::TYPE, storage::FactSelection::TYPE),
        (FactSelection::PERM, storage::FactSelection::PERM),
        (FactSelection::SIZE, storage::FactSelection::SIZE),
        (FactSelection::MODIFY, storage::FactSelection::MODIFY),
        (FactSelection::UNIQUE, storage::FactSelection::UNIQUE),
        (FactSelection::UNIX_MODE, storage::FactSelection::UNIX_MODE),
        (FactSelection::UNIX_OWNER, storage::FactSelection::UNIX_OWNER),
        (FactSelection::UNIX_GROUP, storage::FactSelection::UNIX_GROUP),
    ];
    SAME.iter()
        .filter(|(asked, _)| facts.contains(*asked))
        .fold(storage::FactSelection::empty(), |selection, (_, fact)| selection | *fact)
}

fn permissions(rights: Rights) -> Permissions {
    Permissions {
        download: rights.contains(Rights::DOWNLOAD),
        upload: rights.contains(Rights::UPLOAD),
        overwrite: rights.contains(Rights::OVERWRITE),
        append: rights.contains(Rights::APPEND),
        delete: rights.contains(Rights::DELETE),
        rename: rights.contains(Rights::RENAME),
        make_directory: rights.contains(Rights::MAKE_DIRECTORY),
        list: rights.contains(Rights::LIST),
    }
}
