//! One processor's line to the lease store: it can be cut, and every checkpoint on it is looked at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::memory::MemoryLeases;
use azevents_core::{Checkpoint, Error, ErrorKind, FeedRange, Lease, LeaseStore, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use super::ledger::Ledger;

#[derive(Clone)]
pub(super) struct Line {
    leases: MemoryLeases,
    ledger: Arc<Ledger>,
    cut: watch::Sender<bool>,
    random: Arc<Mutex<StdRng>>,
}

/// What becomes of a call over a line that is cut.
enum Fate {
    Done,
    /// It never arrives, and fails at once.
    Refused,
    /// It hangs until the line is mended, and then fails.
    Hangs,
    /// It arrives, and its answer is lost.
    AnswerLost,
}

impl Line {
    pub(super) fn new(leases: MemoryLeases, ledger: Arc<Ledger>, seed: u64) -> Self {
        Self {
            leases,
            ledger,
            cut: watch::Sender::new(false),
            random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    pub(super) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    fn fate(&self) -> Fate {
        if !*self.cut.borrow() {
            return Fate::Done;
        }
        match self.random.lock().unwrap().random_range(0..4) {
            0 => Fate::AnswerLost,
            1 => Fate::Hangs,
            _ => Fate::Refused,
        }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.fate() {
            Fate::Done => return call.await,
            Fate::Refused => {}
            Fate::Hangs => {
                let mut cut = self.cut.subscribe();
                let _ = cut.wait_for(|cut| !cut).await;
            }
            Fate::AnswerLost => {
                let _ = call.await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "reach leases", "cut off"))
    }
}

#[async_trait]
impl LeaseStore for Line {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        self.call(self.leases.acquire(reader, range, owner, duration)).await
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        if let Some(checkpoint) = checkpoint {
            self.ledger.look_at(&lease.range, checkpoint);
        }
        let renewing = async {
            let renewed = self.leases.renew(lease, checkpoint, duration).await?;
            if let Some(checkpoint) = checkpoint {
                self.ledger.written(&lease.range, checkpoint);
            }
            Ok(renewed)
        };
        self.call(renewing).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.call(self.leases.release(lease)).await
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        self.call(self.leases.list(reader)).await
    }

    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.call(self.leases.create(reader, range, checkpoint)).await
    }

    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        self.call(self.leases.retire(lease, successors)).await
    }
}
