//! Trying a message again much later, without holding it meanwhile: a scheduled copy takes its place.

use std::time::Duration;

use azevents_core::Failures;
use azevents_core::dead_letter::{ORIGINAL_ID, REDRIVE_TO, RETRY_COUNT};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::client::ServiceBusClient;
use crate::convert;
use crate::error::{ErrorKind, Result};
use crate::message::{ReceivedMessage, ServiceBusMessage};
use crate::processor::HeldMessage;
use crate::receiver::Settlement;
use crate::redrive::topic_of;
use crate::sender::Sender;

/// Delays between deliveries of a message that keeps failing: doubling from `first` to `longest`. They follow the
/// short retries in place, which are the [pipeline](azevents_core::Pipeline)'s; its limit of deliveries ends both.
///
/// Without sessions, a scheduled copy is sent and the original completed, in one transaction: none is lost, none is
/// there twice. The copy has a message id of its own, since duplicate detection would swallow the original one;
/// handlers see the original id, and a delivery count that goes on. A subscription's copy goes through its topic,
/// marked for that subscription: [other consumers of ours](crate::redrive::DeadLetters#a-single-subscription) leave
/// it out, readers that don't know the mark need the rule given there. Transactions need the Standard tier; where none
/// is possible the message is given back at once, as without this option.
///
/// With sessions the message keeps its place: the session is held for the delay, with its lock renewed, and then the
/// message is given back. Each session that waits takes one of the consumer's
/// [`sessions`](crate::SessionConsumerOptions::sessions).
///
/// The broker's `maxDeliveryCount` counts deliveries of one copy only; of a session's message all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DelayedRetry {
    /// Before the second delivery.
    pub first: Duration,
    /// Before any later one at most.
    pub longest: Duration,
}

impl Default for DelayedRetry {
    /// From 30 s to 10 minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(30),
            longest: Duration::from_secs(600),
        }
    }
}

impl DelayedRetry {
    /// Sets the first delay and the longest.
    #[must_use]
    pub fn with_delays(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// The delay after so many failed deliveries, up to a tenth less, so that what failed together does not come
    /// again together.
    pub(super) fn delay(&self, deliveries: u32) -> Duration {
        let factor = 1_u32.checked_shl(deliveries.saturating_sub(1)).unwrap_or(u32::MAX);
        let delay = self.first.saturating_mul(factor).min(self.longest);
        // From the clock's lowest digits: chance enough.
        let chance = f64::from(OffsetDateTime::now_utc().microsecond() % 1000) / 1000.0;
        delay.mul_f64(1.0 - chance / 10.0)
    }
}

/// Sends messages again, later.
#[derive(Debug, Clone)]
pub(super) struct Later {
    client: ServiceBusClient,
    sender: Sender,
    retry: DelayedRetry,
    /// The subscription that copies are meant for.
    mark: Option<String>,
}

impl Later {
    pub(super) fn new(client: &ServiceBusClient, entity: &str, retry: DelayedRetry) -> Self {
        let topic = topic_of(entity);
        Self {
            sender: client.create_sender(topic.unwrap_or(entity)),
            client: client.clone(),
            retry,
            mark: topic.is_some().then(|| entity.to_owned()),
        }
    }

    /// Puts a scheduled copy in the message's place. After an error the message is as it was, unless
    /// [`ErrorKind::Timeout`] says that nobody knows.
    pub(super) async fn retry(&self, held: &HeldMessage<'_>, deliveries: u32, failures: &Failures) -> Result<()> {
        let copy = self.copy(held.message(), held.entity(), deliveries, failures);
        let transaction = self.client.begin_transaction().await?;
        let enlisted = async {
            transaction.send(&self.sender, &copy).await?;
            held.settle_in(&transaction, &Settlement::Complete).await
        };
        if let Err(error) = enlisted.await {
            // Nothing has happened yet, whatever became of the calls, and nothing will once this has come through.
            if let Err(rollback) = transaction.rollback().await {
                tracing::debug!(error = %rollback, "a transaction is left for the service to roll back");
            }
            return Err(error);
        }
        transaction.commit().await
    }

    fn copy(&self, message: &ReceivedMessage, entity: &str, deliveries: u32, failures: &Failures) -> ServiceBusMessage {
        // The same copy has the same id, whoever makes it and how often.
        let name = format!("{entity}\n{}\nretry {deliveries}", message.sequence_number());
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
        let due = OffsetDateTime::now_utc() + self.retry.delay(deliveries);
        let mut copy = message
            .to_message()
            .with_message_id(id.simple().to_string())
            .with_scheduled_enqueue_time(due)
            .with_property(RETRY_COUNT, i64::from(deliveries));
        // One without an id is told apart by its number, also after it has got an id and another number.
        let original = message
            .message_id()
            .map_or_else(|| message.sequence_number().to_string(), str::to_owned);
        copy.properties.entry(ORIGINAL_ID.to_owned()).or_insert(original.into());
        copy.properties.extend(convert::story(failures));
        if let Some(mark) = &self.mark {
            copy = copy.with_property(REDRIVE_TO, mark.as_str());
        }
        if let Some(left) = message.expires_at() {
            // It lives no longer for having been sent again; its time begins when it is due.
            let left = Duration::try_from(left - due).unwrap_or(Duration::from_millis(1));
            copy = copy.with_time_to_live(left.max(Duration::from_millis(1)));
        }
        copy
    }
}

/// Whether it is unknown what became of the message.
pub(super) fn is_unknown(error: &crate::Error) -> bool {
    error.kind() == ErrorKind::Timeout
}
