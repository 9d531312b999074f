//! Snapshots of one aggregate type: encoding them, and writing them beside what the caller waits for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;

use super::{Snapshot, SnapshotPolicy, SnapshotStore};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::event::JSON;
use crate::stream::StreamId;
use crate::version::StreamHead;

/// The codec is a pair of functions, so that only those who take snapshots need a state that serde knows.
pub(crate) struct Snapshots<A> {
    store: Arc<dyn SnapshotStore>,
    schema: String,
    policy: SnapshotPolicy,
    encode: fn(&A) -> serde_json::Result<Vec<u8>>,
    decode: fn(&[u8]) -> serde_json::Result<A>,
    writing: TaskTracker,
    /// Streams of which one is being written: the state is not due again before the next load sees it.
    under_way: Arc<Mutex<HashSet<StreamId>>>,
}

/// A state as a snapshot has it.
pub(crate) struct Restored<A> {
    pub(crate) state: A,
    pub(crate) head: StreamHead,
    pub(crate) taken_at: OffsetDateTime,
}

impl<A: Serialize + DeserializeOwned> Snapshots<A> {
    pub(crate) fn new(store: Arc<dyn SnapshotStore>, schema: String, policy: SnapshotPolicy) -> Self {
        Self {
            store,
            schema,
            policy,
            encode: |state| serde_json::to_vec(state),
            decode: |bytes| serde_json::from_slice(bytes),
            writing: TaskTracker::new(),
            under_way: Arc::default(),
        }
    }
}

impl<A> Snapshots<A> {
    /// The latest snapshot that is of use. Whatever is wrong with it only makes loading longer.
    pub(crate) async fn load(&self, stream: &StreamId) -> Option<Restored<A>> {
        let ignored = |why: &str| tracing::warn!(%stream, schema = self.schema, why, "snapshot ignored");
        match self.store.load_snapshot(stream, &self.schema).await {
            Ok(Some(snapshot)) => match (self.decode)(&snapshot.state) {
                Ok(state) => {
                    return Some(Restored {
                        state,
                        head: snapshot.head,
                        taken_at: snapshot.taken_at,
                    });
                }
                Err(error) => ignored(&error.to_string()),
            },
            Ok(None) => {}
            Err(error) => ignored(&chain(&error)),
        }
        None
    }

    pub(crate) fn is_due(&self, stream: &StreamId, commits: u32, last: Option<OffsetDateTime>) -> bool {
        self.policy.is_due(commits, last, OffsetDateTime::now_utc()) && !lock(&self.under_way).contains(stream)
    }

    pub(crate) fn take(&self, stream: &StreamId, state: &A, head: StreamHead) -> Result<Snapshot> {
        let state = (self.encode)(state)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, "encode snapshot", stream).with_source(error))?;
        Ok(Snapshot {
            stream: stream.clone(),
            schema: self.schema.clone(),
            head,
            taken_at: OffsetDateTime::now_utc(),
            content_type: JSON.to_owned(),
            state: state.into(),
        })
    }

    pub(crate) async fn save(&self, snapshot: &Snapshot) -> Result<()> {
        self.store.save_snapshot(snapshot).await
    }

    /// Writes a snapshot in the background. That it failed is only logged.
    pub(crate) fn save_later(&self, stream: &StreamId, snapshot: Result<Snapshot>) {
        let (store, under_way, stream) = (self.store.clone(), self.under_way.clone(), stream.clone());
        lock(&under_way).insert(stream.clone());
        self.writing.spawn(async move {
            let saved = match snapshot {
                Ok(snapshot) => store.save_snapshot(&snapshot).await,
                Err(error) => Err(error),
            };
            if let Err(error) = saved {
                tracing::warn!(error = chain(&error), "snapshot not written");
            }
            lock(&under_way).remove(&stream);
        });
    }

    /// Waits for the snapshots that are being written.
    pub(crate) async fn written(&self) {
        self.writing.close();
        self.writing.wait().await;
        self.writing.reopen();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
