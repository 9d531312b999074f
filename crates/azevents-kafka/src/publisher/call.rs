//! One call of a publisher: its messages on their way, and what came of each.

use std::collections::HashSet;
use std::time::Duration;

use azevents_core::{Error, ErrorKind, Message};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureRecord;
use rdkafka::producer::future_producer::DeliveryFuture;
use tokio::time::{Instant, timeout_at};

use super::{Client, KafkaPublisher, OPERATION};
use crate::error::from_kafka;
use crate::message::headers;

/// How long to wait for room where librdkafka's queue is full of other calls' messages.
const ROOM: Duration = Duration::from_millis(5);

/// What is known of one message.
enum Fate {
    Waiting(DeliveryFuture),
    Acknowledged,
    Failed(Error),
    /// Not sent, because one before it failed.
    HeldBack,
}

pub(super) struct Call<'a> {
    publisher: &'a KafkaPublisher,
    client: &'a Client,
    until: Instant,
    fates: Vec<Fate>,
    /// The first of `fates` that may still be waiting.
    waiting: usize,
    /// Set when time ran out: the producer is then given up.
    over: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(publisher: &'a KafkaPublisher, client: &'a Client) -> Self {
        Self {
            publisher,
            client,
            until: Instant::now() + publisher.options.delivery_timeout,
            fates: Vec::new(),
            waiting: 0,
            over: false,
        }
    }

    /// Hands every message to librdkafka that may be sent.
    pub(super) async fn send(&mut self, messages: &[Message]) {
        let mut blocked = HashSet::new();
        for message in messages {
            // Behind a message that can never be sent, those of its key wait for the caller.
            let fate = if self.over || blocked.contains(message.key.as_str()) {
                Fate::HeldBack
            } else {
                self.enqueue(message).await
            };
            if matches!(fate, Fate::Failed(_)) {
                blocked.insert(message.key.as_str());
            }
            self.fates.push(fate);
        }
    }

    async fn enqueue(&mut self, message: &Message) -> Fate {
        let mut record = FutureRecord::to(&self.publisher.topic)
            .payload(&message.body[..])
            .headers(headers(message));
        if !message.key.is_empty() {
            record = record.key(message.key.as_bytes());
        }
        loop {
            let (error, refused) = match self.client.send_result(record) {
                Ok(delivery) => return Fate::Waiting(delivery),
                Err(refused) => refused,
            };
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) if !self.over => {
                    record = refused;
                    self.make_room().await;
                }
                KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    return Fate::Failed(self.too_large(message));
                }
                error => return Fate::Failed(from_kafka(OPERATION, &self.publisher.topic, error)),
            }
        }
    }

    /// Waits until a message of this call, or for want of one of another's, is out of the way.
    async fn make_room(&mut self) {
        if self.waiting < self.fates.len() {
            self.wait_for_next().await;
        } else if Instant::now() < self.until {
            tokio::time::sleep(ROOM).await;
        } else {
            self.over = true;
        }
    }

    /// Waits until the fate of every message is known, or time has run out.
    pub(super) async fn wait(&mut self) {
        while self.waiting < self.fates.len() {
            self.wait_for_next().await;
        }
    }

    async fn wait_for_next(&mut self) {
        let place = self.waiting;
        self.waiting += 1;
        let Fate::Waiting(delivery) = &mut self.fates[place] else {
            return;
        };
        let topic = &self.publisher.topic;
        self.fates[place] = match timeout_at(self.until, delivery).await {
            Ok(Ok(Ok(_))) => Fate::Acknowledged,
            Ok(Ok(Err((error, _)))) => Fate::Failed(from_kafka(OPERATION, topic, error)),
            Ok(Err(_)) => Fate::Failed(
                Error::new(ErrorKind::OutcomeUnknown, OPERATION, topic).with_message("the producer was given up"),
            ),
            Err(_) => {
                self.over = true;
                let limit = self.publisher.options.delivery_timeout;
                Fate::Failed(
                    Error::new(ErrorKind::OutcomeUnknown, OPERATION, topic)
                        .with_message(format!("no acknowledgement within {limit:?}")),
                )
            }
        };
    }

    /// Whether time ran out, so that what is left in the producer must not be sent any more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// How many messages from the first on are acknowledged, and why the next one is not.
    pub(super) fn first_failure(self) -> Option<(usize, Error)> {
        let accepted = self.fates.iter().position(|fate| !matches!(fate, Fate::Acknowledged))?;
        let why = self.fates.into_iter().skip(accepted).find_map(|fate| match fate {
            Fate::Failed(error) => Some(error),
            _ => None,
        });
        let unknown = || Error::new(ErrorKind::OutcomeUnknown, OPERATION, &self.publisher.topic);
        Some((accepted, why.unwrap_or_else(unknown)))
    }

    fn too_large(&self, message: &Message) -> Error {
        Error::new(ErrorKind::TooLarge, OPERATION, &self.publisher.topic).with_message(format!(
            "message {} has {} bytes, with its framing more than the {} that are sent in one",
            message.id,
            message.size(),
            self.publisher.options.max_message_bytes
        ))
    }
}
