//! The client's operations, told to OpenTelemetry.

use std::borrow::Cow;
use std::slice;
use std::sync::Arc;

use azevents_core::telemetry::{
    ClientTelemetry, Operation, OperationType, Running, carries_context, context_in, is_published,
};
use futures::future::Either;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanContext;

use crate::client::ClientOptions;
use crate::connection_string::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MessageBatch, Properties, PropertyValue, ReceivedMessage, ServiceBusMessage};
use crate::receiver::Settlement;
use crate::redrive::topic_of;

/// Who is told of a client's operations, if anybody.
#[derive(Debug, Clone)]
pub(crate) struct Observer(Option<Arc<ClientTelemetry>>);

impl Observer {
    pub(crate) fn new(options: &ClientOptions, namespace: &Endpoint) -> Self {
        Self(options.telemetry.clone().map(|telemetry| {
            Arc::new(
                telemetry
                    .with_attribute(KeyValue::new("server.address", namespace.host.clone()))
                    .with_attribute(KeyValue::new("server.port", i64::from(namespace.port))),
            )
        }))
    }

    fn begin(&self, name: &'static str, kind: Option<OperationType>, entity: &str) -> Option<Operation> {
        let telemetry = self.0.as_ref()?;
        // The conventions' destination is the topic; what of it is received is an attribute of its own.
        let Some(topic) = topic_of(entity) else {
            return Some(telemetry.begin(name, kind, entity));
        };
        let subscription = entity[topic.len()..].splitn(3, '/').nth(2).unwrap_or_default();
        let subscription = KeyValue::new("messaging.destination.subscription.name", subscription.to_owned());
        Some(telemetry.begin(name, kind, topic).with_attribute(subscription))
    }

    /// Messages are about to be sent.
    pub(crate) fn sending(&self, name: &'static str, entity: &str, messages: &[ServiceBusMessage]) -> Watched {
        if self.0.is_none() || is_published() {
            return Watched(None);
        }
        let operation = self.begin(name, Some(OperationType::Send), entity);
        Watched(operation.map(|operation| {
            let mut operation = match messages {
                [one] => with_id(operation, one.message_id.as_deref()),
                many => operation.with_messages(many.len()),
            };
            if messages.iter().any(|message| !is_stamped(&message.properties)) {
                operation = operation.as_producer();
            }
            let contexts = messages.iter().filter_map(|message| context_of(&message.properties));
            Box::new(operation.linked_to(contexts).start())
        }))
    }

    /// A batch is about to be sent. Its messages have their contexts already.
    pub(crate) fn sending_batch(&self, entity: &str, batch: &MessageBatch) -> Watched {
        if self.0.is_none() || batch.is_empty() || is_published() {
            return Watched(None);
        }
        let operation = self.begin("send", Some(OperationType::Send), entity);
        Watched(operation.map(|operation| {
            let contexts = batch.creation().contexts.iter().cloned();
            Box::new(operation.with_messages(batch.len()).linked_to(contexts).start())
        }))
    }

    /// For a batch that is about to be filled.
    pub(crate) fn creation(&self, entity: &str) -> Creation {
        Creation {
            telling: self.0.is_some().then(|| (self.clone(), entity.to_owned())),
            contexts: Vec::new(),
        }
    }

    /// A message is about to be settled.
    pub(crate) fn settling(&self, settlement: &Settlement, entity: &str, message: &ReceivedMessage) -> Watched {
        // As the conventions spell the dispositions.
        let name = match settlement {
            Settlement::Complete => "complete",
            Settlement::Abandon => "abandon",
            Settlement::Defer => "defer",
            Settlement::DeadLetter { .. } => "dead_letter",
        };
        let operation = self.begin(name, Some(OperationType::Settle), entity);
        Watched(operation.map(|operation| {
            let operation = with_id(operation, message.message_id())
                .with_detail(KeyValue::new("messaging.servicebus.disposition_status", name))
                .with_detail(delivery_count(message))
                .linked_to(context_of(message.properties()));
            Box::new(operation.start())
        }))
    }

    /// Something else is about to be done, with so many messages.
    pub(crate) fn other(&self, name: &'static str, entity: &str, messages: usize) -> Watched {
        let operation = self.begin(name, None, entity);
        Watched(operation.map(|operation| Box::new(operation.with_messages(messages).start())))
    }

    /// Messages are waited for.
    pub(crate) fn receiving(&self, name: &'static str, entity: &str) -> Receiving {
        let kind = (name != "peek").then_some(OperationType::Receive);
        Receiving(self.begin(name, kind, entity).map(Box::new))
    }
}

/// An operation with a span. Where it is dropped, the span ends with it. Small, for those who are not told.
#[derive(Debug)]
pub(crate) struct Watched(Option<Box<Running>>);

impl Watched {
    /// The messages, each with a trace context, where there is one to give.
    pub(crate) fn stamped<'a>(&self, messages: &'a [ServiceBusMessage]) -> Cow<'a, [ServiceBusMessage]> {
        let Some(running) = &self.0 else {
            return Cow::Borrowed(messages);
        };
        if messages.iter().all(|message| is_stamped(&message.properties)) {
            return Cow::Borrowed(messages);
        }
        let mut messages = messages.to_vec();
        for message in messages.iter_mut().filter(|message| !is_stamped(&message.properties)) {
            stamp(running, message);
        }
        Cow::Owned(messages)
    }

    /// Does the operation. Boxed where it is told, so that whoever is not told has no larger futures.
    pub(crate) fn watch<T>(self, future: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
        let Some(running) = self.0 else {
            return Either::Left(future);
        };
        Either::Right(Box::pin(async move {
            let result = running.run(future).await;
            running.end(result.as_ref().err().map(failure));
            result
        }))
    }
}

/// A receive that waits. Its span is made afterwards, when it is known what it is linked to.
#[derive(Debug)]
pub(crate) struct Receiving(Option<Box<Operation>>);

impl Receiving {
    pub(crate) fn end(self, result: &Result<Vec<ReceivedMessage>>) {
        let Some(mut operation) = self.0.map(|operation| *operation) else {
            return;
        };
        match result {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => {
                if let [one] = messages.as_slice() {
                    operation = with_id(operation, one.message_id()).with_detail(delivery_count(one));
                }
                let contexts = messages.iter().filter_map(|message| context_of(message.properties()));
                operation
                    .with_messages(messages.len())
                    .linked_to(contexts)
                    .start()
                    .end(None);
            }
            Err(error) => operation.with_messages(0).start().end(Some(failure(error))),
        }
    }
}

/// Gives the messages of a batch a context each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Creation {
    telling: Option<(Observer, String)>,
    /// Those of the messages in the batch.
    contexts: Vec<SpanContext>,
}

impl Creation {
    /// The message with a context, where it has none.
    pub(crate) fn stamped(&self, message: &ServiceBusMessage) -> Option<ServiceBusMessage> {
        let (observer, entity) = self.telling.as_ref()?;
        if is_stamped(&message.properties) || is_published() {
            return None;
        }
        let operation = observer.begin("create", Some(OperationType::Create), entity)?;
        let operation = with_id(operation, message.message_id.as_deref()).as_producer();
        let watched = Watched(Some(Box::new(operation.start())));
        let stamped = watched.stamped(slice::from_ref(message)).into_owned().pop();
        if let Some(running) = watched.0 {
            running.end(None);
        }
        stamped
    }

    /// The message is in the batch.
    pub(crate) fn added(&mut self, message: &ServiceBusMessage) {
        if self.telling.is_some() {
            self.contexts.extend(context_of(&message.properties));
        }
    }
}

fn is_stamped(properties: &Properties) -> bool {
    carries_context(|name| properties.contains_key(name))
}

fn stamp(running: &Running, message: &mut ServiceBusMessage) {
    running.headers(|name, value| {
        message.properties.insert(name.to_owned(), PropertyValue::from(value));
    });
}

fn context_of(properties: &Properties) -> Option<SpanContext> {
    context_in(|name| properties.get(name).and_then(PropertyValue::as_str))
}

fn with_id(operation: Operation, id: Option<&str>) -> Operation {
    match id {
        Some(id) => operation.with_detail(KeyValue::new("messaging.message.id", id.to_owned())),
        None => operation,
    }
}

fn delivery_count(message: &ReceivedMessage) -> KeyValue {
    KeyValue::new(
        "messaging.servicebus.message.delivery_count",
        i64::from(message.delivery_count()),
    )
}

/// The class of an error, of few values, and what it says.
fn failure(error: &Error) -> (String, String) {
    let class = match (error.kind(), error.condition()) {
        (ErrorKind::Other, Some(condition)) => condition.to_owned(),
        (kind, _) => format!("{kind:?}"),
    };
    (class, error.to_string())
}
