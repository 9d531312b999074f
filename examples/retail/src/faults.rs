//! The schedule of faults: everything that goes wrong in production sooner or later, in one run.
//!
//! The emulator plays the services' part (lost connections, lost answers, throttling, copies); this
//! module plays the processes' part (crashes at the two moments that hurt).

use std::sync::Arc;

use azevents::{Handler, LeaseStore};
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_testing::faults::{CrashAfterEffect, CrashBeforeCheckpoint, Strikes};
use tokio::sync::Notify;

/// The schedule of one seed.
#[derive(Debug, Clone)]
pub struct Schedule {
    seed: u64,
    relay_crashes: Arc<Strikes>,
    consumer_crashes: Arc<Strikes>,
}

impl Schedule {
    /// Draws the schedule.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            relay_crashes: Arc::new(Strikes::new(seed, 0.5, 4)),
            consumer_crashes: Arc::new(Strikes::new(seed.wrapping_add(1), 0.005, 6)),
        }
    }

    /// The services' part.
    pub fn plan(&self) -> FaultPlan {
        FaultPlan::new(self.seed)
            .with(FaultKind::DropConnection, 0.002, 8)
            .with(FaultKind::DetachLink, 0.002, 8)
            .with(FaultKind::LoseOutcome, 0.02, 6)
            .with(FaultKind::RepeatDelivery, 0.01, 40)
            .with(FaultKind::LoseSettle, 0.01, 10)
            .with(FaultKind::ServerBusy, 0.01, 6)
            .with(FaultKind::CosmosThrottle, 0.01, 40)
            .with(FaultKind::CosmosLoseResponse, 0.005, 12)
            .with(FaultKind::CosmosUnavailable, 0.005, 10)
    }

    /// Leases for a relay that dies between publish and checkpoint.
    pub fn leases(&self, leases: Arc<dyn LeaseStore>, crash: &Arc<Notify>) -> Arc<dyn LeaseStore> {
        Arc::new(CrashBeforeCheckpoint {
            leases,
            strikes: self.relay_crashes.clone(),
            crash: crash.clone(),
        })
    }

    /// A handler for a consumer that dies between effect and settlement.
    pub fn handler(&self, handler: Arc<dyn Handler>, crash: &Arc<Notify>) -> Arc<dyn Handler> {
        Arc::new(CrashAfterEffect {
            handler,
            strikes: self.consumer_crashes.clone(),
            crash: crash.clone(),
        })
    }

    /// How often processes were crashed.
    pub fn crashes(&self) -> [(String, u64); 2] {
        [
            (
                "relay killed between publish and checkpoint".into(),
                self.relay_crashes.struck(),
            ),
            (
                "consumer killed between effect and settlement".into(),
                self.consumer_crashes.struck(),
            ),
        ]
    }
}
