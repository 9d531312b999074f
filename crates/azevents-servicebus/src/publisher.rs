//! The engine's publisher on a queue or topic.

use async_trait::async_trait;
use azevents_core::{DeadLetter, DeadLetterSink, Message, PublishError, Publisher};

use crate::client::ServiceBusClient;
use crate::convert;
use crate::error::Error;
use crate::message::{DEAD_LETTER_DESCRIPTION, DEAD_LETTER_REASON};
use crate::sender::{Sender, SenderOptions};

/// Publishes to a queue or topic: SessionId is the message's key, MessageId its id, Subject its type.
///
/// The messages of one call travel in as few transfers as the link's limit allows, one transfer after the
/// other, so that none overtakes another. Calls that overlap share the link and do not wait for each other.
///
/// ```no_run
/// use std::sync::Arc;
/// use azevents_core::Publisher;
/// use azevents_servicebus::{ServiceBusClient, ServiceBusPublisher};
///
/// # fn example(client: ServiceBusClient) {
/// let publisher: Arc<dyn Publisher> = Arc::new(ServiceBusPublisher::new(&client, "orders"));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServiceBusPublisher {
    sender: Sender,
}

impl ServiceBusPublisher {
    /// A publisher to a queue or topic.
    pub fn new(client: &ServiceBusClient, entity: &str) -> Self {
        Self::with_options(client, entity, &SenderOptions::default())
    }

    /// A publisher with options.
    pub fn with_options(client: &ServiceBusClient, entity: &str, options: &SenderOptions) -> Self {
        Self {
            sender: client.create_sender_with(entity, options),
        }
    }

    fn error(&self, error: Error) -> azevents_core::Error {
        convert::error(error, "publish", self.sender.entity())
    }
}

#[async_trait]
impl Publisher for ServiceBusPublisher {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        let mut accepted = 0;
        while let Some(rest) = messages.get(accepted..).filter(|rest| !rest.is_empty()) {
            let stopped = |error| PublishError::after(accepted, self.error(error));
            let mut batch = self.sender.create_batch().await.map_err(stopped)?;
            for message in rest {
                match batch.try_add(&convert::outgoing(message)) {
                    Ok(true) => {}
                    Ok(false) => break,
                    // What comes before it is sent first: then it is the one at index `accepted`.
                    Err(_) if !batch.is_empty() => break,
                    Err(error) => return Err(stopped(error)),
                }
            }
            let count = batch.len();
            self.sender.send_batch(batch).await.map_err(stopped)?;
            accepted += count;
        }
        Ok(())
    }
}

/// Keeps dead letters in a queue: for sources that have no dead-letter queue of their own, as event hubs,
/// and for events that a relay cannot publish. The reason stands where Service Bus's own dead letters
/// have it, so that the same tools read both.
#[derive(Debug, Clone)]
pub struct ServiceBusDeadLetters {
    sender: Sender,
}

impl ServiceBusDeadLetters {
    /// Keeps dead letters in this queue.
    pub fn new(client: &ServiceBusClient, queue: &str) -> Self {
        Self {
            sender: client.create_sender(queue),
        }
    }
}

#[async_trait]
impl DeadLetterSink for ServiceBusDeadLetters {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> azevents_core::Result<()> {
        let mut message = convert::outgoing(message);
        message.properties.extend(convert::story(&why.failures));
        let message = message
            .with_property(DEAD_LETTER_REASON, why.reason.as_str())
            .with_property(DEAD_LETTER_DESCRIPTION, why.description.as_str());
        let sent = self.sender.send(&message).await;
        sent.map_err(|error| convert::error(error, "set aside", self.sender.entity()))
    }
}
