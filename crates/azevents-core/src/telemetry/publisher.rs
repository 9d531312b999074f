//! A publisher that is seen.

use std::borrow::Cow;
use std::time::Instant;

use async_trait::async_trait;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use super::client::Published;
use super::instruments::{error_type, message_count, seconds_since};
use super::{Telemetry, context};
use crate::error::chain;
use crate::message::Message;
use crate::publisher::{PublishError, Publisher};

/// A [`Publisher`] with a span and metrics for each publish. Messages without a trace context get the span's;
/// only a publish with such messages copies them.
#[derive(Debug, Clone)]
pub struct TracedPublisher<P> {
    inner: P,
    telemetry: Telemetry,
}

impl Telemetry {
    /// Wraps a publisher to this destination.
    pub fn publisher<P>(&self, inner: P) -> TracedPublisher<P> {
        TracedPublisher {
            inner,
            telemetry: self.clone(),
        }
    }
}

impl<P> TracedPublisher<P> {
    fn span(&self, messages: &[Message], attributes: &[KeyValue]) -> Context {
        let Telemetry {
            tracer, destination, ..
        } = &self.telemetry;
        // The conventions tell who only hands on from who begins a trace for others to go on with.
        let begins = messages.iter().any(|message| !context::is_in(&message.headers));
        let mut attributes = attributes.to_vec();
        match messages {
            [one] => attributes.push(KeyValue::new("messaging.message.id", one.id.clone())),
            many => attributes.push(message_count(many.len())),
        }
        let span = tracer
            .span_builder(format!("send {destination}"))
            .with_kind(if begins { SpanKind::Producer } else { SpanKind::Client })
            .with_attributes(attributes)
            .with_links(context::links(messages))
            .start(tracer.as_ref());
        Context::current_with_span(span)
    }
}

/// The messages, each with a trace context, where there is one to give.
fn stamped<'a>(messages: &'a [Message], context: &Context) -> Cow<'a, [Message]> {
    let has_one = context.span().span_context().is_valid();
    if !has_one || messages.iter().all(|message| context::is_in(&message.headers)) {
        return Cow::Borrowed(messages);
    }
    let mut messages = messages.to_vec();
    for message in &mut messages {
        context::write(context, &mut message.headers);
    }
    Cow::Owned(messages)
}

#[async_trait]
impl<P: Publisher> Publisher for TracedPublisher<P> {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        if messages.is_empty() {
            return self.inner.publish(messages).await;
        }
        let mut attributes = self.telemetry.attributes_of("send");
        let context = self.span(messages, &attributes);
        let stamped = stamped(messages, &context);
        let begun = Instant::now();
        let result = self
            .inner
            .publish(&stamped)
            .with_context(context.with_value(Published))
            .await;

        let Telemetry { instruments, .. } = &self.telemetry;
        let accepted = result
            .as_ref()
            .map_or_else(|stopped| stopped.accepted, |()| messages.len());
        if accepted > 0 {
            instruments.sent.add(accepted as u64, &attributes);
        }
        if let Err(stopped) = &result {
            attributes.push(error_type(format!("{:?}", stopped.error.kind())));
            let left = messages.len().saturating_sub(accepted);
            instruments.sent.add(left as u64, &attributes);
            let span = context.span();
            span.set_attributes(attributes.last().cloned());
            span.set_status(Status::error(chain(&stopped.error)));
        }
        instruments.operation.record(seconds_since(begun), &attributes);
        context.span().end();
        result
    }
}
