//! The in-memory implementations keep every promise: they are the reference.

use azevents_core::memory::{MemoryInbox, MemoryLeases, MemoryReadModel, MemoryStore};
use azevents_testing as promises;

#[tokio::test]
async fn store() {
    promises::event_store::check(&MemoryStore::new()).await;
}

#[tokio::test]
async fn lifecycle() {
    promises::lifecycle::check(&MemoryStore::new()).await;
}

#[tokio::test]
async fn categories() {
    promises::category::check(&MemoryStore::new()).await;
}

#[tokio::test]
async fn snapshots() {
    promises::snapshot_store::check(&MemoryStore::new()).await;
}

#[tokio::test]
async fn feed() {
    let store = MemoryStore::new();
    promises::commit_feed::check(&store, &store).await;
}

#[tokio::test(start_paused = true)]
async fn leases() {
    promises::lease_store::check(&MemoryLeases::new()).await;
    promises::lease_store::check_handing_over(&MemoryLeases::new()).await;
}

#[tokio::test(start_paused = true)]
async fn inbox() {
    promises::inbox::check(&MemoryInbox::new()).await;
}

#[tokio::test]
async fn read_model() {
    promises::read_model::check(&MemoryReadModel::new()).await;
}

#[tokio::test]
async fn store_and_model_agree_on_random_histories() {
    for seed in 0..300 {
        promises::event_store_model::check(&MemoryStore::new(), seed, 60).await;
    }
}
