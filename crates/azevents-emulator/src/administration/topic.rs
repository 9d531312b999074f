//! Descriptions of topics, from the broker's settings to XML and back.

use super::{
    access,
    atom::Entry,
    counts::Counts,
    document::Element,
    fields::Fields,
    settings::{DEFAULT_WINDOW, kilobytes, megabytes},
};
use crate::servicebus::{BrokerError, Tier, Topic, TopicConfig};

pub(super) fn write(topic: &Topic) -> Entry {
    let config = topic.config();
    let (times, remarks) = (topic.intake().times(), &config.remarks);
    let window = config.duplicate_detection.or(remarks.history_window);
    let fields = Fields::default()
        .span_or_for_ever("DefaultMessageTimeToLive", config.default_ttl)
        .number(
            "MaxSizeInMegabytes",
            megabytes(config.max_megabytes, config.partitioned),
        )
        .truth("RequiresDuplicateDetection", config.duplicate_detection.is_some())
        .span("DuplicateDetectionHistoryTimeWindow", window.unwrap_or(DEFAULT_WINDOW))
        .truth("EnableBatchedOperations", remarks.batched_operations)
        .number("SizeInBytes", topic.intake().size())
        .truth("FilteringMessagesBeforePublishing", false)
        .truth("IsAnonymousAccessible", false)
        .raw(&access::write(&config.authorization))
        .text("Status", config.status.name())
        .text_if_any("UserMetadata", remarks.user_metadata.as_deref())
        .times(&times)
        .truth("SupportOrdering", remarks.ordering)
        .raw(&Counts::of(topic.intake()).write())
        .number("SubscriptionCount", topic.subscriptions().len())
        .span_or_for_ever("AutoDeleteOnIdle", config.auto_delete_on_idle)
        .truth("EnablePartitioning", config.partitioned)
        .text("EntityAvailabilityStatus", "Available")
        .truth("EnableSubscriptionPartitioning", false)
        .truth("EnableExpress", remarks.express)
        .text_if_any(
            "MaxMessageSizeInKilobytes",
            kilobytes(config.max_message_size).as_deref(),
        )
        .take();
    Entry {
        title: config.name,
        kind: "TopicDescription",
        fields,
        times: Some(times),
    }
}

/// Reads what a client wants a topic to be.
pub(super) fn read(name: &str, description: &Element, tier: Tier) -> Result<TopicConfig, BrokerError> {
    for name in ["EnableSubscriptionPartitioning", "FilteringMessagesBeforePublishing"] {
        description.refuse(name)?;
    }
    Ok(TopicConfig {
        name: name.to_owned(),
        duplicate_detection: description.duplicates()?,
        default_ttl: description.span("DefaultMessageTimeToLive")?,
        status: description.status()?,
        max_megabytes: description.megabytes(tier)?,
        auto_delete_on_idle: description.span("AutoDeleteOnIdle")?,
        max_message_size: description.largest_message()?,
        partitioned: description.is_true("EnablePartitioning"),
        authorization: access::read(description)?,
        remarks: description.remarks(tier)?,
    })
}
