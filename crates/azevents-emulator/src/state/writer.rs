//! The thread that writes: everything that came meanwhile at once, then the news of it.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use tracing::{debug, error};

use super::{
    Folder,
    frame::{self, MAGIC},
    journal::{NotWritten, Shared},
};

/// Writes a service's state as records.
pub(crate) type Snapshot = Box<dyn Fn(&mut Sink) + Send>;

/// A log shorter than this is not worth writing anew.
const SMALL: u64 = 16 * 1024 * 1024;

/// Takes the records of a state.
pub(crate) struct Sink {
    file: BufWriter<File>,
    buffer: Vec<u8>,
    length: u64,
    failed: Option<io::Error>,
}

impl Sink {
    /// The state can't be had any more: the log stays as it was.
    pub(crate) fn give_up(&mut self) {
        self.failed = Some(io::Error::other("the service has ended"));
    }

    /// Adds a record. If that fails, the log stays as it was.
    pub(crate) fn record(&mut self, what: &impl Serialize, parts: &[&[u8]]) {
        if self.failed.is_some() {
            return;
        }
        self.buffer.clear();
        frame::write(&mut self.buffer, what, parts);
        self.length += self.buffer.len() as u64;
        self.failed = self.file.write_all(&self.buffer).err();
    }
}

pub(super) struct Writer {
    path: PathBuf,
    file: File,
    length: u64,
    /// Write anew from this length on.
    rewrite_at: u64,
    folder: Folder,
    /// `None` where it isn't written anew.
    snapshot: Option<Snapshot>,
}

impl Writer {
    pub(super) fn new(path: PathBuf, file: File, length: u64, folder: Folder, snapshot: Option<Snapshot>) -> Self {
        Self {
            path,
            file,
            length,
            rewrite_at: SMALL.max(length),
            folder,
            snapshot,
        }
    }

    pub(super) fn run(mut self, shared: &Shared) {
        while let Some((bytes, done)) = shared.take() {
            let written = self.write(&bytes);
            if let Err(error) = &written {
                error!(file = %self.path.display(), %error, "cannot write; nothing is acknowledged any more");
            }
            let outcome = written.map_err(|_| NotWritten);
            for done in done {
                done(outcome);
            }
            if outcome.is_err() {
                // What is half in the file would be cut off or, worse, be followed by something.
                return shared.fail();
            }
            if self.length >= self.rewrite_at
                && let Some(snapshot) = self.snapshot.take()
            {
                match self.rewrite(&snapshot) {
                    Ok(()) => debug!(file = %self.path.display(), bytes = self.length, "written anew"),
                    // The old one goes on.
                    Err(error) => error!(file = %self.path.display(), %error, "cannot be written anew"),
                }
                self.snapshot = Some(snapshot);
                self.rewrite_at = SMALL.max(self.length * 2);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        if self.folder.settings.fsync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn rewrite(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        (self.file, self.length) = write_anew(&self.path, &self.folder, snapshot)?;
        Ok(())
    }
}

/// Writes a log anew, beside the old one until it is whole. Returns the file, at its end, and its length.
pub(super) fn write_anew(path: &Path, folder: &Folder, records: impl FnOnce(&mut Sink)) -> io::Result<(File, u64)> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&new)?;
    let mut sink = Sink {
        file: BufWriter::with_capacity(1 << 20, file),
        buffer: Vec::new(),
        length: MAGIC.len() as u64,
        failed: None,
    };
    sink.file.write_all(MAGIC)?;
    records(&mut sink);
    if let Some(error) = sink.failed {
        return Err(error);
    }
    let file = sink.file.into_inner().map_err(io::IntoInnerError::into_error)?;
    // Always: a name that points to nothing would be worse than the last second's loss.
    file.sync_data()?;
    std::fs::rename(&new, path)?;
    if folder.settings.fsync {
        File::open(folder.path())?.sync_all()?;
    }
    Ok((file, sink.length))
}
