//! A transfer, step by step: its file is opened, the data connection comes about, bytes move, an upload takes its name.
//!
//! Each step ends by handing the next one to the control connection, which decides whether it is taken: between the last
//! byte of an upload and its name stands the question whether the client is still there.

use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;
use protocol::reply::Reply;
use protocol::session::{DataSetup, ListRequest, Opened, Transfer, TransferEnd, TransferKind, TransferType};
use runtime::{Places, Stream, sleep_until, turn_began};
use storage::{Download, Listing, Root, StorageError, SyncPolicy, Upload};
use transfer::{ChunksError, Destination, Direction, Progress, TransferError, TransferOptions};

use crate::data::DataConnector;
use crate::files::{list_options, upload_mode};
use crate::record::Record;
use crate::replies;
use crate::waiting;

/// How much of a listing is made at a time, in bytes.
const LISTING_CHUNK_BYTES: usize = 64 * 1024;

/// How long a file that is in use is asked for again, and how often: an upload that was cut off lets go of its file on another
/// thread, and whoever resumes it at once must not be told that it is being written.
const LET_GO: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much later than its data connection the control connection of a dying client may end. An upload's 226 is late by as much.
const DEATH_NOTICE: Duration = Duration::from_millis(5);

/// How long the 226 of a download waits for the client to close its data connection, counted from when that came about, if the
/// client has named where to begin.
///
/// aria2 (1.36) does so each time, be it at 0. What has come of the replies it reads at once, and waits for a 226 that came with the
/// 150 until its own timeout, a minute. When it closes its data connection it has read the 150.
const REPLIES_APART: Duration = Duration::from_secs(1);

/// What comes next.
pub(crate) enum Step {
    /// Something that takes its time.
    Wait(Running),
    /// The file is open; the client is told what.
    Opened(Box<OpenTransfer>, Opened),
    /// The data connection of an upload has ended.
    Received(Box<ReceivedUpload>),
    /// It ended, and since then the client had the time to show that it is gone.
    Settled(Box<ReceivedUpload>),
    /// It is over.
    Ended(TransferEnd),
}

/// A step that is under way. Dropped, it is taken back: descriptors are closed, and an upload leaves nothing behind. What cannot be
/// taken back goes on to its end, and is recorded as it ended.
pub(crate) struct Running {
    /// None once it is over.
    future: Option<Pin<Box<dyn Future<Output = Step>>>>,
    record: Rc<Record>,
    can_be_aborted: bool,
}

/// A transfer whose file is open.
pub(crate) struct OpenTransfer {
    content: Content,
    setup: DataSetup,
    record: Rc<Record>,
}

enum Content {
    Download(ClosedElsewhere<Download>),
    Upload(UnpublishedUpload),
    // Boxed, for it is large and rarer than the others.
    Listing(Box<FirstOfListing>),
}

/// The beginning of a listing, which was made together with opening it, and what may follow.
struct FirstOfListing {
    chunk: Vec<u8>,
    rest: Option<ClosedElsewhere<Listing>>,
}

/// An upload all of whose bytes are there, and which has no name yet.
pub(crate) struct ReceivedUpload {
    upload: UnpublishedUpload,
    record: Rc<Record>,
}

/// An upload on its way. Dropped, it is taken back: to free the blocks of a large file takes long.
type UnpublishedUpload = ClosedElsewhere<Upload>;

/// An open file whose closing may take long. Dropped, it is closed on a thread that may wait.
struct ClosedElsewhere<F: AsFd + Send + 'static> {
    open: Option<F>,
    closing_waits: bool,
    opened_at: Instant,
}

impl Running {
    /// Opens the file of a transfer: at once where the kernel has it cached, else on another thread.
    pub(crate) fn open(root: &Arc<Root>, record: Record) -> Step {
        let record = Rc::new(record);
        if let TransferKind::Download { path, restart } = &record.transfer().what {
            match root.open_download_cached(path.as_bytes(), restart.unwrap_or(0)) {
                Ok(download) => return opened(Content::Download(download.into()), record),
                Err(StorageError::WouldBlock) => record.counters().on_cold_open(),
                Err(error) => return refused(error, &record),
            }
        }
        let root = Arc::clone(root);
        let step_record = Rc::clone(&record);
        let future = Box::pin(async move {
            let record = step_record;
            let what = record.transfer().what.clone();
            let is_set_up = record.transfer().setup.is_some();
            let let_go_until = Instant::now() + LET_GO;
            let opened_content = loop {
                let places = waiting::for_opening(&root, &what);
                let (root, what) = (Arc::clone(&root), what.clone());
                match places.blocking(move || open_content(&root, &what, is_set_up)).await {
                    Ok(Err(StorageError::Busy)) if Instant::now() < let_go_until => {
                        sleep_until(Instant::now() + LOOK_EVERY).await;
                    }
                    opened => break opened,
                }
            };
            match opened_content {
                Ok(Ok(content)) => opened(content, record),
                Ok(Err(error)) => refused(error, &record),
                Err(error) => Step::Ended(record.ends(TransferEnd::Refused(record.failed_inside(&error)))),
            }
        });
        Step::Wait(Self { future: Some(future), record, can_be_aborted: true })
    }

    pub(crate) fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    /// Bytes moved so far.
    pub(crate) fn bytes_moved(&self) -> u64 {
        self.record.progress().bytes()
    }

    /// Whether it can be taken back. Publishing cannot: it is a matter of one system call, and what it made stays.
    pub(crate) fn can_be_aborted(&self) -> bool {
        self.can_be_aborted
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.can_be_aborted
            && let Some(future) = self.future.take()
            && runtime::current_backend().is_some()
        {
            runtime::spawn(async move {
                future.await;
            });
        }
    }
}

impl OpenTransfer {
    /// Which way the bytes go.
    pub(crate) fn direction(&self) -> Direction {
        match self.content {
            Content::Upload(_) => Direction::Upload,
            Content::Download(_) | Content::Listing(_) => Direction::Download,
        }
    }

    pub(crate) fn setup(&self) -> DataSetup {
        self.setup
    }

    /// Waits for the data connection, and moves the bytes.
    pub(crate) fn begin(self: Box<Self>, connector: DataConnector, options: TransferOptions) -> Running {
        let record = Rc::clone(&self.record);
        // The place first: what is made before it has one is copied there as a whole, and most of it is room for waits.
        let future = Box::into_pin(Box::write(Box::new_uninit(), self.run(connector, options)));
        Running { future: Some(future), record, can_be_aborted: true }
    }

    async fn run(self: Box<Self>, connector: DataConnector, options: TransferOptions) -> Step {
        let stream = match connector.connect(self.record.counters()).await {
            Ok(stream) => stream,
            Err(reply) => return Step::Ended(self.record.ends(TransferEnd::Failed(reply))),
        };
        self.record.connected();
        let Self { content, setup: _, record } = *self;
        let transfer = record.transfer();
        let options = TransferOptions { transfer_type: transfer_type(transfer.transfer_type), ..options };
        let patience = options.stall_timeout;
        // Uploads and listings are boxed, lest every download has room for them.
        let moved = match content {
            Content::Upload(upload) => {
                match Box::pin(receive(&stream, upload, options, record.progress())).await {
                    Ok(upload) => {
                        stream.close().await;
                        return Step::Received(Box::new(ReceivedUpload { upload, record }));
                    }
                    Err(error) => Err(record.failed(&error)),
                }
            }
            Content::Download(download) => {
                let apart_until = names_its_beginning(transfer).then(|| Instant::now() + REPLIES_APART);
                let mut sent = send(&stream, &download, options, record.progress()).await;
                if let (Ok(()), Some(deadline)) = (&sent, apart_until) {
                    sent = Box::pin(transfer::peer_ends(&stream, deadline)).await;
                }
                sent.map_err(|error| record.failed(&error))
            }
            Content::Listing(listing) => Box::pin(send_listing(*listing, &stream, options, &record)).await,
        };
        finish(moved, stream, patience, &record).await
    }
}

impl ReceivedUpload {
    /// Waits for signs that the client is gone. The kernel of a client that is killed closes its connections in the
    /// same moment, and the data connection, which is the younger one, first.
    pub(crate) fn settle(self: Box<Self>) -> Running {
        let record = Rc::clone(&self.record);
        let settled_at = Instant::now() + DEATH_NOTICE;
        let future = Box::pin(async move {
            sleep_until(settled_at).await;
            Step::Settled(self)
        });
        Running { future: Some(future), record, can_be_aborted: true }
    }

    /// Gives the upload its name, once as much of it is on the disk as `sync` asks.
    pub(crate) fn publish(self, sync: SyncPolicy) -> Running {
        let Self { upload, record } = self;
        let step_record = Rc::clone(&record);
        let future = Box::pin(async move {
            let places = upload.places();
            let end = match places.blocking(move || upload.publish(sync)).await {
                Ok(Ok(())) => TransferEnd::Complete,
                Ok(Err(error)) => TransferEnd::Failed(step_record.not_stored(error)),
                Err(error) => TransferEnd::Failed(step_record.failed_inside(&error)),
            };
            Step::Ended(step_record.ends(end))
        });
        Running { future: Some(future), record, can_be_aborted: false }
    }
}

impl UnpublishedUpload {
    fn publish(mut self, sync: SyncPolicy) -> Result<(), StorageError> {
        let Some(mut upload) = self.open.take() else { return Ok(()) };
        upload.sync(sync)?;
        upload.publish()
    }
}

impl From<Upload> for UnpublishedUpload {
    fn from(upload: Upload) -> Self {
        Self { open: Some(upload), closing_waits: true, opened_at: turn_began() }
    }
}

impl From<Listing> for ClosedElsewhere<Listing> {
    fn from(listing: Listing) -> Self {
        Self { open: Some(listing), closing_waits: true, opened_at: turn_began() }
    }
}

impl From<Download> for ClosedElsewhere<Download> {
    fn from(download: Download) -> Self {
        Self { closing_waits: download.closing_waits, open: Some(download), opened_at: turn_began() }
    }
}

impl<F: AsFd + Send + 'static> ClosedElsewhere<F> {
    fn into_inner(mut self) -> Option<F> {
        self.open.take()
    }

    /// Whether it may be the last of a file that was deleted or replaced meanwhile: then to close it frees the blocks, and waits for a
    /// place in the journal. In the turn in which it was opened it had a name.
    fn may_have_lost_its_name(&self) -> bool {
        let names = |file: &F| fstat(file).map_or(0, |status| status.st_nlink);
        turn_began() != self.opened_at && self.open.as_ref().is_some_and(|file| names(file) == 0)
    }

    /// Where to wait for it.
    fn places(&self) -> Places {
        self.open.as_ref().map_or_else(Places::default, waiting::for_file)
    }
}

impl<F: AsFd + Send + 'static> Drop for ClosedElsewhere<F> {
    fn drop(&mut self) {
        // Off a worker it is dropped here: the thread that opened it for a client who is gone may wait.
        if (self.closing_waits || self.may_have_lost_its_name())
            && let Some(file) = self.open.take()
            && runtime::current_backend().is_some()
        {
            // Where no thread can be had, the file is closed here after all.
            runtime::spawn(async move {
                let places = waiting::for_file(&file);
                places.blocking(move || drop(file)).await
            });
        }
    }
}

fn opened(content: Content, record: Rc<Record>) -> Step {
    let Some(setup) = record.transfer().setup else {
        return Step::Ended(record.ends(TransferEnd::NotSetUp));
    };
    let description = match (&content, &record.transfer().what) {
        (Content::Download(ClosedElsewhere { open, .. }), _) => {
            Opened::Download { bytes: open.as_ref().map_or(0, |download| download.size - download.offset) }
        }
        (
            Content::Upload(ClosedElsewhere { open: Some(upload), .. }),
            TransferKind::Upload { mode: protocol::session::UploadMode::Unique, .. },
        ) => {
            record.is_of(upload.path());
            Opened::Unique { name: upload.name().to_vec() }
        }
        (Content::Upload(_), _) => Opened::Upload,
        (Content::Listing(_), _) => Opened::Listing,
    };
    Step::Opened(Box::new(OpenTransfer { content, setup, record }), description)
}

fn refused(error: StorageError, record: &Record) -> Step {
    let is_machine_listing = matches!(
        &record.transfer().what,
        TransferKind::Listing(ListRequest { format: protocol::session::ListFormat::Machine(..), .. })
    );
    let reply = match error {
        StorageError::NotADirectory if is_machine_listing => replies::NOT_A_DIRECTORY_FOR_MLSD,
        error => record.refused(error),
    };
    Step::Ended(record.ends(TransferEnd::Refused(reply)))
}

/// Opens what a transfer is about. Blocks.
fn open_content(root: &Root, what: &TransferKind, is_set_up: bool) -> Result<Content, StorageError> {
    match what {
        TransferKind::Download { path, restart } => {
            let download = root.open_download(path.as_bytes(), restart.unwrap_or(0))?;
            Ok(Content::Download(download.into()))
        }
        TransferKind::Upload { path, mode, allocate_bytes } => {
            let mut upload = root.open_upload(path.as_bytes(), upload_mode(*mode))?;
            if *allocate_bytes > 0 && is_set_up {
                upload.allocate(*allocate_bytes)?;
            }
            Ok(Content::Upload(upload.into()))
        }
        TransferKind::Listing(request) => {
            let mut listing = root.list(request.path.as_bytes(), list_options(request))?;
            let mut chunk = Vec::new();
            let more = listing.fill(&mut chunk, LISTING_CHUNK_BYTES)?;
            let rest = more.then(|| listing.into());
            Ok(Content::Listing(Box::new(FirstOfListing { chunk, rest })))
        }
    }
}

async fn send(
    stream: &Stream,
    download: &ClosedElsewhere<Download>,
    options: TransferOptions,
    progress: &Progress,
) -> Result<(), TransferError> {
    if let Some(open) = &download.open {
        let options = TransferOptions { first_read_is_noted: open.first_read_is_noted, ..options };
        transfer::download(&open.file, open.offset..open.size, stream, options, progress).await?;
    }
    Ok(())
}

async fn receive(
    stream: &Stream,
    upload: UnpublishedUpload,
    options: TransferOptions,
    progress: &Progress,
) -> Result<UnpublishedUpload, TransferError> {
    if let Some(open) = &upload.open {
        let destination = match (open.is_in_place(), open.found_another()) {
            (true, _) => Destination::InPlace,
            (false, false) => Destination::New,
            (false, true) => Destination::ReplacesAnother,
        };
        let options = TransferOptions { destination, reserved_until: open.reserved_until(), ..options };
        transfer::upload(stream, open.file(), open.offset(), options, progress).await?;
    }
    Ok(upload)
}

/// Sends a listing; while one chunk is on its way no other is made, so that memory stays bounded.
async fn send_listing(
    first: FirstOfListing,
    stream: &Stream,
    options: TransferOptions,
    record: &Record,
) -> Result<(), Reply> {
    let mut first_chunk = Some(first.chunk);
    let mut rest = first.rest;
    let next_chunk = async || {
        if let Some(chunk) = first_chunk.take() {
            return Ok(Some(chunk));
        }
        let Some(listing) = rest.take() else { return Ok(None) };
        let places = listing.open.as_ref().map_or_else(Places::default, waiting::for_listing);
        let filled = places.blocking(move || {
            let mut chunk = Vec::with_capacity(LISTING_CHUNK_BYTES);
            let Some(mut listing) = listing.into_inner() else { return Ok((chunk, None)) };
            let more = listing.fill(&mut chunk, LISTING_CHUNK_BYTES)?;
            Ok((chunk, more.then(|| listing.into())))
        });
        let filled = filled.await.map_err(|error| record.failed_inside(&error))?;
        let (chunk, listing) = filled.map_err(replies::storage)?;
        rest = listing;
        Ok(Some(chunk))
    };
    match transfer::send_chunks(stream, next_chunk, options, record.progress()).await {
        Ok(_) => Ok(()),
        Err(ChunksError::Producer(reply)) => Err(reply),
        Err(ChunksError::Transfer(error)) => Err(record.failed(&error)),
    }
}

/// Closes the data connection and tells how it went. All bytes are handed over by then.
async fn finish(
    moved: Result<(), Reply>,
    stream: Stream,
    patience: Option<Duration>,
    record: &Record,
) -> Step {
    let delivered = match moved {
        Ok(()) => transfer::close_delivered(stream, patience).await.map_err(|error| record.failed(&error)),
        Err(reply) => {
            stream.close().await;
            Err(reply)
        }
    };
    Step::Ended(record.ends(match delivered {
        Ok(()) => TransferEnd::Complete,
        Err(reply) => TransferEnd::Failed(reply),
    }))
}

/// Whether it is a download whose client has said where to begin.
fn names_its_beginning(transfer: &Transfer) -> bool {
    matches!(transfer.what, TransferKind::Download { restart: Some(_), .. })
}

fn transfer_type(transfer_type: TransferType) -> transfer::TransferType {
    match transfer_type {
        TransferType::Ascii => transfer::TransferType::Ascii,
        TransferType::Image => transfer::TransferType::Image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that leaves while its upload is being opened has it dropped by the thread that opens it.
    #[test]
    fn an_upload_may_be_dropped_off_a_worker() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let upload = root.open_upload(b"/file", storage::UploadMode::New).unwrap();
        drop(UnpublishedUpload::from(upload));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of it");
    }
}
