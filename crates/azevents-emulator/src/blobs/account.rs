//! The containers of the one account, behind one lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    error::{self, Result},
    model::{Blob, Change, Container, Stamp, Stamps},
};
use crate::state::{DataError, Folder, Journal, Sink};

/// The account's state. All that happens to it happens under its lock, so a condition that was
/// checked still holds when the write is done.
#[derive(Debug, Default)]
pub(super) struct Account {
    state: Mutex<State>,
    journal: Journal,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, Container>,
    stamps: Stamps,
    journal: Journal,
}

impl Account {
    /// An account with what is kept in the folder.
    pub(super) fn open(folder: Option<&Folder>) -> std::result::Result<Arc<Self>, DataError> {
        let account = Arc::new(Self::default());
        if let Some(folder) = folder {
            let mut state = account.lock();
            state.journal = account.journal.clone();
            let recovered = folder.recover("blobs", |record| {
                state.apply(record.read()?, Bytes::copy_from_slice(record.bytes));
                Ok(())
            })?;
            drop(state);
            let weak = Arc::downgrade(&account);
            let snapshot = move |sink: &mut Sink| {
                if let Some(account) = weak.upgrade() {
                    // A copy, so that nobody waits for the disk; content is shared.
                    let containers = account.lock().containers.clone();
                    snapshot(containers, sink);
                } else {
                    sink.give_up();
                }
            };
            recovered.start(&account.journal, Box::new(snapshot))?;
        }
        Ok(account)
    }

    /// What is kept, if anything is.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn container(&self, name: &str) -> Result<&Container> {
        self.containers.get(name).ok_or_else(|| error::no_container(name))
    }

    /// The blob if it is there; an error if not even the container is.
    pub(super) fn find(&self, container: &str, blob: &str) -> Result<Option<&Blob>> {
        Ok(self.container(container)?.blobs.get(blob))
    }

    pub(super) fn blob(&self, container: &str, blob: &str) -> Result<&Blob> {
        self.find(container, blob)?.ok_or_else(|| error::no_blob(blob))
    }

    /// An etag and a time for what is about to be written.
    pub(super) fn stamp(&mut self) -> Stamp {
        self.stamps.next(OffsetDateTime::now_utc())
    }

    /// Makes a change that is allowed. It is written when the journal says so, and until then no
    /// answer may tell of it.
    pub(super) fn change(&mut self, change: Change, content: Bytes) {
        self.journal.append(&change, &[&content], |_| {});
        self.apply(change, content);
    }

    /// Does what a change says. What it needs and is not there was dropped by a later change.
    fn apply(&mut self, change: Change, content: Bytes) {
        match change {
            Change::Container { container, about } => {
                self.stamps.given(&about.stamp);
                self.containers.entry(container).or_default().about = about;
            }
            Change::DropContainer { container } => {
                self.containers.remove(&container);
            }
            Change::Blob { container, blob, about } => {
                self.stamps.given(&about.stamp);
                if let Some(container) = self.containers.get_mut(&container) {
                    container.staged.remove(&blob);
                    container.blobs.insert(blob, Blob { about, content });
                }
            }
            Change::Describe { container, blob, about } => {
                self.stamps.given(&about.stamp);
                if let Some(blob) = self.containers.get_mut(&container).and_then(|c| c.blobs.get_mut(&blob)) {
                    blob.about = about;
                }
            }
            Change::DropBlob { container, blob } => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.blobs.remove(&blob);
                    container.staged.remove(&blob);
                }
            }
            Change::Block { container, blob, id } => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.staged.entry(blob).or_default().insert(id, content);
                }
            }
        }
    }
}

/// Writes all there is.
fn snapshot(containers: BTreeMap<String, Container>, sink: &mut Sink) {
    for (container, Container { about, blobs, staged }) in containers {
        let name = || container.clone();
        sink.record(
            &Change::Container {
                container: name(),
                about,
            },
            &[],
        );
        for (blob, Blob { about, content }) in blobs {
            let container = name();
            sink.record(&Change::Blob { container, blob, about }, &[&content]);
        }
        for (blob, blocks) in staged {
            for (id, content) in blocks {
                let (container, blob) = (name(), blob.clone());
                sink.record(&Change::Block { container, blob, id }, &[&content]);
            }
        }
    }
}
