//! The containers of the one account, behind one lock.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    error::{self, Result},
    model::{Blob, Change, Container, Stamp, Stamps},
};

/// The account's state. All that happens to it happens under its lock, so a condition that was
/// checked still holds when the write is done.
#[derive(Debug, Default)]
pub(super) struct Account {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, Container>,
    stamps: Stamps,
}

impl Account {
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

    /// Makes a change that is allowed.
    pub(super) fn change(&mut self, change: Change, content: Bytes) {
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
