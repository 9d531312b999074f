//! Descriptions of entities, from the broker's settings to XML and back.

use std::{sync::Arc, time::Duration};

use super::{atom::Entry, document::Element, rules::read_rule};
use crate::{
    servicebus::{
        BrokerError, EntityStatus, Forwarding, MessageCounts, Queue, QueueConfig, SubscriptionConfig, Topic,
        TopicConfig,
    },
    topology::parse_duration,
    xml::element,
};

/// .NET's longest time, which stands for "for ever".
const FOR_EVER: &str = "P10675199DT2H48M5.4775807S";

/// What can be asked for and is not there, with the values that ask for nothing.
const UNSUPPORTED: [(&str, &[&str]); 2] = [("EnablePartitioning", &["false"]), ("EnableExpress", &["false"])];

pub(super) fn queue(queue: &Queue, config: &QueueConfig) -> Entry {
    let mut out = String::new();
    element(&mut out, "LockDuration", &duration(config.lock_duration));
    element(&mut out, "MaxSizeInMegabytes", &megabytes(config.max_megabytes));
    truth(
        &mut out,
        "RequiresDuplicateDetection",
        config.duplicate_detection.is_some(),
    );
    truth(&mut out, "RequiresSession", config.requires_session);
    element(&mut out, "DefaultMessageTimeToLive", &or_for_ever(config.default_ttl));
    truth(
        &mut out,
        "DeadLetteringOnMessageExpiration",
        config.dead_letter_on_expiration,
    );
    window(&mut out, config.duplicate_detection);
    element(&mut out, "MaxDeliveryCount", &config.max_delivery_count.to_string());
    truth(&mut out, "EnableBatchedOperations", true);
    let counts = Counts::of(queue);
    element(&mut out, "SizeInBytes", &queue.size().to_string());
    element(&mut out, "MessageCount", &counts.total().to_string());
    status(&mut out, config.status, &config.forwarding);
    times(&mut out);
    counts.describe(&mut out);
    end(&mut out, &config.forwarding, config.auto_delete_on_idle);
    message_size(&mut out, config.max_message_size);
    Entry {
        title: config.name.clone(),
        kind: "QueueDescription",
        fields: out,
    }
}

pub(super) fn topic(topic: &Topic) -> Entry {
    let config = topic.config();
    let mut out = String::new();
    element(&mut out, "DefaultMessageTimeToLive", &or_for_ever(config.default_ttl));
    element(&mut out, "MaxSizeInMegabytes", &megabytes(config.max_megabytes));
    truth(
        &mut out,
        "RequiresDuplicateDetection",
        config.duplicate_detection.is_some(),
    );
    window(&mut out, config.duplicate_detection);
    truth(&mut out, "EnableBatchedOperations", true);
    element(&mut out, "SizeInBytes", &topic.intake().size().to_string());
    status(&mut out, config.status, &Forwarding::default());
    times(&mut out);
    truth(&mut out, "SupportOrdering", true);
    Counts::of(topic.intake()).describe(&mut out);
    element(&mut out, "SubscriptionCount", &topic.subscriptions().len().to_string());
    end(&mut out, &Forwarding::default(), config.auto_delete_on_idle);
    message_size(&mut out, config.max_message_size);
    Entry {
        title: config.name,
        kind: "TopicDescription",
        fields: out,
    }
}

pub(super) fn subscription(queue: &Queue, config: &SubscriptionConfig) -> Entry {
    let mut out = String::new();
    element(&mut out, "LockDuration", &duration(config.lock_duration));
    truth(&mut out, "RequiresSession", config.requires_session);
    element(&mut out, "DefaultMessageTimeToLive", &or_for_ever(config.default_ttl));
    truth(
        &mut out,
        "DeadLetteringOnMessageExpiration",
        config.dead_letter_on_expiration,
    );
    truth(
        &mut out,
        "DeadLetteringOnFilterEvaluationExceptions",
        config.dead_letter_on_filter_error,
    );
    let counts = Counts::of(queue);
    element(&mut out, "MessageCount", &counts.total().to_string());
    element(&mut out, "MaxDeliveryCount", &config.max_delivery_count.to_string());
    truth(&mut out, "EnableBatchedOperations", true);
    status(&mut out, config.status, &config.forwarding);
    times(&mut out);
    counts.describe(&mut out);
    end(&mut out, &config.forwarding, config.auto_delete_on_idle);
    Entry {
        title: config.name.clone(),
        kind: "SubscriptionDescription",
        fields: out,
    }
}

/// Reads what a client wants a queue to be.
pub(super) fn read_queue(name: &str, description: &Element) -> Result<QueueConfig, BrokerError> {
    check(description)?;
    let defaults = QueueConfig::default();
    Ok(QueueConfig {
        name: name.to_owned(),
        lock_duration: time(description, "LockDuration")?.unwrap_or(defaults.lock_duration),
        max_delivery_count: number(description, "MaxDeliveryCount")?.unwrap_or(defaults.max_delivery_count),
        requires_session: is_true(description, "RequiresSession"),
        duplicate_detection: duplicates(description)?,
        default_ttl: time(description, "DefaultMessageTimeToLive")?,
        dead_letter_on_expiration: is_true(description, "DeadLetteringOnMessageExpiration"),
        forwarding: forwarding(description),
        status: read_status(description)?,
        max_megabytes: number(description, "MaxSizeInMegabytes")?.map(u64::from),
        auto_delete_on_idle: time(description, "AutoDeleteOnIdle")?,
        max_message_size: kilobytes(description)?,
    })
}

pub(super) fn read_topic(name: &str, description: &Element) -> Result<TopicConfig, BrokerError> {
    check(description)?;
    Ok(TopicConfig {
        name: name.to_owned(),
        duplicate_detection: duplicates(description)?,
        default_ttl: time(description, "DefaultMessageTimeToLive")?,
        status: read_status(description)?,
        max_megabytes: number(description, "MaxSizeInMegabytes")?.map(u64::from),
        auto_delete_on_idle: time(description, "AutoDeleteOnIdle")?,
        max_message_size: kilobytes(description)?,
    })
}

pub(super) fn read_subscription(name: &str, description: &Element) -> Result<SubscriptionConfig, BrokerError> {
    check(description)?;
    let defaults = SubscriptionConfig::new(name);
    Ok(SubscriptionConfig {
        lock_duration: time(description, "LockDuration")?.unwrap_or(defaults.lock_duration),
        max_delivery_count: number(description, "MaxDeliveryCount")?.unwrap_or(defaults.max_delivery_count),
        requires_session: is_true(description, "RequiresSession"),
        default_ttl: time(description, "DefaultMessageTimeToLive")?,
        dead_letter_on_expiration: is_true(description, "DeadLetteringOnMessageExpiration"),
        forwarding: forwarding(description),
        status: read_status(description)?,
        dead_letter_on_filter_error: is_true(description, "DeadLetteringOnFilterEvaluationExceptions"),
        auto_delete_on_idle: time(description, "AutoDeleteOnIdle")?,
        rules: match description.find("DefaultRuleDescription") {
            Some(rule) => vec![read_rule(rule.child("Name").unwrap_or("$Default"), rule)?],
            None => defaults.rules.clone(),
        },
        ..defaults
    })
}

fn megabytes(size: Option<u64>) -> String {
    size.unwrap_or(1024).to_string()
}

/// Only Premium namespaces have it; clients leave it out or give back what they got.
fn message_size(out: &mut String, size: Option<u64>) {
    if let Some(size) = size {
        element(out, "MaxMessageSizeInKilobytes", &(size / 1024).to_string());
    }
}

fn kilobytes(description: &Element) -> Result<Option<u64>, BrokerError> {
    let size = number(description, "MaxMessageSizeInKilobytes")?;
    Ok(size.map(|kilobytes| u64::from(kilobytes) * 1024))
}

fn read_status(description: &Element) -> Result<EntityStatus, BrokerError> {
    description
        .child("Status")
        .map_or(Ok(EntityStatus::Active), EntityStatus::parse)
}

fn forwarding(description: &Element) -> Forwarding {
    let address = |name| {
        description
            .child(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Forwarding {
        to: address("ForwardTo"),
        dead_letters_to: address("ForwardDeadLetteredMessagesTo"),
    }
}

fn check(description: &Element) -> Result<(), BrokerError> {
    for (name, nothing) in UNSUPPORTED {
        if let Some(value) = description.child(name)
            && !nothing.contains(&value)
        {
            return Err(BrokerError::NotSupported(format!("{name} ({value})")));
        }
    }
    Ok(())
}

fn is_true(description: &Element, name: &str) -> bool {
    description
        .child(name)
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn number(description: &Element, name: &str) -> Result<Option<u32>, BrokerError> {
    let parse = |text: &str| text.parse().ok().filter(|number| *number > 0);
    let wrong = |text: &str| BrokerError::Malformed(format!("{name} must be a number from 1, not '{text}'."));
    let text = description.child(name);
    text.map(|text| parse(text).ok_or_else(|| wrong(text))).transpose()
}

/// `None` for what is not given, and for .NET's longest time, which clients give back with fewer digits than they got.
fn time(description: &Element, name: &str) -> Result<Option<Duration>, BrokerError> {
    match description.child(name) {
        None => Ok(None),
        Some(text) => match parse_duration(text) {
            Some(time) if time.as_secs() > 10_000_000 * 86_400 => Ok(None),
            Some(time) => Ok(Some(time)),
            None => Err(BrokerError::Malformed(format!(
                "{name} must be an ISO 8601 duration, not '{text}'."
            ))),
        },
    }
}

fn duplicates(description: &Element) -> Result<Option<Duration>, BrokerError> {
    if !is_true(description, "RequiresDuplicateDetection") {
        return Ok(None);
    }
    let window = time(description, "DuplicateDetectionHistoryTimeWindow")?;
    Ok(Some(window.unwrap_or(Duration::from_secs(600))))
}

/// In days, hours, minutes and seconds, as the service writes it: clients hand it on as it stands.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days}D"),
    };
    let rest = Duration::new(seconds % 60, duration.subsec_nanos()).as_secs_f64();
    let mut time = String::new();
    for (amount, unit) in [((seconds % 86_400) / 3600, "H"), ((seconds % 3600) / 60, "M")] {
        if amount > 0 {
            time += &amount.to_string();
            time += unit;
        }
    }
    if rest > 0.0 || (days.is_empty() && time.is_empty()) {
        time += &rest.to_string();
        time += "S";
    }
    let t = if time.is_empty() { "" } else { "T" };
    format!("P{days}{t}{time}")
}

fn or_for_ever(time: Option<Duration>) -> String {
    time.map_or_else(|| FOR_EVER.to_owned(), duration)
}

fn truth(out: &mut String, name: &str, truth: bool) {
    element(out, name, if truth { "true" } else { "false" });
}

fn window(out: &mut String, window: Option<Duration>) {
    let window = window.unwrap_or(Duration::from_secs(600));
    element(out, "DuplicateDetectionHistoryTimeWindow", &duration(window));
}

fn status(out: &mut String, status: EntityStatus, forwarding: &Forwarding) {
    element(out, "Status", status.name());
    if let Some(to) = &forwarding.to {
        element(out, "ForwardTo", to);
    }
}

fn times(out: &mut String) {
    for name in ["CreatedAt", "UpdatedAt", "AccessedAt"] {
        element(out, name, "2020-01-01T00:00:00Z");
    }
}

/// An entity's messages, those of its dead-letter queues among them.
struct Counts {
    here: MessageCounts,
    dead: usize,
    transfer_dead: usize,
}

impl Counts {
    fn of(queue: &Queue) -> Self {
        let in_it = |below: Option<&Arc<Queue>>| below.map_or(0, |below| below.counts().active);
        Self {
            here: queue.counts(),
            dead: in_it(queue.dead_letters()),
            transfer_dead: in_it(queue.transfer_dead_letters()),
        }
    }

    fn total(&self) -> usize {
        let here = &self.here;
        here.active + here.deferred + here.scheduled + self.dead + self.transfer_dead
    }

    fn describe(&self, out: &mut String) {
        out.push_str("<CountDetails xmlns:d=\"http://schemas.microsoft.com/netservices/2011/06/servicebus\">");
        for (name, count) in [
            // The service counts what is deferred as active.
            ("d:ActiveMessageCount", self.here.active + self.here.deferred),
            ("d:DeadLetterMessageCount", self.dead),
            ("d:ScheduledMessageCount", self.here.scheduled),
            ("d:TransferMessageCount", 0),
            ("d:TransferDeadLetterMessageCount", self.transfer_dead),
        ] {
            element(out, name, &count.to_string());
        }
        out.push_str("</CountDetails>");
    }
}

fn end(out: &mut String, forwarding: &Forwarding, auto_delete_on_idle: Option<Duration>) {
    element(out, "AutoDeleteOnIdle", &or_for_ever(auto_delete_on_idle));
    truth(out, "EnablePartitioning", false);
    if let Some(to) = &forwarding.dead_letters_to {
        element(out, "ForwardDeadLetteredMessagesTo", to);
    }
    element(out, "EntityAvailabilityStatus", "Available");
    truth(out, "EnableExpress", false);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_time_is_written_in_its_largest_units() {
        for (seconds, written) in [
            (0.0, "PT0S"),
            (0.5, "PT0.5S"),
            (30.0, "PT30S"),
            (120.0, "PT2M"),
            (3600.0, "PT1H"),
            (5461.5, "PT1H31M1.5S"),
            (172_800.0, "P2D"),
            (90_000.0, "P1DT1H"),
        ] {
            assert_eq!(super::duration(Duration::from_secs_f64(seconds)), written);
        }
    }
}
