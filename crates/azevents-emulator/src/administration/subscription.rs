//! Descriptions of subscriptions, from the broker's settings to XML and back.

use super::{atom::Entry, counts::Counts, document::Element, fields::Fields, rules::read_rule};
use crate::servicebus::{BrokerError, Queue, SubscriptionConfig, Tier};

pub(super) fn write(queue: &Queue, config: &SubscriptionConfig) -> Entry {
    let (counts, times) = (Counts::of(queue), queue.times());
    let fields = Fields::default()
        .span("LockDuration", config.lock_duration)
        .truth("RequiresSession", config.requires_session)
        .span_or_for_ever("DefaultMessageTimeToLive", config.default_ttl)
        .truth("DeadLetteringOnMessageExpiration", config.dead_letter_on_expiration)
        .truth(
            "DeadLetteringOnFilterEvaluationExceptions",
            config.dead_letter_on_filter_error,
        )
        .number("MessageCount", counts.total())
        .number("MaxDeliveryCount", config.max_delivery_count)
        .truth("EnableBatchedOperations", config.remarks.batched_operations)
        .text("Status", config.status.name())
        .text_if_any("ForwardTo", config.forwarding.to.as_deref())
        .times(&times)
        .text_if_any("UserMetadata", config.remarks.user_metadata.as_deref())
        .raw(&counts.write())
        .span_or_for_ever("AutoDeleteOnIdle", config.auto_delete_on_idle)
        .text_if_any(
            "ForwardDeadLetteredMessagesTo",
            config.forwarding.dead_letters_to.as_deref(),
        )
        .text("EntityAvailabilityStatus", "Available")
        .take();
    Entry {
        title: config.name.clone(),
        kind: "SubscriptionDescription",
        fields,
        times: Some(times),
    }
}

/// Reads what a client wants a subscription to be.
pub(super) fn read(name: &str, description: &Element, tier: Tier) -> Result<SubscriptionConfig, BrokerError> {
    let defaults = SubscriptionConfig::new(name);
    Ok(SubscriptionConfig {
        lock_duration: description.lock_duration()?.unwrap_or(defaults.lock_duration),
        max_delivery_count: description.max_delivery_count()?.unwrap_or(defaults.max_delivery_count),
        requires_session: description.is_true("RequiresSession"),
        default_ttl: description.span("DefaultMessageTimeToLive")?,
        dead_letter_on_expiration: description.is_true("DeadLetteringOnMessageExpiration"),
        forwarding: description.forwarding(),
        status: description.status()?,
        dead_letter_on_filter_error: description.is_true("DeadLetteringOnFilterEvaluationExceptions"),
        auto_delete_on_idle: description.span("AutoDeleteOnIdle")?,
        remarks: description.remarks(tier)?,
        rules: match description.find("DefaultRuleDescription") {
            Some(rule) => vec![read_rule(rule.child("Name").unwrap_or("$Default"), rule)?],
            None => defaults.rules.clone(),
        },
        ..defaults
    })
}
