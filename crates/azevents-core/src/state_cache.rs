//! States of aggregates in memory, bounded by bytes.
//!
//! A cached state is never believed without a look at the store, but the look is shared: of many loads
//! of one stream at once, those that arrive while one is under way wait for the next, which then answers
//! all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::OwnedMutexGuard;

use crate::aggregate::Loaded;
use crate::stream::StreamId;

/// What an entry takes besides its state: key, counters, the cache's own.
const OVERHEAD: usize = 256;
/// States of this size fill the cache: how many entries its tables are made for at first.
const TYPICAL: u64 = 4096;

/// Latest known states by stream, the least useful leaving first. Give it to
/// [`Aggregates::with_cache`](crate::Aggregates::with_cache).
///
/// ```
/// use azevents_core::StateCache;
///
/// #[derive(Clone, Default)]
/// struct Order { lines: Vec<String> }
///
/// let cache = StateCache::new(64 << 20, |order: &Order| {
///     order.lines.iter().map(|line| line.len() + size_of::<String>()).sum()
/// });
/// # let _ = cache;
/// ```
pub struct StateCache<A> {
    states: Cache<StreamId, Arc<Entry<A>>, BySize>,
    loads: Mutex<HashMap<StreamId, Arc<Loads>>>,
    size: fn(&A) -> usize,
    // Only whoever caches needs a state that can be cloned.
    clone: fn(&Loaded<A>) -> Loaded<A>,
}

struct Entry<A> {
    loaded: Loaded<A>,
    bytes: u64,
}

#[derive(Debug, Clone)]
struct BySize;

impl<A> Weighter<StreamId, Arc<Entry<A>>> for BySize {
    fn weight(&self, _: &StreamId, entry: &Arc<Entry<A>>) -> u64 {
        entry.bytes
    }
}

/// The loads of one stream: they take turns.
#[derive(Debug, Default)]
struct Loads {
    turn: Arc<tokio::sync::Mutex<()>>,
    begun: AtomicU64,
    /// The latest that has succeeded, by its number in `begun`.
    succeeded: AtomicU64,
}

impl<A: Clone> StateCache<A> {
    /// At most `max_bytes` of states. `size` says how much memory a state holds, besides its own
    /// `size_of`; an estimate will do.
    pub fn new(max_bytes: u64, size: fn(&A) -> usize) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 20);
        Self {
            states: Cache::with_weighter(entries, max_bytes, BySize),
            loads: Mutex::default(),
            size,
            clone: Loaded::clone,
        }
    }
}

impl<A> StateCache<A> {
    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.states.weight()
    }

    /// States held now.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    pub(crate) fn get(&self, stream: &StreamId) -> Option<Loaded<A>> {
        self.states.get(stream).map(|entry| (self.clone)(&entry.loaded))
    }

    /// Keeps a state, unless a later one is kept already.
    pub(crate) fn put(&self, stream: &StreamId, loaded: &Loaded<A>) {
        let version = |loaded: &Loaded<A>| loaded.head.map(|head| head.version);
        if let Some(known) = self.states.get(stream)
            && version(&known.loaded) > version(loaded)
        {
            return;
        }
        let bytes = (self.size)(&loaded.state) + size_of::<A>() + stream.as_str().len() + OVERHEAD;
        let entry = Arc::new(Entry {
            loaded: (self.clone)(loaded),
            bytes: bytes as u64,
        });
        self.states.insert(stream.clone(), entry);
    }

    pub(crate) fn forget(&self, stream: &StreamId) {
        self.states.remove(stream);
    }

    /// Waits for its turn to load a stream, or for somebody else's load that began after this call and
    /// so has seen whatever was committed before it.
    pub(crate) async fn turn(&self, stream: &StreamId) -> Result<Loaded<A>, Turn<'_, A>> {
        let mut turn = Turn {
            cache: self,
            stream: stream.clone(),
            loads: self.loads().entry(stream.clone()).or_default().clone(),
            number: 0,
            guard: None,
        };
        let arrived = turn.loads.begun.load(Ordering::Acquire);
        turn.guard = Some(turn.loads.turn.clone().lock_owned().await);
        if turn.loads.succeeded.load(Ordering::Acquire) > arrived
            && let Some(loaded) = self.get(stream)
        {
            return Ok(loaded);
        }
        turn.number = turn.loads.begun.fetch_add(1, Ordering::AcqRel) + 1;
        Err(turn)
    }

    fn loads(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Loads>>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to load a stream. Dropping it without [`finish`](Self::finish) lets the next one load.
pub(crate) struct Turn<'a, A> {
    cache: &'a StateCache<A>,
    stream: StreamId,
    loads: Arc<Loads>,
    number: u64,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<A> Turn<'_, A> {
    /// The state has been put in the cache.
    pub(crate) fn finish(self) {
        self.loads.succeeded.store(self.number, Ordering::Release);
    }
}

impl<A> Drop for Turn<'_, A> {
    fn drop(&mut self) {
        self.guard = None;
        let mut loads = self.cache.loads();
        // This one and the map's: nobody else waits, and nobody can come while the map is locked.
        if Arc::strong_count(&self.loads) == 2 {
            loads.remove(&self.stream);
        }
    }
}

impl<A> fmt::Debug for StateCache<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCache")
            .field("states", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
