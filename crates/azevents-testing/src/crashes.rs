//! A process that dies at its n-th step, wherever that is: before or after any call to the outside.
//!
//! A holder that is dropped while it waits for one call has crashed there. Running it once for every
//! length of the fuse crashes it at every call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    Checkpoint, CommitFeed, Continuation, DeadLetter, DeadLetterSink, FeedPage, FeedRange, Lease, LeaseStore, Message,
    PublishError, Publisher, Result, StartFrom,
};
use tokio::sync::Notify;

/// Counts the steps of one holder down to its death.
#[derive(Debug)]
pub struct Fuse {
    left: AtomicU64,
    burnt: Notify,
}

impl Fuse {
    /// Burns down at the step with this number, counted from 1; at 0, with the first step.
    pub fn new(steps: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(steps),
            burnt: Notify::new(),
        })
    }

    /// Returns when the holder has to be dropped. For one waiter; dropping it loses nothing.
    pub async fn burnt(&self) {
        self.burnt.notified().await;
    }

    /// One step. The last one, and any after it, never returns.
    pub async fn step(&self) {
        let one_less = |left: u64| left.checked_sub(1);
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if before.is_ok_and(|before| before > 1) {
            return;
        }
        self.burnt.notify_one();
        std::future::pending::<()>().await;
    }

    /// A call between two steps: after the first it hasn't happened, before the second it has.
    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.step().await;
        let answer = call.await;
        self.step().await;
        answer
    }
}

/// A feed, leases, a publisher or a parking place as one mortal holder uses them: every call is two steps.
#[derive(Debug)]
pub struct Mortal<T> {
    /// The real part.
    pub inner: T,
    /// The holder's.
    pub fuse: Arc<Fuse>,
}

#[async_trait]
impl<T: CommitFeed> CommitFeed for Mortal<T> {
    async fn ranges(&self) -> Result<Vec<FeedRange>> {
        self.fuse.around(self.inner.ranges()).await
    }

    async fn next(&self, range: &FeedRange, after: Option<&Continuation>) -> Result<FeedPage> {
        self.fuse.around(self.inner.next(range, after)).await
    }

    async fn parts(&self, range: &FeedRange) -> Result<Vec<FeedRange>> {
        self.fuse.around(self.inner.parts(range)).await
    }

    async fn position(&self, range: &FeedRange, start: StartFrom) -> Result<Option<Continuation>> {
        self.fuse.around(self.inner.position(range, start)).await
    }
}

#[async_trait]
impl<T: LeaseStore> LeaseStore for Mortal<T> {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        self.fuse
            .around(self.inner.acquire(reader, range, owner, duration))
            .await
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        self.fuse.around(self.inner.renew(lease, checkpoint, duration)).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.fuse.around(self.inner.release(lease)).await
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        self.fuse.around(self.inner.list(reader)).await
    }

    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.fuse.around(self.inner.create(reader, range, checkpoint)).await
    }

    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        self.fuse.around(self.inner.retire(lease, successors)).await
    }
}

#[async_trait]
impl<T: Publisher> Publisher for Mortal<T> {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        self.fuse.around(self.inner.publish(messages)).await
    }
}

#[async_trait]
impl<T: DeadLetterSink> DeadLetterSink for Mortal<T> {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> Result<()> {
        self.fuse.around(self.inner.set_aside(message, why)).await
    }
}
