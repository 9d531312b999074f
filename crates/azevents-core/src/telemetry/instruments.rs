//! The metrics of the messaging conventions.

use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

/// Seconds, as the conventions advise.
const BOUNDARIES: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

#[derive(Clone)]
pub(super) struct Instruments {
    pub(super) sent: Counter<u64>,
    pub(super) consumed: Counter<u64>,
    pub(super) operation: Histogram<f64>,
    pub(super) process: Histogram<f64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, about: &'static str| {
            meter
                .u64_counter(name)
                .with_unit("{message}")
                .with_description(about)
                .build()
        };
        let histogram = |name: &'static str, about: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(about)
                .with_boundaries(BOUNDARIES.to_vec())
                .build()
        };
        Self {
            sent: counter("messaging.client.sent.messages", "Messages that were to be sent."),
            consumed: counter(
                "messaging.client.consumed.messages",
                "Messages delivered to the application.",
            ),
            operation: histogram(
                "messaging.client.operation.duration",
                "How long an operation of a client took.",
            ),
            process: histogram("messaging.process.duration", "How long a handler took."),
        }
    }
}

/// The kind of an error, on what has failed.
pub(super) fn error_type(kind: impl Into<String>) -> KeyValue {
    KeyValue::new("error.type", kind.into())
}

/// How many messages an operation was of.
pub(super) fn message_count(count: usize) -> KeyValue {
    KeyValue::new(
        "messaging.batch.message_count",
        i64::try_from(count).unwrap_or(i64::MAX),
    )
}

pub(super) fn seconds_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}
