//! Every trait of this crate in memory: for tests of user code, and as the shortest correct reference
//! for whoever writes an adapter.

mod bus;
mod category;
mod dead_letters;
mod feed;
mod inbox;
mod leases;
mod lifecycle;
mod read_model;
mod snapshots;
mod store;

pub use bus::{MemoryBus, MemoryConsumer};
pub use dead_letters::MemoryDeadLetters;
pub use inbox::MemoryInbox;
pub use leases::MemoryLeases;
pub use read_model::MemoryReadModel;
pub use store::MemoryStore;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what no panicking holder can leave inconsistent: every write here is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
