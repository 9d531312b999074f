//! The folder, and the right to use it.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Record, journal::Recovered};

/// Where an emulator keeps its state, and how well.
///
/// What was acknowledged survives the end of the process, however it ends. See
/// [`with_fsync`](Self::with_fsync) for the end of the machine.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("azevents-doc-{}", std::process::id()));
/// use azevents_emulator::{DataFolder, Emulator};
///
/// let emulator = Emulator::builder().data(DataFolder::new(&folder)).start().await?;
/// emulator.shutdown().await;
/// let same_again = Emulator::builder().data(DataFolder::new(&folder)).start().await?;
/// # same_again.shutdown().await;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataFolder {
    /// The folder; made if it isn't there.
    pub path: PathBuf,
    /// Whether an acknowledgement waits for the disk. Off by default.
    pub fsync: bool,
}

impl DataFolder {
    /// A folder that no other emulator uses at the same time.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            fsync: false,
        }
    }

    /// Acknowledges only what is on the disk, so that it survives the loss of power too. Slower:
    /// the disk is waited for, though once for all that came meanwhile.
    #[must_use]
    pub fn with_fsync(mut self) -> Self {
        self.fsync = true;
        self
    }
}

/// State that can't be kept or read. Nothing was changed in the folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Two emulators would overwrite each other's state.
    #[error("the data folder {} is in use by another emulator: stop that one, or choose another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or a file in it can't be opened, read or written.
    #[error("cannot use {} for the emulator's state: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not as it was written.
    #[error("{} is damaged at byte {at}: {what}. Restore it from a copy, or move it away to start empty", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// How.
        what: String,
    },
}

impl DataError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A folder this process may use. Free again when the last clone is gone.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(super) settings: DataFolder,
    /// Locked. Every journal has one too, as it may write for a moment longer than its service lives.
    pub(super) _lock: Arc<File>,
}

impl Folder {
    /// Makes the folder if need be and keeps other emulators out.
    pub(crate) fn open(settings: &DataFolder) -> Result<Self, DataError> {
        let path = &settings.path;
        std::fs::create_dir_all(path).map_err(DataError::io(path))?;
        let file = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .map_err(DataError::io(&file))?;
        if !lock_file(&lock).map_err(DataError::io(&file))? {
            return Err(DataError::InUse { path: path.clone() });
        }
        Ok(Self {
            settings: settings.clone(),
            _lock: Arc::new(lock),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Reads the log of a service from its beginning.
    pub(crate) fn recover(
        &self,
        service: &str,
        replay: impl FnMut(Record<'_>) -> Result<(), String>,
    ) -> Result<Recovered, DataError> {
        Recovered::read(self, service, replay)
    }
}

/// `false` if another process has it.
#[cfg(unix)]
fn lock_file(file: &File) -> io::Result<bool> {
    use rustix::{
        fs::{FlockOperation, flock},
        io::Errno,
    };
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The standard library can lock files from Rust 1.89 on; until that is the oldest one supported,
/// a second emulator on the same folder is not noticed here.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn lock_file(_: &File) -> io::Result<bool> {
    Ok(true)
}
