//! Messages as OpenTelemetry sees them: a trace from the event that was stored to the effect it has, and how
//! long sending and handling take.
//!
//! [`Telemetry`] wraps publishers and handlers, of any broker. Names, units and buckets are those of the
//! semantic conventions for messaging (<https://opentelemetry.io/docs/specs/semconv/messaging/>, version 1.37);
//! only OpenTelemetry's API is used: which SDK exports what is the program's choice, and without one nothing is
//! measured.
//!
//! | | |
//! | --- | --- |
//! | span `send DESTINATION` | one publish; linked to the contexts its messages came with |
//! | span `receive DESTINATION`, `complete DESTINATION`, ... | what a client with [`ClientTelemetry`] does; linked to the contexts of its messages |
//! | span `process DESTINATION` | one try of a handler; child of the context its message came with, linked to those of a batch |
//! | `messaging.client.sent.messages` | messages that were to be sent, and with which error not |
//! | `messaging.client.operation.duration` | seconds a publish, or an operation of a client, took |
//! | `messaging.client.consumed.messages` | deliveries to the handler, or to the application |
//! | `messaging.process.duration` | seconds a handler took |
//!
//! A trace begins where events are made: [`in_current_trace`](NewEvent::in_current_trace) puts the current
//! context into an event's metadata, and from there it travels with every message. Messages without a context get
//! that of the span that sends them, as `traceparent` and `tracestate`, and as `Diagnostic-Id`, where the Azure
//! SDKs of other languages look for it.
//!
//! ```
//! use std::sync::Arc;
//! use azevents_core::telemetry::Telemetry;
//! use azevents_core::{Handler, Pipeline, Publisher};
//!
//! fn instrumented(topic: Arc<dyn Publisher>, handler: Arc<dyn Handler>) -> (Arc<dyn Publisher>, Pipeline) {
//!     // The tracer and the meter that the program has set for the whole process.
//!     let orders = Telemetry::global("servicebus", "orders");
//!     let publisher = orders.publisher(topic);
//!     let handler = orders.with_subscription("billing").handler(handler);
//!     (Arc::new(publisher), Pipeline::new(Arc::new(handler)))
//! }
//! ```

mod client;
mod context;
mod handler;
mod instruments;
mod publisher;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use opentelemetry::metrics::Meter;
use opentelemetry::trace::Tracer;
use opentelemetry::{KeyValue, global};

pub use self::client::{ClientTelemetry, Operation, OperationType, Running, is_published};
pub use self::context::{carries_context, context_in};
pub use self::handler::TracedHandler;
use self::instruments::Instruments;
pub use self::publisher::TracedPublisher;
use crate::event::NewEvent;

/// What this crate calls itself to an SDK.
const SCOPE: &str = "azevents";

type BoxedTracer = global::BoxedTracer;

/// Instruments for one destination: a queue, a topic, an event hub. Clones share them.
#[derive(Clone)]
pub struct Telemetry {
    tracer: Arc<BoxedTracer>,
    instruments: Instruments,
    destination: Arc<str>,
    /// On every span and metric.
    attributes: Vec<KeyValue>,
    counts_consumed: bool,
}

impl Telemetry {
    /// Goes by the process's tracer and meter, as they are set at this moment. `system` is `servicebus`,
    /// `eventhubs` or `kafka`; `destination` the queue, topic or hub.
    pub fn global(system: &'static str, destination: impl Into<String>) -> Self {
        Self::build(global::tracer(SCOPE), &global::meter(SCOPE), system, destination.into())
    }

    /// Goes by a tracer and a meter of the caller's.
    pub fn new<T>(tracer: T, meter: &Meter, system: &'static str, destination: impl Into<String>) -> Self
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        Self::build(BoxedTracer::new(Box::new(tracer)), meter, system, destination.into())
    }

    fn build(tracer: BoxedTracer, meter: &Meter, system: &'static str, destination: String) -> Self {
        Self {
            tracer: Arc::new(tracer),
            instruments: Instruments::new(meter),
            attributes: vec![
                KeyValue::new("messaging.system", system),
                KeyValue::new("messaging.destination.name", destination.clone()),
            ],
            destination: destination.into(),
            counts_consumed: true,
        }
    }

    /// Leaves counting consumed messages to a client that has [`ClientTelemetry`]: the conventions count a delivery
    /// once.
    #[must_use]
    pub fn without_consumed(mut self) -> Self {
        self.counts_consumed = false;
        self
    }

    /// Adds the subscription that messages come from.
    #[must_use]
    pub fn with_subscription(self, name: impl Into<String>) -> Self {
        self.with_attribute(KeyValue::new("messaging.destination.subscription.name", name.into()))
    }

    /// Adds the consumer group that messages are read for.
    #[must_use]
    pub fn with_consumer_group(self, name: impl Into<String>) -> Self {
        self.with_attribute(KeyValue::new("messaging.consumer.group.name", name.into()))
    }

    /// Adds an attribute to every span and metric. Few values: each makes time series of its own.
    #[must_use]
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// The attributes of an operation, by its name and type, which are the same here.
    fn attributes_of(&self, operation: &'static str) -> Vec<KeyValue> {
        let mut attributes = self.attributes.clone();
        attributes.push(KeyValue::new("messaging.operation.name", operation));
        attributes.push(KeyValue::new("messaging.operation.type", operation));
        attributes
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

impl NewEvent {
    /// Puts the current trace context into the metadata, from where it travels with the event. Does nothing
    /// where no trace is under way, or the event has a context already.
    #[must_use]
    pub fn in_current_trace(mut self) -> Self {
        context::write(&opentelemetry::Context::current(), &mut self.metadata);
        self
    }
}
