//! What is in a log: read to its last whole record, as often as need be.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    DataError,
    frame::{self, HEAD, MAGIC, Record},
};

/// A log as far as it was written at one moment. It may have grown since.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    path: PathBuf,
    length: u64,
    /// Nobody wants to know any more.
    stop: Arc<AtomicBool>,
}

impl Written {
    pub(super) fn new(path: &Path, length: u64) -> Self {
        Self {
            path: path.to_owned(),
            length,
            stop: Arc::default(),
        }
    }

    /// In bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Makes whoever reads it end soon.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Reads it from its beginning.
    pub(crate) fn read(&self, mut each: impl FnMut(Record<'_>) -> Result<(), String>) -> Result<(), DataError> {
        let file = File::open(&self.path).map_err(DataError::io(&self.path))?;
        let whole = read_whole(&self.path, &file, self.length, |record| {
            if self.stop.load(Ordering::Relaxed) {
                return Err("the emulator is stopping".to_owned());
            }
            each(record)
        })?;
        if whole == self.length {
            return Ok(());
        }
        Err(DataError::Damaged {
            path: self.path.clone(),
            at: whole,
            what: "a record is cut short".to_owned(),
        })
    }
}

/// Reads all whole records in the first `size` bytes, and returns their length.
pub(super) fn read_whole(
    path: &Path,
    file: &File,
    size: u64,
    mut each: impl FnMut(Record<'_>) -> Result<(), String>,
) -> Result<u64, DataError> {
    let damaged = |at: u64, what: String| DataError::Damaged {
        path: path.to_owned(),
        at,
        what,
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic).map_err(DataError::io(path))?;
    if magic != *MAGIC {
        return Err(damaged(0, "it is not a log of this version of the emulator".to_owned()));
    }
    let mut at = MAGIC.len() as u64;
    let mut record = Vec::new();
    while size - at >= HEAD as u64 {
        let mut head = [0; HEAD];
        reader.read_exact(&mut head).map_err(DataError::io(path))?;
        let (length, sum) = frame::head(head);
        let end = at + (HEAD + length) as u64;
        if end > size {
            break;
        }
        record.resize(length, 0);
        reader.read_exact(&mut record).map_err(DataError::io(path))?;
        let parsed = (crc32fast::hash(&record) == sum)
            .then(|| Record::parse(&record))
            .flatten();
        match parsed {
            Some(record) => each(record).map_err(|what| damaged(at, what))?,
            // The last record may have reached the disk in part when the power went.
            None if end == size || length == 0 => break,
            None => return Err(damaged(at, "the checksum is wrong".to_owned())),
        }
        at = end;
    }
    Ok(at)
}
