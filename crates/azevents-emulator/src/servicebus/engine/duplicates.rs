//! Duplicate detection: which MessageIds were seen within the window.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::servicebus::clock::Timestamp;

/// Remembers ids for a while. A message that comes again doesn't extend the time.
#[derive(Debug)]
pub(in super::super) struct DuplicateHistory {
    window: Duration,
    seen: HashSet<Arc<str>>,
    forget_at: VecDeque<(Timestamp, Arc<str>)>,
}

impl DuplicateHistory {
    pub(in super::super) fn new(window: Duration) -> Self {
        Self {
            window,
            seen: HashSet::new(),
            forget_at: VecDeque::new(),
        }
    }

    /// Remembers for so long from now on, and what was seen before as if that had always been so.
    pub(super) fn set_window(&mut self, window: Duration) {
        if window == self.window {
            return;
        }
        let before = std::mem::replace(&mut self.window, window);
        let moved = |at: Timestamp| Timestamp::from_millis((at + window).as_millis() - before.as_millis() as i64);
        for (at, _) in &mut self.forget_at {
            *at = moved(*at);
        }
    }

    /// What is forgotten last, and when.
    pub(super) fn latest(&self) -> Option<(&Arc<str>, Timestamp)> {
        self.forget_at.back().map(|(at, id)| (id, *at))
    }

    /// All that is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = (Arc<str>, Timestamp)> + '_ {
        self.forget_at.iter().map(|(at, id)| (Arc::clone(id), *at))
    }

    /// Has seen this id, until then; to be called in the order of the times.
    pub(super) fn remember(&mut self, id: Arc<str>, until: Timestamp) {
        if self.seen.insert(Arc::clone(&id)) {
            self.forget_at.push_back((until, id));
        }
    }

    /// Whether this is the first message with this id within the window; from now on it was seen.
    /// A message without an id is always new.
    pub(in super::super) fn is_new(&mut self, id: Option<&str>, now: Timestamp) -> bool {
        while self.forget_at.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, id)) = self.forget_at.pop_front() {
                self.seen.remove(&id);
            }
        }
        let Some(id) = id else {
            return true;
        };
        if self.seen.contains(id) {
            return false;
        }
        let id: Arc<str> = Arc::from(id);
        self.seen.insert(Arc::clone(&id));
        self.forget_at.push_back((now + self.window, id));
        true
    }
}
