//! Dead letters: looking at them, sending them again, throwing them away.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `filter` | [`DeadLetterFilter`]: which ones |
//! | `options` | [`RedriveOptions`], [`RedriveReport`] |
//! | `copy` | the message that is sent again |
//! | `sweep` | taking the chosen ones out of the queue |

mod copy;
mod filter;
mod options;
mod sweep;

use tokio_util::sync::CancellationToken;

pub use self::filter::DeadLetterFilter;
pub use self::options::{RedriveOptions, RedriveReport, RedriveTarget};
use self::sweep::{Action, Sweep};
use crate::client::{ServiceBusClient, dead_letter_queue};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MessageState, ReceivedMessage};
use crate::receiver::Receiver;

/// Messages looked at in one request.
const PAGE: u32 = 100;

/// The dead-letter queue of a queue or subscription.
///
/// # A single subscription
/// Nothing can be sent to one subscription: a copy goes to the topic, and to all of its subscriptions. There
/// are three ways to have dead letters of one subscription handled again:
/// - Run its consumer on the dead-letter queue itself
///   (`ServiceBusConsumer::new(client, dead_letter_queue(&subscription), options)`): nothing is sent at all,
///   at the price of the sessions' order, which dead-letter queues do not have.
/// - [`RedriveTarget::Entity`]: send the copies to a queue that the same handler consumes.
/// - [`RedriveTarget::TopicForThisSubscription`]: send the copies to the topic, marked with the
///   subscription's name. [`ServiceBusConsumer`](crate::ServiceBusConsumer) and
///   [`SessionConsumer`](crate::SessionConsumer) of other subscriptions complete them unhandled. Readers that do not know
///   the mark handle them again, unless their rule leaves them out:
///   `"azevents-redrive-to" IS NULL OR "azevents-redrive-to" = 'topic/Subscriptions/name'`.
///
/// ```no_run
/// use azevents_servicebus::redrive::{DeadLetterFilter, DeadLetters, RedriveOptions};
/// use azevents_servicebus::ServiceBusClient;
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example(client: ServiceBusClient) -> Result<(), azevents_servicebus::Error> {
/// let dead = DeadLetters::new(client, "orders");
/// let filter = DeadLetterFilter::default().with_reason("RetriesExhausted");
/// let options = RedriveOptions::default().with_filter(filter).with_rate(50.0);
/// let report = dead.redrive(&options, CancellationToken::new()).await?;
/// println!("{} sent again", report.moved);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetters {
    client: ServiceBusClient,
    entity: String,
}

impl DeadLetters {
    /// The dead letters of a queue or a [`subscription`](crate::subscription).
    pub fn new(client: ServiceBusClient, entity: impl Into<String>) -> Self {
        Self {
            client,
            entity: entity.into(),
        }
    }

    /// Up to `max` dead letters that pass the filter, oldest first, without locking them.
    ///
    /// # Errors
    /// The entity does not exist or cannot be reached.
    pub async fn list(&self, filter: &DeadLetterFilter, max: usize) -> Result<Vec<ReceivedMessage>> {
        let receiver = self.receiver();
        let mut found = Vec::new();
        self.scan(&receiver, filter, |message| {
            found.push(message);
            found.len() < max
        })
        .await?;
        found.truncate(max);
        Ok(found)
    }

    /// The dead letter with this sequence number.
    ///
    /// # Errors
    /// The entity does not exist or cannot be reached.
    pub async fn get(&self, sequence_number: i64) -> Result<Option<ReceivedMessage>> {
        let found = self.receiver().peek(sequence_number, 1).await?.pop();
        Ok(found.filter(|message| message.sequence_number() == sequence_number))
    }

    /// Sends the chosen dead letters again, each as a copy, and takes each out of the queue once its copy is
    /// acknowledged. Those that are dead-lettered meanwhile are left for the next time.
    ///
    /// A copy keeps body, properties and session, without the dead-letter reason. It gets a message id of
    /// its own, since an entity with duplicate detection would swallow the original one; our consumers see the
    /// original id. The copy's id depends only on where it came from: a copy sent twice, because the process
    /// died before the original was taken out, is a duplicate to entities that detect them and to handlers
    /// that are idempotent.
    ///
    /// It can be stopped, or killed, at any point and started again: what is done is not done again.
    ///
    /// # Errors
    /// An operation that still failed after its retries, or [`ErrorKind::InvalidArgument`] where the target is
    /// missing: a subscription's dead letters need one.
    ///
    /// Cancellation: as if the process were killed.
    pub async fn redrive(&self, options: &RedriveOptions, stop: CancellationToken) -> Result<RedriveReport> {
        let target = self.target(options)?;
        let action = Action::Send {
            sender: self.client.create_sender(&target.entity),
            mark: target.mark,
        };
        self.sweep(action, options, stop).await
    }

    /// Throws the chosen dead letters away, for ever.
    ///
    /// # Errors
    /// An operation that still failed after its retries.
    ///
    /// Cancellation: some are gone, the others are not.
    pub async fn purge(&self, options: &RedriveOptions, stop: CancellationToken) -> Result<RedriveReport> {
        self.sweep(Action::Purge, options, stop).await
    }

    async fn sweep(&self, action: Action, options: &RedriveOptions, stop: CancellationToken) -> Result<RedriveReport> {
        let receiver = self.receiver();
        let mut sweep = Sweep::new(&self.entity, options, action);
        self.scan(&receiver, &options.filter, |message| sweep.choose(&message))
            .await?;
        if !options.dry_run {
            sweep.run(&receiver, &stop).await?;
        }
        receiver.close().await;
        Ok(sweep.report())
    }

    /// Hands every dead letter that passes the filter to `found`, until that says no.
    async fn scan(
        &self,
        receiver: &Receiver,
        filter: &DeadLetterFilter,
        mut found: impl FnMut(ReceivedMessage) -> bool,
    ) -> Result<()> {
        let mut from = 0;
        loop {
            let page = receiver.peek(from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.sequence_number() + 1;
            for message in page {
                if message.state() == MessageState::Active && filter.passes(&message) && !found(message) {
                    return Ok(());
                }
            }
        }
    }

    fn receiver(&self) -> Receiver {
        self.client.create_receiver(&dead_letter_queue(&self.entity))
    }

    fn target(&self, options: &RedriveOptions) -> Result<Target> {
        let topic = topic_of(&self.entity);
        match (&options.target, topic) {
            (RedriveTarget::Origin, None) => Ok(Target::unmarked(&self.entity)),
            (RedriveTarget::Entity(entity), _) => Ok(Target::unmarked(entity)),
            (RedriveTarget::TopicForThisSubscription, Some(topic)) => Ok(Target {
                entity: topic.to_owned(),
                mark: Some(self.entity.clone()),
            }),
            (RedriveTarget::Origin, Some(_)) => Err(Error::new(
                ErrorKind::InvalidArgument,
                "nothing can be sent to a single subscription; name a queue as target, send through the topic \
                 marked for this subscription, or run the consumer on the dead-letter queue",
            )
            .during("redrive", &self.entity)),
            (RedriveTarget::TopicForThisSubscription, None) => Err(Error::new(
                ErrorKind::InvalidArgument,
                "this is no subscription; leave the target out",
            )
            .during("redrive", &self.entity)),
        }
    }
}

struct Target {
    entity: String,
    mark: Option<String>,
}

impl Target {
    fn unmarked(entity: &str) -> Self {
        Self {
            entity: entity.to_owned(),
            mark: None,
        }
    }
}

/// The topic of a subscription's address.
pub(crate) fn topic_of(entity: &str) -> Option<&str> {
    let at = entity.to_ascii_lowercase().find("/subscriptions/")?;
    entity.get(..at)
}
