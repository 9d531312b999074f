//! A handler that is seen.

use std::time::Instant;

use async_trait::async_trait;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use super::instruments::{error_type, message_count, seconds_since};
use super::{Telemetry, context};
use crate::batch_handler::BatchHandler;
use crate::error::chain;
use crate::handler::{Delivery, Handled, Handler, HandlerError};
use crate::message::Message;

/// A [`Handler`], or a [`BatchHandler`], with a span and metrics for each try, in the trace of the event that the message carries. The
/// span is the current one while the handler runs: what it calls becomes part of the trace.
#[derive(Debug, Clone)]
pub struct TracedHandler<H> {
    inner: H,
    telemetry: Telemetry,
}

impl Telemetry {
    /// Wraps a handler of messages from this destination. Inside an [`Idempotent`](crate::Idempotent) it sees
    /// the messages that have an effect, around it the copies as well.
    pub fn handler<H>(&self, inner: H) -> TracedHandler<H> {
        TracedHandler {
            inner,
            telemetry: self.clone(),
        }
    }
}

impl<H> TracedHandler<H> {
    fn span(&self, message: &Message, delivery: &Delivery, attributes: &[KeyValue]) -> Context {
        let Telemetry {
            tracer, destination, ..
        } = &self.telemetry;
        let mut attributes = attributes.to_vec();
        let integer = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        attributes.extend([
            KeyValue::new("messaging.message.id", message.id.clone()),
            KeyValue::new("messaging.message.body.size", integer(message.body.len())),
            KeyValue::new("azevents.delivery_count", i64::from(delivery.count)),
        ]);
        let parent = context::read(&message.headers).map_or_else(Context::current, |context| {
            Context::current().with_remote_span_context(context)
        });
        let span = tracer
            .span_builder(format!("process {destination}"))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes)
            .start_with_context(tracer.as_ref(), &parent);
        parent.with_span(span)
    }

    /// Messages of several traces can't all be its parents.
    fn span_of_many(&self, messages: &[&Message], attributes: &[KeyValue]) -> Context {
        let Telemetry {
            tracer, destination, ..
        } = &self.telemetry;
        let mut attributes = attributes.to_vec();
        attributes.push(message_count(messages.len()));
        let span = tracer
            .span_builder(format!("process {destination}"))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes)
            .with_links(context::links(messages.iter().copied()))
            .start(tracer.as_ref());
        Context::current_with_span(span)
    }

    fn count(&self, messages: usize, attributes: &[KeyValue]) {
        if self.telemetry.counts_consumed {
            self.telemetry.instruments.consumed.add(messages as u64, attributes);
        }
    }

    fn end(&self, context: &Context, begun: Instant, mut attributes: Vec<KeyValue>, error: Option<&HandlerError>) {
        let span = context.span();
        if let Some(error) = error {
            attributes.push(error_type(error.reason()));
            span.set_attributes(attributes.last().cloned());
            span.set_status(Status::error(chain(error)));
        }
        let process = &self.telemetry.instruments.process;
        process.record(seconds_since(begun), &attributes);
        span.end();
    }
}

#[async_trait]
impl<H: Handler> Handler for TracedHandler<H> {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        let attributes = self.telemetry.attributes_of("process");
        let context = self.span(message, delivery, &attributes);
        self.count(1, &attributes);
        let begun = Instant::now();
        let result = self.inner.handle(message, delivery).with_context(context.clone()).await;
        if let Ok(Handled::Duplicate) = result {
            context.span().set_attribute(KeyValue::new("azevents.duplicate", true));
        }
        self.end(&context, begun, attributes, result.as_ref().err());
        result
    }
}

#[async_trait]
impl<H: BatchHandler> BatchHandler for TracedHandler<H> {
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        let attributes = self.telemetry.attributes_of("process");
        let context = match messages {
            [one] => self.span(one, delivery, &attributes),
            many => self.span_of_many(many, &attributes),
        };
        self.count(messages.len(), &attributes);
        let begun = Instant::now();
        let handling = self.inner.handle_batch(messages, delivery);
        let result = handling.with_context(context.clone()).await;
        self.end(&context, begun, attributes, result.as_ref().err());
        result
    }
}
