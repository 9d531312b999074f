//! Queues, topics, subscriptions and rules, with Azure's defaults.

mod access;
mod queue;
mod rule;
mod setters;
mod subscription;
mod topic;

use std::time::Duration;

pub use access::AuthorizationRule;
pub use queue::Queue;
pub use rule::{CorrelationFilter, Filter, PropertyValue, Rule};
pub use subscription::Subscription;
pub use topic::Topic;

use super::EntityStatus;

/// Azure's default, and the default of Microsoft's emulator.
const DEFAULT_LOCK_DURATION: Duration = Duration::from_secs(60);
const DEFAULT_MAX_DELIVERY_COUNT: u32 = 10;
