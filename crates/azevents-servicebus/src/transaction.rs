//! Transactions: settling messages and sending others, all or nothing.

use std::sync::Arc;

use crate::amqp::transactions::Declared;
use crate::client::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MessageBatch, Properties, ReceivedMessage, ServiceBusMessage};
use crate::receiver::{Receiver, Settlement};
use crate::sender::Sender;
use crate::session::SessionReceiver;

/// Settlements and sends that happen together or not at all. All must be on one entity, its subscriptions
/// and dead-letter queues counted in; the service takes at most 100 messages, and gives up after
/// two minutes.
///
/// # Across entities
/// Messages can be sent to other entities of the namespace by way of the transaction's own, with a sender
/// that has [`SenderOptions::with_via`](crate::SenderOptions::with_via). They are received and settled on
/// that one only: the topic, where they are received from a subscription. With the commit they lie with the
/// service, which passes them on then; so they are seen at their destination a little later.
///
/// What is done within it is not retried, as a lost answer leaves open what belongs to the transaction:
/// after an error roll back (or drop it) and do it all again.
///
/// # Cancellation
/// Dropping it rolls it back. A commit that is dropped is carried to its end. A send or settlement that is
/// dropped may or may not be part of it: let it go.
///
/// ```no_run
/// use azevents_servicebus::{SenderOptions, ServiceBusClient, ServiceBusMessage, Settlement};
///
/// # async fn example(client: ServiceBusClient) -> Result<(), azevents_servicebus::Error> {
/// let receiver = client.create_receiver("orders");
/// let sender = client.create_sender_with("invoices", &SenderOptions::default().with_via("orders"));
/// let message = receiver.receive().await?;
/// let transaction = client.begin_transaction().await?;
/// transaction.send(&sender, &ServiceBusMessage::new("follow-up")).await?;
/// transaction.settle(&receiver, &message, &Settlement::Complete).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction {
    client: Arc<Shared>,
    declared: Declared,
}

impl Transaction {
    pub(crate) async fn begin(client: &Arc<Shared>) -> Result<Self> {
        let declared = client
            .retry
            .run("begin transaction", "", || client.connection.declare())
            .await?;
        Ok(Self {
            client: Arc::clone(client),
            declared,
        })
    }

    /// Sends a message, which becomes visible when the transaction is committed.
    ///
    /// # Errors
    /// As of [`Sender::send`], without any retry.
    pub async fn send(&self, sender: &Sender, message: &ServiceBusMessage) -> Result<()> {
        sender.send_enlisted(message, &self.declared.enlisted).await
    }

    /// Sends a batch, which becomes visible when the transaction is committed.
    ///
    /// # Errors
    /// As of [`Sender::send_batch`], without any retry.
    pub async fn send_batch(&self, sender: &Sender, batch: MessageBatch) -> Result<()> {
        sender.send_batch_enlisted(batch, &self.declared.enlisted).await
    }

    /// Settles a message when the transaction is committed; until then, and after a rollback, it stays
    /// locked.
    ///
    /// # Errors
    /// [`ErrorKind::MessageLockLost`], also where the link it came over was lost: within a transaction
    /// there is no other way. [`ErrorKind::InvalidArgument`] for a message that was received by its number,
    /// or settled with a transaction before.
    pub async fn settle(&self, receiver: &Receiver, message: &ReceivedMessage, settlement: &Settlement) -> Result<()> {
        self.settle_with(receiver, message, settlement, &Properties::new())
            .await
    }

    /// Settles a message, and sets application properties on it, when the transaction is committed.
    ///
    /// # Errors
    /// As of [`settle`](Self::settle).
    pub async fn settle_with(
        &self,
        receiver: &Receiver,
        message: &ReceivedMessage,
        settlement: &Settlement,
        properties: &Properties,
    ) -> Result<()> {
        receiver
            .core()
            .settle_enlisted(message, settlement, properties, &self.declared.enlisted)
            .await
    }

    /// Settles a message of a session when the transaction is committed.
    ///
    /// # Errors
    /// As of [`settle`](Self::settle).
    pub async fn settle_in_session(
        &self,
        session: &SessionReceiver,
        message: &ReceivedMessage,
        settlement: &Settlement,
    ) -> Result<()> {
        session
            .core()
            .settle_enlisted(message, settlement, &Properties::new(), &self.declared.enlisted)
            .await
    }

    /// Makes all of it happen.
    ///
    /// # Errors
    /// [`ErrorKind::TransactionFailed`]: nothing has happened. [`ErrorKind::Timeout`]: the answer was
    /// lost, all or nothing has happened.
    pub async fn commit(self) -> Result<()> {
        let try_timeout = self.client.retry.try_timeout;
        let unknown = |why: &str| Error::timeout(format!("whether the transaction was committed is unknown: {why}"));
        let result = match tokio::time::timeout(try_timeout, self.declared.commit()).await {
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Connection | ErrorKind::LinkLost) => {
                Err(unknown("the connection was lost").with_source(error))
            }
            Ok(result) => result,
            Err(_) => Err(unknown("no answer came in time")),
        };
        result.map_err(|error| error.during("commit", "transaction"))
    }

    /// Makes none of it happen, and waits until the service has said so. Messages that were to be settled
    /// are still locked and can be settled otherwise.
    ///
    /// # Errors
    /// The answer was lost: the service rolls back by itself later.
    pub async fn rollback(self) -> Result<()> {
        let try_timeout = self.client.retry.try_timeout;
        let result = match tokio::time::timeout(try_timeout, self.declared.rollback()).await {
            Ok(result) => result,
            Err(_) => Err(Error::timeout("no answer came in time")),
        };
        result.map_err(|error| error.during("roll back", "transaction"))
    }
}
