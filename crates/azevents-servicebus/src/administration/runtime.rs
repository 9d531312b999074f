//! What lies in entities, and when they were used; what the namespace is.

use time::OffsetDateTime;

use super::atom::{Described, Fields};
use super::xml::Element;
use crate::error::Result;

/// How many messages there are. The service counts now and then: a message that was just sent may be
/// missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MessageCounts {
    /// Ready to be received, locked, or deferred.
    pub active: u64,
    /// In the dead-letter queue.
    pub dead_letter: u64,
    /// Scheduled for later.
    pub scheduled: u64,
    /// On the way to another entity, by forwarding or within a transaction.
    pub transfer: u64,
    /// That could not get there: see [`transfer_dead_letter_queue`](crate::transfer_dead_letter_queue).
    pub transfer_dead_letter: u64,
    /// All of them.
    pub total: u64,
}

impl MessageCounts {
    fn read(fields: &Fields<'_>) -> Result<Self> {
        let empty = Element::default();
        let details = Fields(fields.0.child("CountDetails").unwrap_or(&empty));
        let counts = Self {
            active: details.number("ActiveMessageCount", 0)?,
            dead_letter: details.number("DeadLetterMessageCount", 0)?,
            scheduled: details.number("ScheduledMessageCount", 0)?,
            transfer: details.number("TransferMessageCount", 0)?,
            transfer_dead_letter: details.number("TransferDeadLetterMessageCount", 0)?,
            total: 0,
        };
        let sum = counts.active + counts.dead_letter + counts.scheduled + counts.transfer + counts.transfer_dead_letter;
        Ok(Self {
            // Topics have no total of their own.
            total: fields.number("MessageCount", sum)?,
            ..counts
        })
    }
}

/// What lies in a queue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueRuntimeProperties {
    /// The queue.
    pub name: String,
    /// Its messages.
    pub counts: MessageCounts,
    /// How much room they take.
    pub size_in_bytes: u64,
    /// When it was created, where the service says.
    pub created_at: Option<OffsetDateTime>,
    /// When its settings were last changed, where the service says.
    pub updated_at: Option<OffsetDateTime>,
    /// When somebody last sent to it or received from it, where the service says.
    pub accessed_at: Option<OffsetDateTime>,
}

impl Described for QueueRuntimeProperties {
    const KIND: &'static str = "QueueDescription";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            counts: MessageCounts::read(fields)?,
            size_in_bytes: fields.number("SizeInBytes", 0)?,
            created_at: fields.time("CreatedAt")?,
            updated_at: fields.time("UpdatedAt")?,
            accessed_at: fields.time("AccessedAt")?,
        })
    }
}

/// How much lies in a topic.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TopicRuntimeProperties {
    /// The topic.
    pub name: String,
    /// Messages scheduled to be sent to its subscriptions later.
    pub scheduled_message_count: u64,
    /// How many subscriptions it has.
    pub subscription_count: u32,
    /// How much room all messages take, those of its subscriptions counted in.
    pub size_in_bytes: u64,
    /// When it was created, where the service says.
    pub created_at: Option<OffsetDateTime>,
    /// When its settings were last changed, where the service says.
    pub updated_at: Option<OffsetDateTime>,
    /// When somebody last sent to it, where the service says.
    pub accessed_at: Option<OffsetDateTime>,
}

impl Described for TopicRuntimeProperties {
    const KIND: &'static str = "TopicDescription";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            scheduled_message_count: MessageCounts::read(fields)?.scheduled,
            subscription_count: fields.number("SubscriptionCount", 0)?,
            size_in_bytes: fields.number("SizeInBytes", 0)?,
            created_at: fields.time("CreatedAt")?,
            updated_at: fields.time("UpdatedAt")?,
            accessed_at: fields.time("AccessedAt")?,
        })
    }
}

/// What lies in a subscription.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SubscriptionRuntimeProperties {
    /// The topic.
    pub topic: String,
    /// The subscription.
    pub name: String,
    /// Its messages.
    pub counts: MessageCounts,
    /// When it was created, where the service says.
    pub created_at: Option<OffsetDateTime>,
    /// When its settings were last changed, where the service says.
    pub updated_at: Option<OffsetDateTime>,
    /// When somebody last received from it, where the service says.
    pub accessed_at: Option<OffsetDateTime>,
}

impl SubscriptionRuntimeProperties {
    /// An entry of a subscription does not name its topic.
    pub(super) fn of(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self
    }
}

impl Described for SubscriptionRuntimeProperties {
    const KIND: &'static str = "SubscriptionDescription";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        Ok(Self {
            topic: String::new(),
            name: name.to_owned(),
            counts: MessageCounts::read(fields)?,
            created_at: fields.time("CreatedAt")?,
            updated_at: fields.time("UpdatedAt")?,
            accessed_at: fields.time("AccessedAt")?,
        })
    }
}

/// What a namespace is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NamespaceProperties {
    /// Its name, without the domain.
    pub name: String,
    /// `Basic`, `Standard` or `Premium`.
    pub messaging_sku: String,
    /// How many units of capacity a Premium namespace has.
    pub messaging_units: Option<u32>,
    /// The other name by which it takes part in disaster recovery.
    pub alias: Option<String>,
    /// When it was created, where the service says.
    pub created_at: Option<OffsetDateTime>,
    /// When it was last changed, where the service says.
    pub modified_at: Option<OffsetDateTime>,
}

impl Described for NamespaceProperties {
    const KIND: &'static str = "NamespaceInfo";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        Ok(Self {
            name: fields.text("Name").unwrap_or(name).to_owned(),
            messaging_sku: fields.text("MessagingSKU").unwrap_or_default().to_owned(),
            messaging_units: fields.optional_number("MessagingUnits")?,
            alias: fields.owned("Alias"),
            created_at: fields.time("CreatedTime")?,
            modified_at: fields.time("ModifiedTime")?,
        })
    }
}
