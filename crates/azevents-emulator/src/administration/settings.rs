//! Settings that several kinds of entities have, with the limits the service has for them.

use std::time::Duration;

use super::document::Element;
use crate::servicebus::{BrokerError, PARTITIONS, Remarks, Tier};

/// The window of duplicate detection if none is given, and where there is no detection.
pub(super) const DEFAULT_WINDOW: Duration = Duration::from_secs(600);

/// At most ("Message transfers, locks, and settlement").
const LONGEST_LOCK: Duration = Duration::from_secs(5 * 60);

/// At most, in the service's portal.
const MOST_DELIVERIES: u32 = 2000;

/// "Duplicate detection", duplicate detection window size.
const WINDOWS: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(7 * 86_400));

/// Only Premium namespaces have it; clients leave it out or give back what they got.
pub(super) fn kilobytes(size: Option<u64>) -> Option<String> {
    size.map(|size| (size / 1024).to_string())
}

/// The size of all partitions together, as the service gives it back.
pub(super) fn megabytes(size: Option<u64>, partitioned: bool) -> u64 {
    let partitions = if partitioned { PARTITIONS } else { 1 };
    size.unwrap_or(1024) * partitions
}

impl Element {
    pub(super) fn lock_duration(&self) -> Result<Option<Duration>, BrokerError> {
        match self.span("LockDuration")? {
            Some(lock) if lock > LONGEST_LOCK => Err(BrokerError::OutOfRange(
                "The supplied lock time exceeds the allowed maximum of '5' minutes.".into(),
            )),
            Some(Duration::ZERO) => Err(BrokerError::OutOfRange(
                "LockDuration must be more than nothing.".into(),
            )),
            lock => Ok(lock),
        }
    }

    pub(super) fn max_delivery_count(&self) -> Result<Option<u32>, BrokerError> {
        match self.number("MaxDeliveryCount")? {
            Some(count) if count > MOST_DELIVERIES => Err(BrokerError::OutOfRange(format!(
                "MaxDeliveryCount is {count}; it may be {MOST_DELIVERIES}."
            ))),
            count => Ok(count),
        }
    }

    /// The window, if duplicates are detected.
    pub(super) fn duplicates(&self) -> Result<Option<Duration>, BrokerError> {
        let window = self.window()?;
        let detected = self.is_true("RequiresDuplicateDetection");
        Ok(detected.then_some(window.unwrap_or(DEFAULT_WINDOW)))
    }

    fn window(&self) -> Result<Option<Duration>, BrokerError> {
        self.span_within("DuplicateDetectionHistoryTimeWindow", WINDOWS.0, WINDOWS.1)
    }

    pub(super) fn megabytes(&self, tier: Tier) -> Result<Option<u64>, BrokerError> {
        let size = self.number("MaxSizeInMegabytes")?.map(u64::from);
        let size = match size {
            // What clients got they give back.
            Some(size) if self.is_true("EnablePartitioning") && size > tier.largest_entity() => Some(size / PARTITIONS),
            size => size,
        };
        match size {
            Some(size) if !tier.entity_megabytes().contains(&size) => {
                let all: Vec<String> = tier.entity_megabytes().iter().map(u64::to_string).collect();
                Err(BrokerError::OutOfRange(format!(
                    "The specified value {size} is invalid. The property 'MaxSizeInMegabytes', must be one of the \
                     following values: {}.",
                    all.join(";")
                )))
            }
            size => Ok(size),
        }
    }

    pub(super) fn largest_message(&self) -> Result<Option<u64>, BrokerError> {
        let size = self.number("MaxMessageSizeInKilobytes")?;
        Ok(size.map(|kilobytes| u64::from(kilobytes) * 1024))
    }

    pub(super) fn remarks(&self, tier: Tier) -> Result<Remarks, BrokerError> {
        let express = self.is_true("EnableExpress");
        if express && tier == Tier::Premium {
            return Err(BrokerError::NotAllowed(
                "Express entities are not supported in the Premium tier.".into(),
            ));
        }
        if express && self.is_true("RequiresDuplicateDetection") {
            return Err(BrokerError::NotAllowed(
                "Both DelayedPersistence and RequiresDuplicateDetection property cannot be enabled together.".into(),
            ));
        }
        Ok(Remarks {
            user_metadata: self.whole_text("UserMetadata").map(str::to_owned),
            batched_operations: self.truth("EnableBatchedOperations", true),
            express,
            ordering: self.truth("SupportOrdering", true),
            history_window: self.window()?,
        })
    }
}
