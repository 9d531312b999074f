//! What every implementation of an azevents trait promises, as tests that it runs on itself.
//!
//! Each module holds the checks of one trait, one function per promise, and a `check` that runs them
//! all. They share one instance and use names of their own, so they also run on a store that is in use.
//! A broken promise panics and says which.
//!
//! ```
//! use azevents_core::memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! azevents_testing::event_store::check(&MemoryStore::new()).await;
//! # }
//! ```

pub mod category;
pub mod commit_feed;
pub mod crashes;
pub mod event_store;
pub mod event_store_model;
pub mod faults;
pub mod inbox;
pub mod lease_store;
pub mod lifecycle;
pub mod read_model;
pub mod snapshot_store;

use azevents_core::StreamId;

/// A stream name that nobody else uses.
fn fresh_stream(category: &str) -> StreamId {
    StreamId::new(format!("{category}-{}", uuid::Uuid::new_v4().simple())).expect("a valid name")
}
