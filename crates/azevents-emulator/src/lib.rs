//! Cosmos DB, Service Bus and Event Hubs in one process on loopback.

mod faults;

pub use faults::{FaultCount, FaultKind, FaultPlan, FaultRule, Faults};
