//! The containers of the one account, behind one lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    error::{self, Result},
    lease::Lease,
    model::{Blob, Change, Container, Stamp, Stamps},
};
use crate::{
    Clock,
    clock::Timestamp,
    state::{DataError, Folder, Journal, Sink},
};

/// The account's state. All that happens to it happens under its lock, so a condition that was
/// checked still holds when the write is done.
#[derive(Debug)]
pub(super) struct Account {
    state: Mutex<State>,
    journal: Journal,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, Container>,
    stamps: Stamps,
    journal: Journal,
    /// Leases go by the emulator's, so that a test can have them end.
    clock: Clock,
}

impl Account {
    /// An account with what is kept in the folder.
    pub(super) fn open(clock: Clock, folder: Option<&Folder>) -> std::result::Result<Arc<Self>, DataError> {
        let journal = Journal::default();
        let account = Arc::new(Self {
            state: Mutex::new(State {
                containers: BTreeMap::new(),
                stamps: Stamps::default(),
                journal: journal.clone(),
                clock,
            }),
            journal,
        });
        if let Some(folder) = folder {
            let mut state = account.lock();
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

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
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
                    let lease = container.blobs.get(&blob).and_then(|blob| blob.lease.clone());
                    container.blobs.insert(blob, Blob { about, lease, content });
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
            Change::Lease { container, blob, lease } => {
                let container = self.containers.get_mut(&container);
                match (container, blob) {
                    (Some(container), None) => container.lease = lease,
                    (Some(container), Some(blob)) => {
                        if let Some(blob) = container.blobs.get_mut(&blob) {
                            blob.lease = lease;
                        }
                    }
                    (None, _) => {}
                }
            }
        }
    }
}

/// Writes all there is.
fn snapshot(containers: BTreeMap<String, Container>, sink: &mut Sink) {
    for (container, entry) in containers {
        let Container {
            about,
            lease,
            blobs,
            staged,
        } = entry;
        let name = || container.clone();
        sink.record(
            &Change::Container {
                container: name(),
                about,
            },
            &[],
        );
        let kept = |blob: Option<String>, lease: Option<Lease>, sink: &mut Sink| {
            if lease.is_some() {
                let container = name();
                sink.record(&Change::Lease { container, blob, lease }, &[]);
            }
        };
        kept(None, lease, sink);
        for (blob, Blob { about, lease, content }) in blobs {
            let (container, leased) = (name(), blob.clone());
            sink.record(&Change::Blob { container, blob, about }, &[&content]);
            kept(Some(leased), lease, sink);
        }
        for (blob, blocks) in staged {
            for (id, content) in blocks {
                let (container, blob) = (name(), blob.clone());
                sink.record(&Change::Block { container, blob, id }, &[&content]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;
    use crate::{
        DataFolder,
        blobs::{
            lease::{self, Term},
            model::{BlobProperties, ContainerProperties, ContentHeaders, Metadata},
        },
    };

    struct Scratch(PathBuf);

    impl Scratch {
        fn open(&self, clock: &Clock) -> Arc<Account> {
            let folder = Folder::open(&DataFolder::new(&self.0)).expect("nobody else has it");
            Account::open(clock.clone(), Some(&folder)).expect("it is whole")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn state_of(account: &Account) -> lease::State {
        let state = account.lock();
        let blob = state.blob("leases", "leader").expect("it is kept");
        lease::State::of(blob.lease.as_ref(), state.now())
    }

    #[tokio::test]
    async fn a_lease_outlives_the_process_and_a_new_content_and_ends_in_its_time() {
        let folder = std::env::temp_dir().join(format!("azevents-leases-{}", uuid::Uuid::new_v4()));
        let (folder, clock) = (Scratch(folder), Clock::start());
        let account = folder.open(&clock);
        {
            let mut state = account.lock();
            let about = ContainerProperties::default();
            let container = "leases".to_owned();
            state.change(Change::Container { container, about }, Bytes::new());
            let lease = lease::acquire(None, "a".into(), Term::Seconds(60), state.now()).expect("it is free");
            for (lease, content) in [(Some(lease), "first"), (None, "second")] {
                let (container, blob) = ("leases".to_owned(), "leader".to_owned());
                let about = BlobProperties {
                    stamp: state.stamp(),
                    created: 0,
                    metadata: Metadata::default(),
                    headers: ContentHeaders::default(),
                    blocks: Vec::new(),
                };
                state.change(
                    Change::Blob { container, blob, about },
                    Bytes::from_static(content.as_bytes()),
                );
                if lease.is_some() {
                    let (container, blob) = ("leases".to_owned(), Some("leader".to_owned()));
                    state.change(Change::Lease { container, blob, lease }, Bytes::new());
                }
            }
        }
        account.journal().close().await;
        drop(account);

        let account = folder.open(&clock);
        assert_eq!(state_of(&account), lease::State::Leased);
        clock.advance(Duration::from_secs(60));
        assert_eq!(state_of(&account), lease::State::Expired);
        account.journal().close().await;
    }
}
