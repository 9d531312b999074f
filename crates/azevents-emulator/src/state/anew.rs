//! A log written anew: a second file that takes the first one's name when it is whole.
//!
//! The first file stays as it is until then, so a kill at any moment leaves one of the two, whole.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use serde::Serialize;

use super::{
    DataError, Folder,
    frame::{self, MAGIC},
    written::Written,
};

/// Writes a service's state as records.
pub(crate) type Snapshot = Box<dyn Fn(&mut Sink) + Send>;

/// Writes what has to be known of a log as records. `false` if that is hardly less.
pub(crate) type Condense = Arc<dyn Fn(&Written, &mut Sink) -> Result<bool, DataError> + Send + Sync>;

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

/// A log that has no name yet.
pub(super) struct Anew {
    /// At its end.
    pub(super) file: File,
    pub(super) length: u64,
    path: PathBuf,
}

impl Anew {
    /// Writes one for the log at `path`. `None` if `records` says that it isn't worth it.
    pub(super) fn write(path: &Path, records: impl FnOnce(&mut Sink) -> io::Result<bool>) -> io::Result<Option<Self>> {
        let mut new = path.to_owned().into_os_string();
        new.push(".new");
        let path = PathBuf::from(new);
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        let mut sink = Sink {
            file: BufWriter::with_capacity(1 << 20, file),
            buffer: Vec::new(),
            length: MAGIC.len() as u64,
            failed: None,
        };
        sink.file.write_all(MAGIC)?;
        let worth = records(&mut sink);
        if let Some(error) = sink.failed {
            return Err(error);
        }
        let file = sink.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        if !worth? {
            drop(file);
            std::fs::remove_file(path)?;
            return Ok(None);
        }
        // Always: a name that points to nothing would be worse than the last second's loss.
        file.sync_data()?;
        Ok(Some(Self {
            file,
            length: sink.length,
            path,
        }))
    }

    /// Adds what the first log has from `start` to `end`, which was written to it meanwhile.
    pub(super) fn catch_up(&mut self, first: &Path, start: u64, end: u64) -> io::Result<()> {
        let mut rest = File::open(first)?;
        rest.seek(SeekFrom::Start(start))?;
        let copied = io::copy(&mut io::Read::take(rest, end - start), &mut self.file)?;
        if copied != end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.length += copied;
        self.file.sync_data()
    }

    /// Takes the name of the first log. From here on it is the log.
    pub(super) fn take_name(self, first: &Path, folder: &Folder) -> io::Result<(File, u64)> {
        std::fs::rename(&self.path, first)?;
        if folder.settings.fsync {
            File::open(folder.path())?.sync_all()?;
        }
        Ok((self.file, self.length))
    }
}

/// A log that is being condensed on a thread of its own, beside what goes on being written.
pub(super) struct Condensing {
    log: Written,
    /// How long the log was when this began.
    from: u64,
    thread: JoinHandle<io::Result<Option<Anew>>>,
}

impl Condensing {
    /// `length` bytes of the log are written.
    pub(super) fn start(path: &Path, length: u64, folder: &Folder, condense: &Condense) -> io::Result<Self> {
        let log = Written::new(path, length);
        let (path, condense, theirs) = (path.to_owned(), Arc::clone(condense), log.clone());
        // Nobody else may use the folder until this has ended.
        let folder = folder.clone();
        let thread = std::thread::Builder::new().name("condense".to_owned()).spawn(move || {
            let written = Anew::write(&path, |sink| condense(&theirs, sink).map_err(io::Error::other));
            drop(folder);
            written
        })?;
        Ok(Self {
            log,
            from: length,
            thread,
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Makes it end soon, whatever comes of it.
    pub(super) fn stop(&self) {
        self.log.stop();
    }

    /// The condensed log, with what was written until `end` meanwhile. `None` where it stays as it is.
    pub(super) fn result(self, path: &Path, end: u64) -> io::Result<Option<Anew>> {
        let ended = self.thread.join();
        let condensed = ended.unwrap_or_else(|_| Err(io::Error::other("it panicked")))?;
        let Some(mut anew) = condensed else {
            return Ok(None);
        };
        anew.catch_up(path, self.from, end)?;
        Ok(Some(anew))
    }
}
