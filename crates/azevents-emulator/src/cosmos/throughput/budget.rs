//! What is used of the current second, by partition.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Clock, cosmos::target::ContainerName};

/// Keys whose partition is remembered, of all containers together.
const MAX_KEYS: usize = 10_000;

/// The budgets of all partitions.
#[derive(Debug)]
pub(in crate::cosmos) struct Budgets {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turns: HashMap<ContainerName, Arc<tokio::sync::Mutex<()>>>,
    used: HashMap<(ContainerName, u32), Used>,
    /// The partition of each key, as the header has it.
    keys: HashMap<(ContainerName, String), u32>,
}

#[derive(Debug, Default)]
struct Used {
    /// Since the Unix epoch, by the emulator's clock.
    second: i64,
    /// Request units in that second.
    units: f64,
}

impl Budgets {
    pub(in crate::cosmos) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// What the requests of a container hold one after the other.
    pub(super) fn turn(&self, name: &ContainerName) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.state().turns.entry(name.clone()).or_default())
    }

    /// How long to wait if one of the partitions has used `share` up.
    pub(super) fn wait(&self, name: &ContainerName, partitions: &[u32], share: f64) -> Option<Duration> {
        let now = self.clock.now().as_millis();
        let state = self.state();
        let is_used_up = |partition: &u32| {
            let used = state.used.get(&(name.clone(), *partition));
            used.is_some_and(|used| used.second == now.div_euclid(1000) && used.units >= share)
        };
        let left = u64::try_from(1000 - now.rem_euclid(1000)).unwrap_or(1000);
        partitions.iter().any(is_used_up).then_some(Duration::from_millis(left))
    }

    /// Takes what a request has cost, from its partitions alike.
    pub(super) fn take(&self, name: &ContainerName, partitions: &[u32], units: f64) {
        let second = self.clock.now().as_millis().div_euclid(1000);
        let each = units / partitions.len().max(1) as f64;
        let mut state = self.state();
        for partition in partitions {
            let used = state.used.entry((name.clone(), *partition)).or_default();
            if used.second != second {
                *used = Used { second, units: 0.0 };
            }
            used.units += each;
        }
    }

    pub(super) fn partition_of(&self, name: &ContainerName, key: &str) -> Option<u32> {
        self.state().keys.get(&(name.clone(), key.to_owned())).copied()
    }

    pub(super) fn note_partition(&self, name: &ContainerName, key: &str, partition: u32) {
        let mut state = self.state();
        if state.keys.len() >= MAX_KEYS {
            state.keys.clear();
        }
        state.keys.insert((name.clone(), key.to_owned()), partition);
    }

    /// Forgets containers that are no more: others of their names begin anew.
    pub(in crate::cosmos) fn forget(&self, is_gone: impl Fn(&ContainerName) -> bool) {
        let mut state = self.state();
        state.turns.retain(|name, _| !is_gone(name));
        state.used.retain(|(name, _), _| !is_gone(name));
        state.keys.retain(|(name, _), _| !is_gone(name));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
