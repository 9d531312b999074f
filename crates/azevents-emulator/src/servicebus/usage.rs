//! When an entity was created, changed and used: what administration clients are told, and what idleness goes by.
//!
//! What counts as use of which entity is in [`idle`](super::idle). Creation, and changed settings and rules, keep an
//! entity from being idle too, but nobody has accessed it by that: one that was never used was last accessed in
//! the year 1, as in the service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    clock::{Clock, Timestamp},
    store::Kept,
};

/// The times an entity has; Unix times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Times {
    created: i64,
    updated: i64,
    accessed: i64,
}

impl Times {
    /// .NET's first instant, the beginning of the year 1, which stands for "never".
    const NEVER: i64 = -62_135_596_800_000;

    /// It was last used then.
    pub(super) fn use_at(&mut self, accessed: i64) {
        self.accessed = accessed;
    }

    /// When it was created.
    pub(crate) fn created(&self) -> Timestamp {
        Timestamp::from_millis(self.created)
    }

    /// When its settings were last given.
    pub(crate) fn updated(&self) -> Timestamp {
        Timestamp::from_millis(self.updated)
    }

    /// When it was last used; the beginning of the year 1 if it never was.
    pub(crate) fn accessed(&self) -> Timestamp {
        Timestamp::from_millis(self.accessed)
    }
}

/// When an entity, with its dead-letter queues, was created, changed and used.
pub(super) struct Usage {
    clock: Clock,
    kept: Kept,
    created: i64,
    updated: AtomicI64,
    accessed: AtomicI64,
    /// The access that is written down.
    told: AtomicI64,
    /// The end of what keeps it from being idle.
    busy_until: AtomicI64,
    /// Open receivers.
    receivers: AtomicUsize,
    /// The topic of a subscription, which is used with it.
    above: Option<Arc<Usage>>,
    /// Tells the task that an entity is to be looked at.
    settings: Arc<Notify>,
}

impl Usage {
    /// Of a namespace. `settings` is told when one of its entities may be deleted by itself.
    pub(super) fn new(clock: &Clock, kept: &Kept, settings: &Arc<Notify>) -> Arc<Self> {
        Self::build(clock, kept, settings, None)
    }

    /// Of an entity that is created now, or again.
    pub(super) fn another(&self, kept: &Kept) -> Arc<Self> {
        Self::build(&self.clock, kept, &self.settings, None)
    }

    /// Of a subscription to this topic.
    pub(super) fn below(self: &Arc<Self>, kept: &Kept) -> Arc<Self> {
        Self::build(&self.clock, kept, &self.settings, Some(Arc::clone(self)))
    }

    fn build(clock: &Clock, kept: &Kept, settings: &Arc<Notify>, above: Option<Arc<Self>>) -> Arc<Self> {
        let now = clock.now().as_millis();
        let times = kept.restored_times().unwrap_or(Times {
            created: now,
            updated: now,
            accessed: Times::NEVER,
        });
        Arc::new(Self {
            clock: clock.clone(),
            kept: kept.clone(),
            created: times.created,
            updated: AtomicI64::new(times.updated),
            accessed: AtomicI64::new(times.accessed),
            told: AtomicI64::new(times.accessed),
            busy_until: AtomicI64::new(now),
            receivers: AtomicUsize::new(0),
            above,
            settings: Arc::clone(settings),
        })
    }

    /// Its times. With an open receiver it is being used.
    pub(super) fn times(&self) -> Times {
        let mut times = self.written_times();
        if self.receivers.load(Ordering::Acquire) > 0 {
            times.accessed = self.clock.now().as_millis();
        }
        times
    }

    /// Its times as they outlive the process.
    pub(super) fn written_times(&self) -> Times {
        Times {
            created: self.created,
            updated: self.updated.load(Ordering::Relaxed),
            accessed: self.accessed.load(Ordering::Relaxed),
        }
    }

    /// It is used at this time.
    pub(super) fn note(&self, at: Timestamp) {
        let at = at.as_millis();
        for usage in self.with_those_above() {
            usage.accessed.fetch_max(at, Ordering::Relaxed);
            usage.busy_until.fetch_max(at, Ordering::Relaxed);
        }
    }

    /// It is used now.
    pub(super) fn touch(&self) {
        self.note(self.clock.now());
    }

    /// It is not idle before this time.
    pub(super) fn keep(&self, until: Timestamp) {
        for usage in self.with_those_above() {
            usage.busy_until.fetch_max(until.as_millis(), Ordering::Relaxed);
        }
    }

    /// It was created, with these settings. Part of the unit that creates it.
    pub(super) fn created(&self, delete_on_idle: Option<Duration>) {
        self.kept.times(self.written_times());
        self.configured(delete_on_idle);
    }

    /// It was given other settings. Part of the unit that changes them.
    pub(super) fn updated(&self, delete_on_idle: Option<Duration>) {
        self.updated.store(self.clock.now().as_millis(), Ordering::Relaxed);
        self.created(delete_on_idle);
    }

    /// Something of it has changed that is not among its settings.
    pub(super) fn changed(&self) {
        self.keep(self.clock.now());
    }

    /// Not idle by that, and perhaps due at another time.
    fn configured(&self, delete_on_idle: Option<Duration>) {
        self.changed();
        if delete_on_idle.is_some() {
            self.settings.notify_one();
        }
    }

    /// Writes down that it was used since the last time, if it was.
    pub(super) fn tell(&self) {
        for usage in self.with_those_above().filter(|usage| usage.kept.keeps()) {
            let accessed = usage.accessed.load(Ordering::Relaxed);
            if usage.told.swap(accessed, Ordering::Relaxed) != accessed {
                usage.kept.used(accessed);
            }
        }
    }

    /// A receiver is open until this is dropped.
    pub(super) fn receive(self: &Arc<Self>) -> InUse {
        for usage in self.with_those_above() {
            usage.receivers.fetch_add(1, Ordering::Relaxed);
        }
        self.touch();
        InUse(Arc::clone(self))
    }

    /// `None` while it is in use.
    pub(super) fn idle_since(&self) -> Option<Timestamp> {
        let free = self.receivers.load(Ordering::Acquire) == 0;
        free.then(|| Timestamp::from_millis(self.busy_until.load(Ordering::Relaxed)))
    }

    fn with_those_above(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |usage| usage.above.as_deref())
    }
}

/// Keeps an entity from being idle.
pub(super) struct InUse(Arc<Usage>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.touch();
        for usage in self.0.with_those_above() {
            usage.receivers.fetch_sub(1, Ordering::Release);
        }
    }
}
