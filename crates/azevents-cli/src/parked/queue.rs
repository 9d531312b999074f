//! Parked in a Service Bus queue.

use std::sync::Arc;

use anyhow::{Context, Result};
use azevents_core::{Consumer, DeadLetter, Failures, Handler, Message, Parked};
use azevents_servicebus::{
    ConsumerOptions, ReceivedMessage, Receiver, ServiceBusClient, ServiceBusConsumer, SessionConsumer,
    SessionConsumerOptions,
};

use super::args::Place;
use super::redriving::{pipeline, until};

/// How many are looked at in one request.
const PAGE: u32 = 100;

pub(super) async fn list(place: &Place, queue: &str) -> Result<Vec<Parked>> {
    let receiver = open(place)?.create_receiver(queue);
    let mut letters = Vec::new();
    let mut next = 0;
    loop {
        let page = receiver.peek(next, PAGE).await?;
        let Some(last) = page.last() else { return Ok(letters) };
        next = last.sequence_number() + 1;
        letters.extend(page.iter().map(parked));
    }
}

fn parked(received: &ReceivedMessage) -> Parked {
    let message = Message::from(received);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let why = DeadLetter::new(
        text(received.dead_letter_reason()),
        text(received.dead_letter_error_description()),
    )
    .after(Failures::of(&message.headers).unwrap_or_default());
    Parked {
        message,
        why,
        at: received.enqueued_time(),
    }
}

/// One message after the other, or one session: the queue's order is that of each key.
pub(super) async fn redrive(place: &Place, queue: &str, handler: impl Handler + 'static) -> Result<u64> {
    let client = open(place)?;
    let consumer: Box<dyn Consumer> = if place.sessions {
        let options = SessionConsumerOptions::default().with_sessions(8).with_prefetch(0);
        Box::new(SessionConsumer::new(client.clone(), queue, options))
    } else {
        let options = ConsumerOptions::default().with_concurrency(1).with_prefetch(0);
        Box::new(ServiceBusConsumer::new(client.clone(), queue, options))
    };
    let receiver = client.create_receiver(queue);
    let pipeline = Arc::new(pipeline(handler));
    until(&*consumer, &pipeline, || is_empty(&receiver)).await?;
    Ok(pipeline.stats().handled)
}

async fn is_empty(receiver: &Receiver) -> Result<bool> {
    Ok(receiver.peek(0, 1).await?.is_empty())
}

fn open(place: &Place) -> Result<ServiceBusClient> {
    ServiceBusClient::from_connection_string(place.servicebus()?)
        .context("--servicebus-connection-string or SERVICEBUS_CONNECTION_STRING")
}
