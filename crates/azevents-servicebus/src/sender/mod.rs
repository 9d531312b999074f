//! Sending to a queue or topic.

mod link;

use std::slice;
use std::sync::Arc;

use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::types::messaging::Outcome;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::link::{Command, Limits, LinkTask, Payload};
use crate::amqp::conditions;
use crate::amqp::transactions::Enlisted;
use crate::client::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::management::Management;
use crate::message::{MessageBatch, ServiceBusMessage, wire};
use crate::telemetry::Watched;

/// Commands that may wait for the link's task.
const QUEUE: usize = 256;

/// Options of a [`Sender`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SenderOptions {
    /// Transfers that may wait for their outcome at once; further ones wait. Default: 1000.
    pub max_in_flight: usize,
    /// The queue or topic that messages go by way of. Default: none.
    pub via: Option<String>,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            max_in_flight: 1000,
            via: None,
        }
    }
}

impl SenderOptions {
    /// Sets how many transfers may wait for their outcome at once.
    #[must_use]
    pub fn with_max_in_flight(mut self, count: usize) -> Self {
        self.max_in_flight = count;
        self
    }

    /// Sends by way of another queue or topic: what is sent within a [`Transaction`](crate::Transaction) of that
    /// one is passed on once it is committed. It takes the right to send to both; what then cannot be
    /// passed on is in `via`'s [`transfer_dead_letter_queue`](crate::transfer_dead_letter_queue).
    ///
    /// Scheduling goes straight to the destination.
    #[must_use]
    pub fn with_via(mut self, entity: impl Into<String>) -> Self {
        self.via = Some(entity.into());
        self
    }
}

/// Sends messages to one queue or topic, over one link that is opened by the first use and again after a
/// loss. Clones share the link; many sends can be in flight on it.
///
/// # Order
/// Sends that follow one another are taken in that order. Sends that overlap have no order between them,
/// since one of them may be retried.
///
/// # Cancellation
/// A send that is dropped may or may not have happened; the sender stays usable.
///
/// ```no_run
/// use azevents_servicebus::{ServiceBusClient, ServiceBusMessage};
///
/// # async fn example(client: ServiceBusClient) -> Result<(), azevents_servicebus::Error> {
/// let sender = client.create_sender("orders");
/// sender.send(&ServiceBusMessage::new("one")).await?;
///
/// let mut batch = sender.create_batch().await?;
/// for line in ["two", "three"] {
///     if !batch.try_add(&ServiceBusMessage::new(line))? {
///         sender.send_batch(std::mem::replace(&mut batch, sender.create_batch().await?)).await?;
///         batch.try_add(&ServiceBusMessage::new(line))?;
///     }
/// }
/// sender.send_batch(batch).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Arc<Shared>,
    entity: String,
    commands: mpsc::Sender<Command>,
    in_flight: Semaphore,
    management: Arc<Management>,
}

impl Sender {
    pub(crate) fn new(client: Arc<Shared>, entity: &str, options: &SenderOptions) -> Self {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let task = LinkTask {
            connection: Arc::clone(&client.connection),
            entity: entity.to_owned(),
            via: options.via.clone(),
            attach_timeout: client.retry.try_timeout,
            commands: receiver,
        };
        tokio::spawn(task.run());
        Self(Arc::new(Inner {
            management: client.management(entity),
            in_flight: Semaphore::new(options.max_in_flight.max(1)),
            entity: entity.to_owned(),
            commands,
            client,
        }))
    }

    /// The queue or topic.
    pub fn entity(&self) -> &str {
        &self.0.entity
    }

    /// Sends one message and waits until the broker has taken it.
    ///
    /// # Errors
    /// [`ErrorKind::MessageTooLarge`]; [`ErrorKind::EntityNotFound`], [`ErrorKind::Unauthorized`] and
    /// others that retrying cannot help; transient ones once the retries are used up, after which the
    /// message may or may not have been taken.
    pub async fn send(&self, message: &ServiceBusMessage) -> Result<()> {
        self.checked(message)?;
        let sending = self.sending(message);
        let payload = payload(&sending, message);
        sending.watch(self.send_payload("send", payload)).await
    }

    /// An empty batch that holds as much as the link takes.
    ///
    /// # Errors
    /// As of [`send`](Self::send): the link is opened to learn its limit.
    pub async fn create_batch(&self) -> Result<MessageBatch> {
        let creation = self.0.client.observer.creation(&self.0.entity);
        Ok(MessageBatch::new(self.limits().await?.batch).with_creation(creation))
    }

    /// Sends a batch: the broker takes all of its messages, in order, or none. An empty one is no work.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn send_batch(&self, batch: MessageBatch) -> Result<()> {
        let sending = self.0.client.observer.sending_batch(&self.0.entity, &batch);
        match batch.into_sendable() {
            Some(payload) => {
                let sent = self.send_payload("send batch", Arc::new(payload));
                sending.watch(sent).await
            }
            None => Ok(()),
        }
    }

    /// Enqueues a message that becomes available at `at`; gives the sequence number by which it can be
    /// cancelled.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn schedule(&self, message: &ServiceBusMessage, at: OffsetDateTime) -> Result<i64> {
        let numbers = self.0.management.schedule(slice::from_ref(message), at).await?;
        Ok(numbers[0])
    }

    /// Enqueues messages, all or none, that become available at `at`; gives their sequence numbers.
    ///
    /// # Errors
    /// As of [`send`](Self::send). All of them together must fit into one message.
    pub async fn schedule_all(&self, messages: &[ServiceBusMessage], at: OffsetDateTime) -> Result<Vec<i64>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        self.0.management.schedule(messages, at).await
    }

    /// Takes a scheduled message back.
    ///
    /// # Errors
    /// [`ErrorKind::MessageNotFound`] where it is available already; others as of [`send`](Self::send).
    pub async fn cancel_scheduled(&self, sequence_number: i64) -> Result<()> {
        self.cancel_all_scheduled(&[sequence_number]).await
    }

    /// Takes scheduled messages back.
    ///
    /// # Errors
    /// As of [`cancel_scheduled`](Self::cancel_scheduled).
    pub async fn cancel_all_scheduled(&self, sequence_numbers: &[i64]) -> Result<()> {
        if sequence_numbers.is_empty() {
            return Ok(());
        }
        self.0.management.cancel_scheduled(sequence_numbers).await
    }

    pub(crate) async fn send_enlisted(&self, message: &ServiceBusMessage, transaction: &Enlisted) -> Result<()> {
        self.checked(message)?;
        let sending = self.sending(message);
        let payload = payload(&sending, message);
        sending.watch(self.post(payload, transaction)).await
    }

    pub(crate) async fn send_batch_enlisted(&self, batch: MessageBatch, transaction: &Enlisted) -> Result<()> {
        let sending = self.0.client.observer.sending_batch(&self.0.entity, &batch);
        match batch.into_sendable() {
            Some(payload) => sending.watch(self.post(Arc::new(payload), transaction)).await,
            None => Ok(()),
        }
    }

    async fn post(&self, payload: Payload, transaction: &Enlisted) -> Result<()> {
        let posted = async {
            let (reply, answer) = oneshot::channel();
            self.command(Command::Post {
                payload,
                transaction: transaction.clone(),
                reply,
            })
            .await?;
            let posted = answer.await.map_err(|_| closed())??;
            outcome(posted.await?)
        };
        let posted = tokio::time::timeout(self.0.client.retry.try_timeout, posted);
        match posted.await {
            Ok(result) => result,
            Err(_) => Err(Error::timeout("the broker did not answer in time")),
        }
        .map_err(|error| error.during("send", &self.0.entity))
    }

    fn sending(&self, message: &ServiceBusMessage) -> Watched {
        let observer = &self.0.client.observer;
        observer.sending("send", &self.0.entity, slice::from_ref(message))
    }

    fn checked(&self, message: &ServiceBusMessage) -> Result<()> {
        message.check().map_err(|error| error.during("send", &self.0.entity))
    }

    async fn limits(&self) -> Result<Limits> {
        self.0
            .client
            .retry
            .run("open sender", &self.0.entity, || async {
                let (reply, answer) = oneshot::channel();
                self.command(Command::Limits { reply }).await?;
                answer.await.map_err(|_| closed())?
            })
            .await
    }

    async fn send_payload(&self, operation: &'static str, payload: Payload) -> Result<()> {
        // The permit spans retries too: what failed comes before what has not been tried.
        let Ok(_permit) = self.0.in_flight.acquire().await else {
            return Err(closed());
        };
        self.0
            .client
            .retry
            .run(operation, &self.0.entity, || async {
                let (reply, answer) = oneshot::channel();
                self.command(Command::Send {
                    payload: Arc::clone(&payload),
                    reply,
                })
                .await?;
                let delivery = answer.await.map_err(|_| closed())??;
                outcome(delivery.await?)
            })
            .await
    }

    async fn command(&self, command: Command) -> Result<()> {
        self.0.commands.send(command).await.map_err(|_| closed())
    }
}

fn payload(sending: &Watched, message: &ServiceBusMessage) -> Payload {
    let stamped = sending.stamped(slice::from_ref(message));
    Arc::new(Sendable::from(wire::to_amqp(&stamped[0])))
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the sender was closed")
}

fn outcome(outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected(rejected) => Err(rejected.error.as_ref().map_or_else(
            || Error::new(ErrorKind::Other, "the broker rejected the message without a reason"),
            conditions::from_amqp,
        )),
        // Not taken and not refused: the broker could not just now.
        Outcome::Released(_) | Outcome::Modified(_) | Outcome::Declared(_) => Err(Error::new(
            ErrorKind::ServiceUnavailable,
            "the broker handed the message back",
        )),
    }
}
