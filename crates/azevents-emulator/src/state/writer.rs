//! The thread that writes: everything that came meanwhile at once, then the news of it.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use tracing::{debug, error};

use super::{
    Folder,
    anew::{Anew, Condense, Condensing, Snapshot},
    journal::{NotWritten, Shared},
};

/// A log shorter than this is not worth writing anew.
const SMALL: u64 = 16 * 1024 * 1024;

/// How a log gets shorter.
pub(super) enum Shorten {
    /// From the service's state, while nothing else is written.
    Snapshot(Snapshot),
    /// From itself, while what comes goes on being written to it.
    Condense {
        condense: Condense,
        /// As [`SMALL`].
        small: u64,
        running: Option<Condensing>,
    },
}

pub(super) struct Writer {
    path: PathBuf,
    file: File,
    length: u64,
    /// Write anew from this length on.
    rewrite_at: u64,
    folder: Folder,
    shorten: Shorten,
}

impl Writer {
    pub(super) fn new(path: PathBuf, file: File, length: u64, folder: Folder, shorten: Shorten) -> Self {
        let rewrite_at = match &shorten {
            // How much of it is worth keeping is not known.
            Shorten::Snapshot(_) => SMALL.max(length),
            // It has been condensed if it could be.
            Shorten::Condense { small, .. } => (*small).max(length * 2),
        };
        Self {
            path,
            file,
            length,
            rewrite_at,
            folder,
            shorten,
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
                shared.fail();
                break;
            }
            self.shorten();
        }
        if let Shorten::Condense { running, .. } = &mut self.shorten
            && let Some(running) = running.take()
        {
            // Not worth waiting for; the next start condenses it.
            running.stop();
            let _ = running.result(&self.path, self.length);
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

    /// Writes the log anew if it is time for that, or for the next step of it.
    fn shorten(&mut self) {
        let due = self.length >= self.rewrite_at;
        let (path, length) = (&self.path, self.length);
        let (anew, small) = match &mut self.shorten {
            Shorten::Snapshot(snapshot) if due => {
                let records = |sink: &mut _| {
                    snapshot(sink);
                    Ok(true)
                };
                (Anew::write(path, records), SMALL)
            }
            Shorten::Condense {
                condense,
                small,
                running,
            } => match running.take_if(|running| running.has_ended()) {
                Some(ended) => (ended.result(path, length), *small),
                None if due && running.is_none() => match Condensing::start(path, length, &self.folder, condense) {
                    Ok(started) => {
                        *running = Some(started);
                        return;
                    }
                    Err(error) => (Err(error), *small),
                },
                None => return,
            },
            Shorten::Snapshot(_) => return,
        };
        let named = anew.and_then(|anew| anew.map(|anew| anew.take_name(path, &self.folder)).transpose());
        match named {
            Ok(Some((file, length))) => {
                debug!(file = %path.display(), bytes = length, "written anew");
                (self.file, self.length) = (file, length);
            }
            Ok(None) => debug!(file = %path.display(), "hardly anything could be left out"),
            // The old one goes on.
            Err(error) => error!(file = %path.display(), %error, "cannot be written anew"),
        }
        self.rewrite_at = small.max(self.length * 2);
    }
}
