//! Snapshots: an aggregate's state at some version, so that loading need not begin at the beginning.
//!
//! A snapshot is never needed and never trusted more than the events: one that can't be read, or was
//! written by another version of the aggregate, is ignored. It is written beside the append, not in it.

mod policy;
mod store;
mod writer;

pub use policy::SnapshotPolicy;
pub use store::{Snapshot, SnapshotStore};
pub(crate) use writer::{Restored, Snapshots};
