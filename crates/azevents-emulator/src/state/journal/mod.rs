//! One service's log: read once at the start, appended to from then on.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::JoinHandle,
};

use serde::Serialize;
use tracing::warn;

use super::{
    DataError, Folder,
    anew::Snapshot,
    frame::{self, MAGIC, Record},
    writer::{Shorten, Writer},
    written::read_whole,
};
#[cfg(feature = "cosmos")]
use super::{
    anew::{Anew, Condense, Sink},
    written::Written,
};

/// The record was not written and won't be: the disk is full, or the emulator is stopping. What was
/// to follow from it must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the emulator's state could not be written; see its log")]
pub(crate) struct NotWritten;

type Done = Box<dyn FnOnce(Result<(), NotWritten>) + Send>;

/// Takes records in order and says when they are written. Clones share one log. Until a log is
/// [started](Recovered::start) behind it, and always in an emulator that keeps nothing, whatever it
/// is given counts as written.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<OnceLock<Open>>);

struct Open {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Between those who append and the thread that writes.
#[derive(Default)]
pub(super) struct Shared {
    pending: Mutex<Pending>,
    more: Condvar,
}

#[derive(Default)]
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    pub(super) done: Vec<Done>,
    /// Nothing is taken any more.
    pub(super) closed: bool,
}

impl Journal {
    /// Appends a record and calls `done` once it is written or can't be. Records are written, and
    /// their `done` called, in the order of these calls. `done` is called on the journal's thread
    /// (without a log: here and now) and must not take long.
    pub(crate) fn append(
        &self,
        what: &impl Serialize,
        parts: &[&[u8]],
        done: impl FnOnce(Result<(), NotWritten>) + Send + 'static,
    ) {
        let Some(open) = self.0.get() else {
            return done(Ok(()));
        };
        let mut pending = open.shared.lock();
        if pending.closed {
            drop(pending);
            return done(Err(NotWritten));
        }
        frame::write(&mut pending.bytes, what, parts);
        pending.done.push(Box::new(done));
        drop(pending);
        open.shared.more.notify_one();
    }

    /// Calls `done` as [`append`](Self::append) does, when all that was appended so far is written.
    pub(crate) fn when_written(&self, done: impl FnOnce(Result<(), NotWritten>) + Send + 'static) {
        let Some(open) = self.0.get() else {
            return done(Ok(()));
        };
        let mut pending = open.shared.lock();
        if pending.closed {
            drop(pending);
            return done(Err(NotWritten));
        }
        pending.done.push(Box::new(done));
        drop(pending);
        open.shared.more.notify_one();
    }

    /// Waits until all that was appended so far is written.
    pub(crate) async fn written(&self) -> Result<(), NotWritten> {
        if !self.keeps() {
            return Ok(());
        }
        let (done, written) = tokio::sync::oneshot::channel();
        self.when_written(|result| {
            // Who asked may have gone.
            let _ = done.send(result);
        });
        written.await.unwrap_or(Err(NotWritten))
    }

    /// Whether there is a log.
    pub(crate) fn keeps(&self) -> bool {
        self.0.get().is_some()
    }

    /// Takes nothing more, and waits until what was taken is written and the file closed.
    pub(crate) async fn close(&self) {
        let Some(open) = self.0.get() else { return };
        open.close();
        let thread = open.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends as soon as the disk lets it; a panic in it has been reported.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Open {
    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_one();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work, and takes all there is. `None` when there will be no more.
    pub(super) fn take(&self) -> Option<(Vec<u8>, Vec<Done>)> {
        let mut pending = self.lock();
        while pending.done.is_empty() {
            if pending.closed {
                return None;
            }
            pending = self.more.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        Some((std::mem::take(&mut pending.bytes), std::mem::take(&mut pending.done)))
    }

    /// Takes nothing more; what was taken and not written fails.
    pub(super) fn fail(&self) {
        let done = {
            let mut pending = self.lock();
            pending.closed = true;
            pending.bytes = Vec::new();
            std::mem::take(&mut pending.done)
        };
        for done in done {
            done(Err(NotWritten));
        }
    }
}

/// A log that has been read and not been started yet.
pub(crate) struct Recovered {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    length: u64,
    folder: Folder,
}

impl Recovered {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(
        folder: &Folder,
        service: &str,
        replay: impl FnMut(Record<'_>) -> Result<(), String>,
    ) -> Result<Self, DataError> {
        let path = folder.path().join(format!("{service}.log"));
        let io = || DataError::io(&path);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io())?;
        let size = file.metadata().map_err(io())?.len();
        let length = if size < MAGIC.len() as u64 {
            // New, or killed before its first bytes.
            file.set_len(0).map_err(io())?;
            file.write_all(MAGIC).map_err(io())?;
            MAGIC.len() as u64
        } else {
            read_whole(&path, &file, size, replay)?
        };
        if length < size {
            warn!(
                file = %path.display(),
                bytes = size - length,
                "cut an incomplete record off, which nobody was told is written"
            );
            file.set_len(length).map_err(io())?;
        }
        file.seek(SeekFrom::Start(length)).map_err(io())?;
        Ok(Self {
            path,
            file,
            length,
            folder: folder.clone(),
        })
    }

    /// Starts taking records from `journal`. `snapshot` writes all that has to be known of the service's state
    /// into a log written anew. It is called on the journal's thread, when everything appended
    /// before is done; it may also write what is appended already and done later, if reading that
    /// twice does no harm.
    pub(crate) fn start(self, journal: &Journal, snapshot: Snapshot) -> Result<(), DataError> {
        self.start_with(journal, Shorten::Snapshot(snapshot))
    }

    /// As [`start`](Self::start), of a service whose state can't be had: its log is condensed, on a thread of
    /// its own, when it has `small` bytes or more and is twice as long as after the last time.
    #[cfg(feature = "cosmos")]
    pub(crate) fn start_condensing(self, journal: &Journal, small: u64, condense: Condense) -> Result<(), DataError> {
        let running = None;
        let shorten = Shorten::Condense {
            condense,
            small,
            running,
        };
        self.start_with(journal, shorten)
    }

    /// What is in the log, to be read again.
    #[cfg(feature = "cosmos")]
    pub(crate) fn written(&self) -> Written {
        Written::new(&self.path, self.length)
    }

    /// Writes the log anew.
    #[cfg(feature = "cosmos")]
    pub(crate) fn condensed(
        self,
        condense: impl FnOnce(&Written, &mut Sink) -> Result<(), DataError>,
    ) -> Result<Self, DataError> {
        let failed = || DataError::io(&self.path);
        let log = self.written();
        let mut outcome = Ok(());
        let anew = Anew::write(&self.path, |sink| {
            outcome = condense(&log, sink);
            Ok(outcome.is_ok())
        });
        outcome?;
        let Some(anew) = anew.map_err(failed())? else {
            return Ok(self);
        };
        let (file, length) = anew.take_name(&self.path, &self.folder).map_err(failed())?;
        Ok(Self { file, length, ..self })
    }

    fn start_with(self, journal: &Journal, shorten: Shorten) -> Result<(), DataError> {
        let shared = Arc::new(Shared::default());
        let failed = DataError::io(&self.path);
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let writer = Writer::new(self.path, self.file, self.length, self.folder, shorten);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || writer.run(&theirs))
            .map_err(failed)?;
        let open = Open {
            shared,
            thread: Mutex::new(Some(thread)),
        };
        assert!(journal.0.set(open).is_ok(), "a journal has one log");
        Ok(())
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Journal").field(&self.keeps()).finish()
    }
}

#[cfg(test)]
mod tests;
