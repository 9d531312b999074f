//! A broker's client that is seen: what it sends, receives and settles.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::context::FutureExt;
use opentelemetry::metrics::Meter;
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};

use super::instruments::{Instruments, error_type, message_count, seconds_since};
use super::{BoxedTracer, SCOPE, context};

/// Spans and metrics of a client's operations, for clients that know how to use it. Clones share the instruments.
///
/// What a [`TracedPublisher`](super::TracedPublisher) publishes is told by that, and not again by the client in it.
///
/// ```
/// use azevents_core::telemetry::{ClientTelemetry, OperationType};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let telemetry = ClientTelemetry::global("servicebus");
/// // What a client does with it.
/// let settling = telemetry.begin("complete", Some(OperationType::Settle), "orders").start();
/// let result: Result<(), std::io::Error> = settling.run(async { Ok(()) }).await;
/// settling.end(result.err().map(|error| (error.kind().to_string(), error.to_string())));
/// # }
/// ```
#[derive(Clone)]
pub struct ClientTelemetry {
    tracer: Arc<BoxedTracer>,
    instruments: Instruments,
    /// On every span and metric.
    attributes: Vec<KeyValue>,
}

/// The types of operation that the conventions know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationType {
    /// A message gets the context that leads to it. No metric counts it.
    Create,
    /// Messages are handed to the broker.
    Send,
    /// Messages are taken from the broker.
    Receive,
    /// The broker is told what became of a message.
    Settle,
}

impl OperationType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Settle => "settle",
        }
    }
}

impl ClientTelemetry {
    /// Goes by the process's tracer and meter, as they are set at this moment. `system` is `servicebus`,
    /// `eventhubs` or `kafka`.
    pub fn global(system: &'static str) -> Self {
        Self::build(global::tracer(SCOPE), &global::meter(SCOPE), system)
    }

    /// Goes by a tracer and a meter of the caller's.
    pub fn new<T>(tracer: T, meter: &Meter, system: &'static str) -> Self
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        Self::build(BoxedTracer::new(Box::new(tracer)), meter, system)
    }

    fn build(tracer: BoxedTracer, meter: &Meter, system: &'static str) -> Self {
        Self {
            tracer: Arc::new(tracer),
            instruments: Instruments::new(meter),
            attributes: vec![KeyValue::new("messaging.system", system)],
        }
    }

    /// Adds an attribute to every span and metric. Few values: each makes time series of its own.
    #[must_use]
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Begins an operation: its time counts from here. `destination` is the queue, topic or hub.
    pub fn begin(&self, name: &'static str, kind: Option<OperationType>, destination: &str) -> Operation {
        let mut attributes = self.attributes.clone();
        attributes.extend([
            KeyValue::new("messaging.operation.name", name),
            KeyValue::new("messaging.destination.name", destination.to_owned()),
        ]);
        attributes.extend(kind.map(|kind| KeyValue::new("messaging.operation.type", kind.as_str())));
        Operation {
            tracer: Arc::clone(&self.tracer),
            instruments: self.instruments.clone(),
            span_name: format!("{name} {destination}"),
            kind,
            span_kind: SpanKind::Client,
            attributes,
            details: Vec::new(),
            links: Vec::new(),
            messages: 1,
            begun: Instant::now(),
            at: SystemTime::now(),
        }
    }
}

impl fmt::Debug for ClientTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTelemetry")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

/// Whether messages that are sent now are told of by a publisher around the client.
pub fn is_published() -> bool {
    Context::map_current(|context| context.get::<Published>().is_some())
}

/// In the context of a publish that has a span.
pub(super) struct Published;

/// An operation that has begun, while its span has not: what is known about it is added here.
pub struct Operation {
    tracer: Arc<BoxedTracer>,
    instruments: Instruments,
    span_name: String,
    kind: Option<OperationType>,
    span_kind: SpanKind,
    /// On the span and the metrics.
    attributes: Vec<KeyValue>,
    /// On the span only.
    details: Vec<KeyValue>,
    links: Vec<SpanContext>,
    messages: usize,
    begun: Instant,
    at: SystemTime,
}

impl Operation {
    /// Adds an attribute of few values to span and metrics.
    #[must_use]
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Adds an attribute to the span only.
    #[must_use]
    pub fn with_detail(mut self, attribute: KeyValue) -> Self {
        self.details.push(attribute);
        self
    }

    /// Says how many messages it is of, where that is not one.
    #[must_use]
    pub fn with_messages(mut self, count: usize) -> Self {
        self.messages = count;
        self.details.push(message_count(count));
        self
    }

    /// Links the span to the [contexts](super::context_in) of messages; to the first ones, where there are many.
    #[must_use]
    pub fn linked_to(mut self, contexts: impl IntoIterator<Item = SpanContext>) -> Self {
        context::link(&mut self.links, contexts);
        self
    }

    /// The span is where a trace begins for whoever receives the messages.
    #[must_use]
    pub fn as_producer(mut self) -> Self {
        self.span_kind = SpanKind::Producer;
        self
    }

    /// Starts the span, as of when the operation began.
    pub fn start(self) -> Running {
        let attributes = self.attributes.iter().cloned().chain(self.details).collect::<Vec<_>>();
        let span = self
            .tracer
            .span_builder(self.span_name)
            .with_kind(self.span_kind)
            .with_start_time(self.at)
            .with_attributes(attributes)
            .with_links(self.links.into_iter().map(Link::with_context).collect())
            .start(self.tracer.as_ref());
        Running {
            context: Context::current_with_span(span),
            instruments: self.instruments,
            kind: self.kind,
            attributes: self.attributes,
            messages: self.messages,
            begun: self.begun,
        }
    }
}

/// An operation whose span has started. Dropped before its [end](Self::end), only the span is told.
pub struct Running {
    context: Context,
    instruments: Instruments,
    kind: Option<OperationType>,
    attributes: Vec<KeyValue>,
    messages: usize,
    begun: Instant,
}

impl Running {
    /// Runs a future in the span's context, so that what it begins belongs to the trace.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        future.with_context(self.context.clone()).await
    }

    /// Hands over the headers that lead to the span, by name and value; none where no SDK listens.
    pub fn headers(&self, set: impl FnMut(&'static str, String)) {
        context::headers(&self.context, set);
    }

    /// Ends the span, and counts. An error is told by its kind and a sentence.
    pub fn end(mut self, error: Option<(String, String)>) {
        let span = self.context.span();
        if let Some((kind, description)) = error {
            self.attributes.push(error_type(kind));
            span.set_attributes(self.attributes.last().cloned());
            span.set_status(Status::error(description));
        }
        let counter = match self.kind {
            Some(OperationType::Send) => Some(&self.instruments.sent),
            Some(OperationType::Receive) => Some(&self.instruments.consumed),
            _ => None,
        };
        if let Some(counter) = counter
            && self.messages > 0
        {
            counter.add(self.messages as u64, &self.attributes);
        }
        if self.kind != Some(OperationType::Create) {
            self.instruments
                .operation
                .record(seconds_since(self.begun), &self.attributes);
        }
        span.end();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("span", &self.span_name)
            .finish_non_exhaustive()
    }
}
