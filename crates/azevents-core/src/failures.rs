//! How a message failed, over all its tries: what its dead letter tells.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::chain;
use crate::handler::HandlerError;

/// Header: the consumer that could not handle the message.
pub const CONSUMER: &str = "azevents-consumer";
/// Header: how often a handler was called with it, a decimal number.
pub const ATTEMPTS: &str = "azevents-attempts";
/// Header: when it failed for the first time, RFC 3339.
pub const FIRST_FAILED_AT: &str = "azevents-first-failed-at";
/// Header: when it failed last, RFC 3339.
pub const LAST_FAILED_AT: &str = "azevents-last-failed-at";
/// Header: the first error with its causes.
pub const FIRST_ERROR: &str = "azevents-first-error";
/// Header: the last error with its causes.
pub const LAST_ERROR: &str = "azevents-last-error";

/// All headers of a failure story.
pub const HEADERS: [&str; 6] = [
    CONSUMER,
    ATTEMPTS,
    FIRST_FAILED_AT,
    LAST_FAILED_AT,
    FIRST_ERROR,
    LAST_ERROR,
];

/// The most characters of one error in a header. Two of them fit beside a message's own headers into the 64 KB that
/// Service Bus has for all of them, also in UTF-8's longest form, and into the smallest message limit by far.
const MAX_ERROR: usize = 2000;
/// The most characters of a consumer's name in a header.
const MAX_NAME: usize = 260;

/// The story of a message that fails. It travels in the message's headers, where the broker takes new ones, and else
/// lasts as long as the process.
///
/// The trace a message belongs to is in its own `traceparent` header, which a dead letter keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failures {
    /// The consumer's name; empty where it has none.
    pub consumer: String,
    /// How often a handler was called, over all deliveries that are known of.
    pub attempts: u32,
    /// When it failed for the first time.
    pub first_at: Option<OffsetDateTime>,
    /// When it failed last.
    pub last_at: Option<OffsetDateTime>,
    /// The first error with its causes.
    pub first_error: String,
    /// The last error with its causes.
    pub last_error: String,
}

impl Failures {
    /// The story that headers tell, if they do.
    pub fn of(headers: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name| headers.get(name).cloned().unwrap_or_default();
        let instant = |name| OffsetDateTime::parse(headers.get(name)?, &Rfc3339).ok();
        Some(Self {
            attempts: headers.get(ATTEMPTS)?.parse().ok()?,
            consumer: text(CONSUMER),
            first_at: instant(FIRST_FAILED_AT),
            last_at: instant(LAST_FAILED_AT),
            first_error: text(FIRST_ERROR),
            last_error: text(LAST_ERROR),
        })
    }

    /// Adds a failed call of `consumer`'s handler. The story of another consumer is over; one without a name goes on
    /// with any.
    pub(crate) fn record(&mut self, consumer: &str, error: &HandlerError) {
        let consumer: String = consumer.chars().take(MAX_NAME).collect();
        if !consumer.is_empty() && self.consumer != consumer {
            *self = Self {
                consumer,
                ..Self::default()
            };
        }
        let error: String = chain(error).chars().take(MAX_ERROR).collect();
        let now = OffsetDateTime::now_utc();
        self.attempts = self.attempts.saturating_add(1);
        self.last_at = Some(now);
        if self.first_at.is_none() {
            self.first_at = Some(now);
            self.first_error.clone_from(&error);
        }
        self.last_error = error;
    }

    /// The story as headers; none where nothing is known.
    pub fn headers(&self) -> BTreeMap<String, String> {
        if self.attempts == 0 {
            return BTreeMap::new();
        }
        let instant = |at: Option<OffsetDateTime>| at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
        let entries = [
            (CONSUMER, self.consumer.clone()),
            (ATTEMPTS, self.attempts.to_string()),
            (FIRST_FAILED_AT, instant(self.first_at)),
            (LAST_FAILED_AT, instant(self.last_at)),
            (FIRST_ERROR, self.first_error.clone()),
            (LAST_ERROR, self.last_error.clone()),
        ];
        entries.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_goes_on_where_its_headers_ended() {
        let mut failures = Failures::default();
        failures.record("billing", &HandlerError::transient("first"));
        let mut failures = Failures::of(&failures.headers()).expect("told");
        failures.record("billing", &HandlerError::transient("second"));
        assert_eq!(failures.attempts, 2);
        assert!(failures.first_error.contains("first") && failures.last_error.contains("second"));
        assert!(failures.first_at <= failures.last_at);
        assert_eq!(Failures::of(&failures.headers()), Some(failures));
    }

    #[test]
    fn another_consumer_begins_a_story_of_its_own() {
        let mut failures = Failures::default();
        failures.record("billing", &HandlerError::transient("first"));
        failures.record("fulfilment", &HandlerError::transient("second"));
        assert_eq!((failures.attempts, failures.consumer.as_str()), (1, "fulfilment"));
    }

    #[test]
    fn an_endless_error_is_cut() {
        let mut failures = Failures::default();
        failures.record("", &HandlerError::transient("é".repeat(100_000)));
        let bytes: usize = failures.headers().values().map(String::len).sum();
        assert!(bytes < 10_000, "{bytes}");
        assert_eq!(Failures::of(&BTreeMap::new()), None);
        assert!(Failures::default().headers().is_empty());
    }
}
