//! Descriptions of queues, from the broker's settings to XML and back.

use super::{
    access,
    atom::Entry,
    counts::Counts,
    document::Element,
    fields::Fields,
    settings::{DEFAULT_WINDOW, kilobytes, megabytes},
};
use crate::servicebus::{BrokerError, Queue, QueueConfig, Tier};

pub(super) fn write(queue: &Queue, config: &QueueConfig) -> Entry {
    let (counts, times, remarks) = (Counts::of(queue), queue.times(), &config.remarks);
    let window = config.duplicate_detection.or(remarks.history_window);
    let fields = Fields::default()
        .span("LockDuration", config.lock_duration)
        .number(
            "MaxSizeInMegabytes",
            megabytes(config.max_megabytes, config.partitioned),
        )
        .truth("RequiresDuplicateDetection", config.duplicate_detection.is_some())
        .truth("RequiresSession", config.requires_session)
        .span_or_for_ever("DefaultMessageTimeToLive", config.default_ttl)
        .truth("DeadLetteringOnMessageExpiration", config.dead_letter_on_expiration)
        .span("DuplicateDetectionHistoryTimeWindow", window.unwrap_or(DEFAULT_WINDOW))
        .number("MaxDeliveryCount", config.max_delivery_count)
        .truth("EnableBatchedOperations", remarks.batched_operations)
        .number("SizeInBytes", queue.size())
        .number("MessageCount", counts.total())
        .truth("IsAnonymousAccessible", false)
        .raw(&access::write(&config.authorization))
        .text("Status", config.status.name())
        .text_if_any("ForwardTo", config.forwarding.to.as_deref())
        .text_if_any("UserMetadata", remarks.user_metadata.as_deref())
        .times(&times)
        .truth("SupportOrdering", true)
        .raw(&counts.write())
        .span_or_for_ever("AutoDeleteOnIdle", config.auto_delete_on_idle)
        .truth("EnablePartitioning", config.partitioned)
        .text_if_any(
            "ForwardDeadLetteredMessagesTo",
            config.forwarding.dead_letters_to.as_deref(),
        )
        .text("EntityAvailabilityStatus", "Available")
        .truth("EnableExpress", remarks.express)
        .text_if_any(
            "MaxMessageSizeInKilobytes",
            kilobytes(config.max_message_size).as_deref(),
        )
        .take();
    Entry {
        title: config.name.clone(),
        kind: "QueueDescription",
        fields,
        times: Some(times),
    }
}

/// Reads what a client wants a queue to be.
pub(super) fn read(name: &str, description: &Element, tier: Tier) -> Result<QueueConfig, BrokerError> {
    let defaults = QueueConfig::default();
    Ok(QueueConfig {
        name: name.to_owned(),
        lock_duration: description.lock_duration()?.unwrap_or(defaults.lock_duration),
        max_delivery_count: description.max_delivery_count()?.unwrap_or(defaults.max_delivery_count),
        requires_session: description.is_true("RequiresSession"),
        duplicate_detection: description.duplicates()?,
        default_ttl: description.span("DefaultMessageTimeToLive")?,
        dead_letter_on_expiration: description.is_true("DeadLetteringOnMessageExpiration"),
        forwarding: description.forwarding(),
        status: description.status()?,
        max_megabytes: description.megabytes(tier)?,
        auto_delete_on_idle: description.span("AutoDeleteOnIdle")?,
        max_message_size: description.largest_message()?,
        partitioned: description.is_true("EnablePartitioning"),
        authorization: access::read(description)?,
        remarks: description.remarks(tier)?,
    })
}
