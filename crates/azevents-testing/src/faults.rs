//! Wrappers that make any implementation fail at the moments that hurt, by a seed.
//!
//! They sit around the real parts: what they wrap has happened, or not, exactly as in a crash.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    Checkpoint, Delivery, Error, ErrorKind, FeedRange, Handled, Handler, HandlerError, Lease, LeaseStore, Message,
    Result,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

/// Decides, by a seed, which calls are struck; at most a given number of them.
#[derive(Debug)]
pub struct Strikes {
    random: Mutex<StdRng>,
    rate: f64,
    left: AtomicU64,
    struck: AtomicU64,
}

impl Strikes {
    /// Strikes each call with probability `rate`, and `most` calls in all.
    pub fn new(seed: u64, rate: f64, most: u64) -> Self {
        Self {
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            rate,
            left: AtomicU64::new(most),
            struck: AtomicU64::new(0),
        }
    }

    /// How many calls have been struck.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    fn strike(&self) -> bool {
        let drawn = self
            .random
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .random_bool(self.rate);
        let spend = |left: u64| left.checked_sub(1);
        let strikes = drawn
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
                .is_ok();
        self.struck.fetch_add(u64::from(strikes), Ordering::Relaxed);
        strikes
    }
}

/// Leases whose holder dies when it wants to record progress: everything it has published stands, its
/// checkpoint does not. Notifies `crash` and never answers; whoever runs the holder drops it.
#[derive(Debug)]
pub struct CrashBeforeCheckpoint<L> {
    /// The real leases.
    pub leases: L,
    /// When to crash.
    pub strikes: Arc<Strikes>,
    /// Told to drop the holder.
    pub crash: Arc<Notify>,
}

#[async_trait]
impl<L: LeaseStore> LeaseStore for CrashBeforeCheckpoint<L> {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        self.leases.acquire(reader, range, owner, duration).await
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        if checkpoint.is_some() && self.strikes.strike() {
            self.crash.notify_one();
            std::future::pending::<()>().await;
        }
        self.leases.renew(lease, checkpoint, duration).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.leases.release(lease).await
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        self.leases.list(reader).await
    }

    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.leases.create(reader, range, checkpoint).await
    }

    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        self.leases.retire(lease, successors).await
    }
}

/// A handler whose process dies after the effect and before the message is settled. Notifies `crash` and
/// never answers; whoever runs the consumer drops it.
#[derive(Debug)]
pub struct CrashAfterEffect<H> {
    /// The real handler.
    pub handler: H,
    /// When to crash.
    pub strikes: Arc<Strikes>,
    /// Told to drop the consumer.
    pub crash: Arc<Notify>,
}

#[async_trait]
impl<H: Handler> Handler for CrashAfterEffect<H> {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        let handled = self.handler.handle(message, delivery).await?;
        if self.strikes.strike() {
            self.crash.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(handled)
    }
}

/// A handler that fails now and then as if its store were busy.
#[derive(Debug)]
pub struct FailNowAndThen<H> {
    /// The real handler.
    pub handler: H,
    /// When to fail.
    pub strikes: Strikes,
}

#[async_trait]
impl<H: Handler> Handler for FailNowAndThen<H> {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        if self.strikes.strike() {
            let busy = Error::new(ErrorKind::Unavailable, "handle", &message.id).with_message("struck by the schedule");
            return Err(busy.into());
        }
        self.handler.handle(message, delivery).await
    }
}
