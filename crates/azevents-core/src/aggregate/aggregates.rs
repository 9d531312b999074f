//! Loading aggregates and carrying out commands on them.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Aggregate, Loaded, encode};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Commit, NewEvent};
use crate::snapshot::{SnapshotPolicy, SnapshotStore, Snapshots};
use crate::state_cache::StateCache;
use crate::store::{AppendOutcome, EventStore, ReadOptions};
use crate::stream::StreamId;
use crate::version::ExpectedVersion;

/// What became of a command.
#[derive(Debug)]
pub enum Executed<A: Aggregate> {
    /// Its events were stored, or were stored by an earlier attempt.
    Committed(Commit),
    /// There was nothing to do.
    Unchanged,
    /// The aggregate refused.
    Refused(A::Refusal),
}

/// Loads aggregates of one type and carries out commands on them. Clones share cache and snapshots.
///
/// | what is set | loading costs |
/// | --- | --- |
/// | nothing | reading all events |
/// | [snapshots](Self::with_snapshots) | the snapshot, and reading the events since |
/// | [a cache](Self::with_cache) | the commit that would follow; when there is none, the state is current |
pub struct Aggregates<A> {
    store: Arc<dyn EventStore>,
    attempts: u32,
    snapshots: Option<Arc<Snapshots<A>>>,
    pub(super) cache: Option<Arc<StateCache<A>>>,
    aggregate: PhantomData<fn() -> A>,
}

impl<A> Clone for Aggregates<A> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            attempts: self.attempts,
            snapshots: self.snapshots.clone(),
            cache: self.cache.clone(),
            aggregate: PhantomData,
        }
    }
}

impl<A: Aggregate> Aggregates<A> {
    /// Aggregates kept in `store`. A command is decided again on up to 10 conflicts.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self {
            store,
            attempts: 10,
            snapshots: None,
            cache: None,
            aggregate: PhantomData,
        }
    }

    /// Takes snapshots under `schema` (`order.v3`) and loads from them. Change the schema whenever the
    /// state, or what [`Aggregate::evolve`] makes of events, changes: older snapshots are then ignored.
    ///
    /// They are written in the background after an append or a load, and a failure is only logged.
    #[must_use]
    pub fn with_snapshots(
        mut self,
        store: Arc<dyn SnapshotStore>,
        schema: impl Into<String>,
        policy: SnapshotPolicy,
    ) -> Self
    where
        A: Serialize + DeserializeOwned,
    {
        self.snapshots = Some(Arc::new(Snapshots::new(store, schema.into(), policy)));
        self
    }

    /// Keeps states in memory. A load only asks for the commit that would follow, and a command is first
    /// tried on the state as it is: the append finds out when others have been there.
    ///
    /// A cached state of a stream that was [deleted](crate::StreamLifecycle::delete) or truncated past it
    /// elsewhere looks current until something is appended.
    #[must_use]
    pub fn with_cache(mut self, cache: StateCache<A>) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// Folds a stream.
    ///
    /// Concurrent loads of one stream share requests where there is a cache, and each sees everything
    /// that was committed before it was called.
    ///
    /// # Errors
    /// What the store reports; [`ErrorKind::Corrupt`] for an event that isn't one of `A::Event`;
    /// [`ErrorKind::NotFound`] when the first events are gone and no snapshot covers them.
    pub async fn load(&self, stream: &StreamId) -> Result<Loaded<A>> {
        let Some(cache) = &self.cache else {
            return self.load_anew(stream).await;
        };
        let turn = match cache.turn(stream).await {
            Ok(loaded) => return Ok(loaded),
            Err(turn) => turn,
        };
        let loaded = match cache.get(stream) {
            Some(known) => self.catch_up(stream, known).await?,
            None => self.load_anew(stream).await?,
        };
        cache.put(stream, &loaded);
        turn.finish();
        Ok(loaded)
    }

    /// Takes a snapshot now, and waits for it.
    ///
    /// # Errors
    /// What the snapshot store reports; [`ErrorKind::Unsupported`] without
    /// [`with_snapshots`](Self::with_snapshots). Of a stream without events none is taken.
    pub async fn snapshot(&self, stream: &StreamId, loaded: &Loaded<A>) -> Result<()> {
        let Some(snapshots) = &self.snapshots else {
            return Err(Error::new(ErrorKind::Unsupported, "take snapshot", stream)
                .with_message("no snapshot store was given: call with_snapshots"));
        };
        match loaded.head {
            Some(head) => snapshots.save(&snapshots.take(stream, &loaded.state, head)?).await,
            None => Ok(()),
        }
    }

    /// Waits until the snapshots that are due have been written, or have failed: before a process ends,
    /// for example.
    pub async fn snapshots_written(&self) {
        if let Some(snapshots) = &self.snapshots {
            snapshots.written().await;
        }
    }

    /// Loads, decides, appends. When somebody else appended first, the command is decided again on what
    /// they appended. `identify` may set ids and metadata of the new events.
    ///
    /// # Errors
    /// What the store reports; [`ErrorKind::Conflict`] when others were first every time.
    pub async fn execute(
        &self,
        stream: &StreamId,
        command: &A::Command,
        identify: impl Fn(&A::Event, NewEvent) -> NewEvent + Send,
    ) -> Result<Executed<A>> {
        let known = self.cache.as_ref().and_then(|cache| cache.get(stream));
        let current = known.is_none();
        let loaded = match known {
            Some(known) => known,
            None => self.load(stream).await?,
        };
        self.decide(loaded, current, stream, command, identify).await
    }

    /// As [`execute`](Self::execute), from a state the caller already has. With `Loaded::default()` it
    /// bets on a stream that doesn't exist yet, and saves the request that would find out.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn execute_on(
        &self,
        loaded: Loaded<A>,
        stream: &StreamId,
        command: &A::Command,
        identify: impl Fn(&A::Event, NewEvent) -> NewEvent + Send,
    ) -> Result<Executed<A>> {
        self.decide(loaded, true, stream, command, identify).await
    }

    /// `current` says whether a decision that changes nothing may be believed; one that appends is
    /// checked by the append.
    async fn decide(
        &self,
        mut loaded: Loaded<A>,
        mut current: bool,
        stream: &StreamId,
        command: &A::Command,
        identify: impl Fn(&A::Event, NewEvent) -> NewEvent + Send,
    ) -> Result<Executed<A>> {
        for _ in 0..self.attempts {
            let decision = loaded.state.decide(command);
            if !current && decision.as_ref().map_or(true, Vec::is_empty) {
                loaded = self.load(stream).await?;
                current = true;
                continue;
            }
            let events = match decision {
                Ok(events) if events.is_empty() => return Ok(Executed::Unchanged),
                Ok(events) => events,
                Err(refusal) => return Ok(Executed::Refused(refusal)),
            };
            let events = events
                .iter()
                .map(|event| encode(event).map(|new| identify(event, new)))
                .collect::<Result<Vec<_>>>()?;
            match self
                .store
                .append(stream, ExpectedVersion::from(loaded.head), events)
                .await?
            {
                AppendOutcome::Committed(commit) => {
                    self.remember(stream, loaded, &commit);
                    return Ok(Executed::Committed(commit));
                }
                AppendOutcome::Conflict(conflict) => {
                    let follows = conflict.unseen.first().is_none_or(|first| loaded.is_followed_by(first));
                    for event in conflict.unseen.iter().filter(|_| follows) {
                        loaded.absorb(event)?;
                    }
                    // The stream was truncated, or its events have expired, since the state was loaded.
                    if loaded.head != conflict.head {
                        self.forget(stream);
                        loaded = self.load(stream).await?;
                    }
                    current = true;
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict, "execute", stream)
            .with_message(format!("others were first {} times; try again later", self.attempts)))
    }

    async fn load_anew(&self, stream: &StreamId) -> Result<Loaded<A>> {
        let restored = match &self.snapshots {
            Some(snapshots) => snapshots.load(stream).await,
            None => None,
        };
        let mut loaded = restored.map_or_else(Loaded::default, Loaded::restored);
        self.read_on(stream, &mut loaded).await?;
        Ok(loaded)
    }

    async fn catch_up(&self, stream: &StreamId, mut known: Loaded<A>) -> Result<Loaded<A>> {
        if let Some(commit) = self.store.next_commit(stream, known.head).await? {
            // Streams whose events expire begin anew one day.
            if commit.events.first().is_some_and(|first| !known.is_followed_by(first)) {
                self.forget(stream);
                return self.load_anew(stream).await;
            }
            for event in &commit.events {
                known.absorb(event)?;
            }
            self.read_on(stream, &mut known).await?;
        }
        Ok(known)
    }

    async fn read_on(&self, stream: &StreamId, loaded: &mut Loaded<A>) -> Result<()> {
        let mut events = self.store.read(stream, ReadOptions::default().after(loaded.head));
        while let Some(event) = events.try_next().await? {
            loaded.absorb(&event)?;
        }
        self.snapshot_when_due(stream, loaded);
        Ok(())
    }

    /// After an append: the new state goes to the cache, and perhaps to a snapshot.
    fn remember(&self, stream: &StreamId, mut loaded: Loaded<A>, commit: &Commit) {
        if self.cache.is_none() && self.snapshots.is_none() {
            return;
        }
        // The append has succeeded; what is wrong with its own events shows when they are loaded.
        if commit.events.iter().try_for_each(|event| loaded.absorb(event)).is_err() {
            return self.forget(stream);
        }
        self.snapshot_when_due(stream, &mut loaded);
        if let Some(cache) = &self.cache {
            cache.put(stream, &loaded);
        }
    }

    fn snapshot_when_due(&self, stream: &StreamId, loaded: &mut Loaded<A>) {
        let (Some(snapshots), Some(head)) = (&self.snapshots, loaded.head) else {
            return;
        };
        if snapshots.is_due(stream, loaded.commits, loaded.since) {
            let snapshot = snapshots.take(stream, &loaded.state, head);
            loaded.commits = 0;
            loaded.since = Some(time::OffsetDateTime::now_utc());
            snapshots.save_later(stream, snapshot);
        }
    }

    fn forget(&self, stream: &StreamId) {
        if let Some(cache) = &self.cache {
            cache.forget(stream);
        }
    }
}
