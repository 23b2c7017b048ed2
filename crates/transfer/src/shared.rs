//! A file that other threads may have to work on.

use std::fs::File;
use std::sync::Arc;

use crate::TransferError;
use crate::kernel;
use crate::kernel::injection::Script;

/// A file as the threads for blocking work need it: a second descriptor, made when the first such work comes.
pub(crate) struct Shared<'a> {
    file: &'a File,
    second: Option<Arc<File>>,
    closing_waits: bool,
    first_write_reads: bool,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(file: &'a File) -> Shared<'a> {
        Shared { file, second: None, closing_waits: false, first_write_reads: false }
    }

    pub(crate) fn file(&self) -> &'a File {
        self.file
    }

    /// Closing a descriptor of this file means to ask a daemon or a server, and to wait for it.
    pub(crate) fn closing_waits(&mut self) {
        self.closing_waits = true;
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

    /// The same as a future of its own, which can run while the transfer goes on.
    pub(crate) fn begin_elsewhere<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Result<impl Future<Output = Result<T, runtime::BlockingError>> + 'static, TransferError> {
        let file = self.handle()?;
        let script = Script::of_this_thread();
        Ok(runtime::blocking(move || script.played(|| work(&file))))
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        // While a worker stops there is no other thread any more.
        if self.closing_waits
            && runtime::current_backend().is_some()
            && let Some(second) = self.second.take()
        {
            runtime::spawn(runtime::blocking(move || drop(second)));
        }
    }
}
