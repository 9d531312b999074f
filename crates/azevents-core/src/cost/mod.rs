//! What operations cost at a service: requests, operations, bytes and request units.
//!
//! A store that knows its costs tells an observer about every request. [`CostMeter`] adds them up; with
//! the feature `opentelemetry`, `CostMetrics` counts them as metrics.

#[cfg(feature = "opentelemetry")]
mod metrics;

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "opentelemetry")]
pub use metrics::CostMetrics;

/// What something has cost.
///
/// A request whose future was dropped before its answer came is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Requests that went over the wire, those that the client library repeated by itself included.
    pub requests: u64,
    /// Operations in them: a batch holds several.
    pub operations: u64,
    /// Bytes of documents sent, without the protocol's own.
    pub sent: u64,
    /// Bytes of documents received, without the protocol's own.
    pub received: u64,
    /// Request units that the service has charged, as it said in its answers.
    pub request_units: f64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            operations: self.operations + other.operations,
            sent: self.sent + other.sent,
            received: self.received + other.received,
            request_units: self.request_units + other.request_units,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} request(s), {} operation(s), {} bytes out, {} in, {:.2} RU",
            self.requests, self.operations, self.sent, self.received, self.request_units
        )
    }
}

/// What a cost was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CostOf<'a> {
    /// What was done: `append`, `read stream`.
    pub operation: &'static str,
    /// The category of the stream it was done to; empty where there is none.
    pub category: &'a str,
}

impl<'a> CostOf<'a> {
    /// The cost of `operation` on streams of `category`.
    pub fn new(operation: &'static str, category: &'a str) -> Self {
        Self { operation, category }
    }
}

/// Is told what every request has cost, right after its answer. It must be quick: the caller waits.
pub trait CostObserver: Send + Sync {
    /// One request, or several that the client library made for one call.
    fn observe(&self, of: CostOf<'_>, cost: Cost);
}

/// Adds up costs by operation and category. Clones share the sums.
///
/// ```
/// use azevents_core::cost::{Cost, CostMeter, CostObserver, CostOf};
///
/// let meter = CostMeter::new();
/// let cost = Cost { requests: 1, operations: 2, request_units: 7.5, ..Cost::default() };
/// meter.observe(CostOf::new("append", "order"), cost);
/// assert_eq!(meter.total().operations, 2);
/// ```
#[derive(Debug, Clone, Default)]
pub struct CostMeter(Arc<Mutex<BTreeMap<(&'static str, String), Cost>>>);

impl CostMeter {
    /// A meter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// All costs since the meter was made, or since [`take`](Self::take).
    pub fn total(&self) -> Cost {
        self.sums().values().copied().sum()
    }

    /// The costs of one operation, over all categories.
    pub fn of(&self, operation: &str) -> Cost {
        let sums = self.sums();
        let matching = sums.iter().filter(|((name, _), _)| *name == operation);
        matching.map(|(_, cost)| *cost).sum()
    }

    /// The costs by operation and category.
    pub fn by_operation_and_category(&self) -> BTreeMap<(&'static str, String), Cost> {
        self.sums().clone()
    }

    /// The total, and back to zero.
    pub fn take(&self) -> Cost {
        std::mem::take(&mut *self.sums()).into_values().sum()
    }

    fn sums(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, String), Cost>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CostObserver for CostMeter {
    fn observe(&self, of: CostOf<'_>, cost: Cost) {
        *self.sums().entry((of.operation, of.category.to_owned())).or_default() += cost;
    }
}
