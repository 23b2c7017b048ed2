//! A file that other threads may have to work on.

use std::fs::File;
use std::sync::Arc;

use runtime::Places;

use crate::TransferError;
use crate::kernel;
use crate::kernel::injection::Script;

/// A file as the threads for blocking work need it: a second descriptor, made when the first such work comes.
pub(crate) struct Shared<'a> {
    file: &'a File,
    second: Option<Arc<File>>,
    closing_waits: bool,
    first_write_reads: bool,
    /// Those of the file system, once that is known.
    places: Option<Places>,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(file: &'a File) -> Shared<'a> {
        Shared { file, second: None, closing_waits: false, first_write_reads: false, places: None }
    }

    pub(crate) fn file(&self) -> &'a File {
        self.file
    }

    /// Closing a descriptor of this file means to ask a daemon or a server, and to wait for it.
    pub(crate) fn closing_waits(&mut self) {
        self.closing_waits = true;
    }

    /// What is done elsewhere is done in these places from now on, and holds up only those who wait there too.
    pub(crate) fn waits_in(&mut self, places: &Places) {
        self.places = Some(places.clone());
    }

    /// The next write begins in the middle of a page, which may have to be read from the disk first.
    pub(crate) fn first_write_reads(&mut self) {
        self.first_write_reads = true;
    }

    /// Whether this write may have to read first.
    pub(crate) fn take_first_write_reads(&mut self) -> bool {
        std::mem::take(&mut self.first_write_reads)
    }

    /// A handle for another thread, or for the kernel, which may outlive the transfer by one piece of work.
    pub(crate) fn handle(&mut self) -> Result<Arc<File>, TransferError> {
        if let Some(second) = &self.second {
            return Ok(Arc::clone(second));
        }
        let second = kernel::duplicate(self.file).map_err(|error| TransferError::of_storage(&error))?;
        Ok(Arc::clone(self.second.insert(Arc::new(second))))
    }

    /// Does `work` on a thread that may wait.
    pub(crate) async fn elsewhere<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Result<T, TransferError> {
        Ok(self.begin_elsewhere(work)?.await?)
    }

    /// The same in other places than those of this file.
    pub(crate) async fn elsewhere_in<T: Send + 'static>(
        &mut self,
        places: &Places,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Result<T, TransferError> {
        Ok(self.begin_in(places.clone(), work)?.await?)
    }

    /// The same as a future of its own, which can run while the transfer goes on.
    pub(crate) fn begin_elsewhere<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Result<impl Future<Output = Result<T, runtime::BlockingError>> + 'static, TransferError> {
        self.begin_in(self.places()?, work)
    }

    fn begin_in<T: Send + 'static>(
        &mut self,
        places: Places,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Result<impl Future<Output = Result<T, runtime::BlockingError>> + 'static, TransferError> {
        let file = self.handle()?;
        let script = Script::of_this_thread();
        Ok(places.blocking(move || script.played(|| work(&file))))
    }

    /// Where to wait for this file.
    pub(crate) fn places(&self) -> Result<Places, TransferError> {
        Ok(self.places.clone().or_else(Places::common).ok_or(runtime::BlockingError::NoWorker)?)
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        // While a worker stops there is no other thread any more.
        if self.closing_waits
            && runtime::current_backend().is_some()
            && let Ok(places) = self.places()
            && let Some(second) = self.second.take()
        {
            runtime::spawn(places.blocking(move || drop(second)));
        }
    }
}
