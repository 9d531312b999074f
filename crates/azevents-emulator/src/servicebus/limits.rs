//! How large and how many, wherever the service says no ("Azure Service Bus quotas and limits").

#[cfg(test)]
mod tests;

use super::{
    BrokerError, Tier,
    filter::{Filter, Rule},
    message::{Malformed, Message, Scanner, text},
};

/// The limits of a namespace and of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceConfig {
    /// Largest encoded message, in bytes. Standard: 256 KB (the default);
    /// Premium: 100 MB.
    pub(crate) max_message_size: u64,
    /// Queues and topics, at most.
    pub(super) entities: usize,
    /// Subscriptions of a topic, at most.
    pub(super) subscriptions: usize,
    /// Rules of a topic that have a SQL condition; those that are always or never true don't count.
    pub(super) sql_rules: usize,
    /// Rules of a topic that compare properties.
    pub(super) correlation_rules: usize,
}

/// Bytes of the largest message in the Standard tier.
const STANDARD_MESSAGE: u64 = 256 * 1024;

impl NamespaceConfig {
    /// The tier that has such messages.
    pub(crate) fn tier(self) -> Tier {
        match self.max_message_size {
            0..=STANDARD_MESSAGE => Tier::Standard,
            _ => Tier::Premium,
        }
    }

    /// One that takes messages up to this size, or the Standard tier's.
    pub(crate) fn with_largest_message(size: Option<u64>) -> Self {
        let standard = Self::default();
        Self {
            max_message_size: size.unwrap_or(standard.max_message_size),
            ..standard
        }
    }

    /// For what has been there before.
    pub(super) fn none() -> Self {
        Self {
            max_message_size: u64::MAX,
            entities: usize::MAX,
            subscriptions: usize::MAX,
            sql_rules: usize::MAX,
            correlation_rules: usize::MAX,
        }
    }

    /// Largest batch, in bytes: a message's size, and in no tier more than 1 MB.
    pub(super) fn max_batch_size(self) -> u64 {
        self.max_message_size.min(1024 * 1024)
    }

    /// What a queue or topic with this limit of its own takes.
    pub(super) fn of_entity(self, max_message_size: Option<u64>) -> Self {
        let max_message_size = max_message_size.map_or(self.max_message_size, |own| own.min(self.max_message_size));
        Self {
            max_message_size,
            ..self
        }
    }

    /// Whether a queue or topic may have this limit of its own.
    pub(super) fn check_message_size(self, own: Option<u64>) -> Result<(), BrokerError> {
        match own {
            Some(own) if own > self.max_message_size => Err(BrokerError::OutOfRange(format!(
                "Messages of {own} bytes are larger than this namespace takes, {} bytes; start the emulator with \
                 --max-message-size {own}.",
                self.max_message_size
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a queue or topic may have partitions.
    pub(super) fn check_partitions(self, partitioned: bool) -> Result<(), BrokerError> {
        if partitioned && self.tier() == Tier::Premium {
            return Err(BrokerError::NotAllowed(
                "Partitioning is chosen for a whole namespace in the Premium tier, and this one has none. A namespace is a \
                 Premium one if it takes messages above 256 KB."
                    .into(),
            ));
        }
        Ok(())
    }

    /// Whether one more queue or topic may join so many.
    pub(super) fn check_entities(self, there: usize) -> Result<(), BrokerError> {
        check_count("queues and topics of a namespace", there + 1, self.entities)
    }

    /// Whether one more subscription may join so many.
    pub(super) fn check_subscriptions(self, there: usize) -> Result<(), BrokerError> {
        check_count("subscriptions of a topic", there + 1, self.subscriptions)
    }

    /// Whether a topic may have all these rules.
    pub(super) fn check_rules<'a>(self, rules: impl Iterator<Item = &'a Rule>) -> Result<(), BrokerError> {
        let (mut sql, mut correlation) = (0, 0);
        for rule in rules {
            match rule.filter {
                Filter::Sql(_) => sql += 1,
                Filter::Correlation(_) => correlation += 1,
                Filter::True | Filter::False => {}
            }
        }
        check_count("SQL filters of a topic", sql, self.sql_rules)?;
        check_count("correlation filters of a topic", correlation, self.correlation_rules)
    }
}

impl Default for NamespaceConfig {
    fn default() -> Self {
        Self {
            max_message_size: STANDARD_MESSAGE,
            entities: 10_000,
            subscriptions: 2000,
            sql_rules: 2000,
            correlation_rules: 100_000,
        }
    }
}

fn check_count(what: &str, wanted: usize, most: usize) -> Result<(), BrokerError> {
    if wanted > most {
        return Err(BrokerError::QuotaExceeded(format!(
            "The maximum number of {what}, {most}, has been reached or exceeded."
        )));
    }
    Ok(())
}

/// Characters in the path of a queue or topic.
const MAX_PATH_CHARS: usize = 260;

/// Characters that an entity's user may write down with it.
pub(super) const MAX_USER_METADATA: usize = 1024;

/// Characters in the name of a subscription or a rule.
const MAX_NAME_CHARS: usize = 50;

/// The service allows letters, digits, `.`, `-`, `_` and, in paths, `/`. A `$` would collide with
/// the nodes below an entity.
pub(super) fn check_path(path: &str) -> Result<(), BrokerError> {
    let allowed = |c: char| c.is_alphanumeric() || "._-/~".contains(c);
    let bad = path.starts_with('/') || path.ends_with('/') || !path.chars().all(allowed);
    check_length("The name of a queue or topic", path, MAX_PATH_CHARS, bad)
}

/// As [`check_path`], of a subscription.
pub(super) fn check_subscription_name(name: &str) -> Result<(), BrokerError> {
    let allowed = |c: char| c.is_alphanumeric() || "._-".contains(c);
    check_length(
        "The name of a subscription",
        name,
        MAX_NAME_CHARS,
        !name.chars().all(allowed),
    )
}

/// As [`check_path`], of a rule. The first one of a subscription is called `$Default`. Forbidden is what the official
/// clients don't let through.
pub(super) fn check_rule_name(name: &str) -> Result<(), BrokerError> {
    let bad = name.contains(['/', '\\', '@', '?', '#', '*']);
    check_length("The name of a rule", name, MAX_NAME_CHARS, bad)
}

fn check_length(what: &str, name: &str, most: usize, bad: bool) -> Result<(), BrokerError> {
    if name.is_empty() || name.chars().count() > most {
        return Err(BrokerError::OutOfRange(format!(
            "{what} has from 1 to {most} characters; '{name}' has {}.",
            name.chars().count()
        )));
    }
    if bad {
        return Err(BrokerError::NotAllowed(format!("'{name}' is not a valid entity name.")));
    }
    Ok(())
}

/// Characters in the ids and in the partition key of a message.
const MAX_ID_CHARS: usize = 128;

/// Bytes in the properties of a message, the broker's and the application's.
const MAX_HEADER: usize = 64 * 1024;

/// Bytes in one of the application's properties.
const MAX_PROPERTY: usize = 32 * 1024;

/// Bytes before those of a long string or binary (AMQP 1.0 section 1.2.1).
const CONSTRUCTOR: usize = 5;

/// Refuses a message that the service refuses whatever entity it is sent to.
pub(super) fn check_message(message: &Message) -> Result<(), BrokerError> {
    check_id("MessageId", message.message_id())?;
    check_id("SessionId", message.session_id().map(AsRef::as_ref))?;
    // Most messages have far shorter annotations.
    if message.annotations_len() > MAX_ID_CHARS {
        check_id(
            "PartitionKey",
            message.annotation("x-opt-partition-key")?.and_then(text),
        )?;
    }
    if has_too_large_header(message) {
        return Err(BrokerError::HeaderTooLarge(message.header_size()));
    }
    if message.application_properties().len() > MAX_PROPERTY {
        check_properties(message)?;
    }
    Ok(())
}

/// Reason and description of a message that has got more properties than the service keeps where it was already in
/// an entity ("Overview of Service Bus dead-letter queues").
pub(super) const HEADER_SIZE_EXCEEDED: (&str, &str) = (
    "HeaderSizeExceeded",
    "The size quota for this stream has been exceeded.",
);

/// Whether it has more properties than the service keeps.
pub(super) fn has_too_large_header(message: &Message) -> bool {
    message.header_size() > MAX_HEADER
}

fn check_id(what: &str, id: Option<&str>) -> Result<(), BrokerError> {
    match id {
        Some(id) if id.chars().count() > MAX_ID_CHARS => Err(BrokerError::Malformed(format!(
            "The {what} is longer than {MAX_ID_CHARS} characters."
        ))),
        _ => Ok(()),
    }
}

fn check_properties(message: &Message) -> Result<(), BrokerError> {
    let mut section = Scanner::new(message.application_properties());
    section.descriptor()?;
    let mut pairs = section.map()?;
    while !pairs.is_empty() {
        let (key, value) = (pairs.value()?, pairs.value()?);
        if value.len() > CONSTRUCTOR + MAX_PROPERTY {
            let name = text(key).ok_or(Malformed)?;
            return Err(BrokerError::PropertyTooLarge(name.to_owned()));
        }
    }
    Ok(())
}
