//! Sending one batch: as much as the service takes at a time, repeated where a connection broke.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::{Error, ErrorKind, Message, Result};
use azure_core_amqp::AmqpMessage;
use azure_messaging_eventhubs::{EventDataBatchOptions, ProducerClient, SendMessageOptions};

use super::Target;
use super::connection::Connection;
use crate::error;
use crate::message::encode;
use crate::namespace::within;

const OPERATION: &str = "publish";
/// Below the limit of every tier, of which the lowest is 256 KB ("Azure Event Hubs quotas and limits"),
/// whatever the encoding adds.
const SURELY_SMALL: usize = 64 << 10;

/// Sends to one link.
pub(super) struct Sender {
    pub(super) target: Arc<Target>,
    pub(super) connection: Arc<Connection>,
    /// The link's partition; without one the service places each batch by its first event's key.
    pub(super) partition: Option<String>,
    /// Whether a batch may hold the events of one key only.
    pub(super) one_key: bool,
}

impl Sender {
    /// Sends as many of `messages` as one batch holds, at least one, and says how many they were. A batch is
    /// repeated until the service has it: nothing behind it is sent before.
    pub(super) async fn send(&self, messages: &[&Message]) -> Result<usize> {
        let mut delays = self.target.options.retry.delays();
        loop {
            let error = match self.connection.client().await {
                Err(error) => error,
                Ok(client) => match self.attempt(&client, messages).await {
                    Ok(count) => return Ok(count),
                    Err(error) => {
                        self.connection.broken(&client).await;
                        error
                    }
                },
            };
            if !error.is_transient() {
                return Err(error);
            }
            let Some(delay) = delays.next() else { return Err(error) };
            let delay = error.retry_after().map_or(delay, |asked| asked.max(delay));
            tracing::debug!(hub = %self.target.hub, ?delay, error = azevents_core::error::chain(&error), "send failed, trying again");
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(&self, client: &ProducerClient, messages: &[&Message]) -> Result<usize> {
        let (hub, limit) = (&*self.target.hub, self.target.options.send_timeout);
        let Some((first, more)) = messages.split_first() else {
            return Ok(0);
        };
        if !more.is_empty() {
            let batch = within(OPERATION, hub, limit, client.create_batch(Some(self.batch()))).await?;
            let mut count = 0;
            for message in messages {
                let added = batch.try_add_amqp_message(encode(message, self.partition.is_some()), None);
                if !added.map_err(|e| error::from_sdk(OPERATION, hub, e))? {
                    break;
                }
                count += 1;
            }
            if count > 1 {
                within(OPERATION, hub, limit, client.send_batch(batch, None)).await?;
                return Ok(count);
            }
            tracing::trace!(hub, id = first.id, "event sent alone, its batch is full");
        }
        let encoded = encode(first, self.partition.is_some());
        if first.size() > SURELY_SMALL && !self.fits(client, &encoded).await? {
            return Err(too_large(hub, first));
        }
        let options = SendMessageOptions {
            partition_id: self.partition.clone(),
        };
        let sent = within(OPERATION, hub, limit, client.send_message(encoded, Some(options))).await;
        sent.map(|()| 1).map_err(|error| match error.kind() {
            ErrorKind::TooLarge => too_large(hub, first).with_source(error),
            _ => error,
        })
    }

    fn batch(&self) -> EventDataBatchOptions {
        EventDataBatchOptions {
            partition_id: self.partition.clone(),
            ..EventDataBatchOptions::default()
        }
    }

    /// Whether one event is within the service's limit, give or take some 150 bytes.
    ///
    /// The SDK does not ask this before it sends a single message, and then waits for ever, because the
    /// service answers by closing the link. Nor does it tell the limit. A batch does check it, but counts its
    /// first message twice and so refuses for the first place what fills more than half: hence a tiny one
    /// goes first here, and the batch is thrown away.
    async fn fits(&self, client: &ProducerClient, event: &AmqpMessage) -> Result<bool> {
        let (hub, limit): (&str, Duration) = (&self.target.hub, self.target.options.send_timeout);
        let batch = within(OPERATION, hub, limit, client.create_batch(Some(self.batch()))).await?;
        let mut fits = true;
        for message in [AmqpMessage::default(), event.clone()] {
            fits &= batch
                .try_add_amqp_message(message, None)
                .map_err(|e| error::from_sdk(OPERATION, hub, e))?;
        }
        Ok(fits)
    }
}

fn too_large(hub: &str, message: &Message) -> Error {
    Error::new(ErrorKind::TooLarge, OPERATION, hub).with_message(format!(
        "event {} has {} bytes, more than the event hub takes in one message",
        message.id,
        message.size()
    ))
}
