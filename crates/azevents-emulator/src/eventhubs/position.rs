//! Where a reader wants to start: the selector filter of its source.

use fe2o3_amqp_types::messaging::Source;
use serde_amqp::Value;

use crate::amqp::error::{self, Error};

/// Name of the filter, and of its descriptor.
const FILTER: &str = "apache.org:selector-filter:string";

/// A place in a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// From the oldest event there is.
    Earliest,
    /// Only what comes from now on.
    Latest,
    /// From the event with this offset (inclusive) or the one after it.
    Offset { offset: u64, inclusive: bool },
    /// The same by sequence number.
    Sequence { number: i64, inclusive: bool },
    /// By the time it was enqueued, in milliseconds since 1970.
    Time { millis: i64, inclusive: bool },
}

impl Position {
    /// What stands before an offset that is to be no number. What geo-replicated namespaces write
    /// is not published; this is only something else than a number.
    pub(super) const OPAQUE: &str = "0:";

    /// What a source asks for; without a filter the beginning.
    pub(super) fn of(source: Option<&Source>) -> Result<Self, Error> {
        let filter = source.and_then(|source| source.filter.as_ref());
        let Some(value) = filter.and_then(|filter| {
            filter
                .iter()
                .find(|(name, _)| name.as_str() == FILTER)
                .map(|(_, value)| value)
        }) else {
            return Ok(Self::Earliest);
        };
        let text = match value {
            Value::Described(described) => &described.value,
            plain => plain,
        };
        match text {
            Value::String(text) => Self::parse(text),
            _ => Err(error::custom(
                "amqp:invalid-field",
                format!("The filter {FILTER} must be a string."),
            )),
        }
    }

    /// Reads `amqp.annotation.x-opt-… > 'value'`.
    fn parse(selector: &str) -> Result<Self, Error> {
        let bad = || {
            error::custom(
                "amqp:invalid-field",
                format!("The selector \"{selector}\" is not supported."),
            )
        };
        let (field, rest) = selector.split_once('>').ok_or_else(bad)?;
        let (inclusive, value) = match rest.strip_prefix('=') {
            Some(value) => (true, value),
            None => (false, rest),
        };
        let value = value.trim().trim_matches('\'');
        let number = || value.parse::<i64>().map_err(|_| bad());
        match field.trim() {
            "amqp.annotation.x-opt-offset" => match value {
                "@latest" => Ok(Self::Latest),
                "-1" => Ok(Self::Earliest),
                _ => Ok(Self::Offset {
                    offset: value
                        .strip_prefix(Self::OPAQUE)
                        .unwrap_or(value)
                        .parse()
                        .map_err(|_| bad())?,
                    inclusive,
                }),
            },
            "amqp.annotation.x-opt-sequence-number" => Ok(Self::Sequence {
                number: number()?,
                inclusive,
            }),
            "amqp.annotation.x-opt-enqueued-time" => Ok(Self::Time {
                millis: number()?,
                inclusive,
            }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_the_official_clients_are_understood() {
        for (selector, position) in [
            ("amqp.annotation.x-opt-offset > '-1'", Position::Earliest),
            ("amqp.annotation.x-opt-offset > '@latest'", Position::Latest),
            (
                "amqp.annotation.x-opt-offset >= '1024'",
                Position::Offset {
                    offset: 1024,
                    inclusive: true,
                },
            ),
            (
                "amqp.annotation.x-opt-sequence-number > '7'",
                Position::Sequence {
                    number: 7,
                    inclusive: false,
                },
            ),
            (
                "amqp.annotation.x-opt-enqueued-time >'1700000000000'",
                Position::Time {
                    millis: 1_700_000_000_000,
                    inclusive: false,
                },
            ),
        ] {
            assert_eq!(Position::parse(selector).unwrap(), position);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_selector_makes_it_panic(
            field in "amqp.annotation.x-opt-(offset|sequence-number|enqueued-time)|[ -~]{0,20}",
            rest in "[ ]?>?=?[ ]?'?[@:a-z0-9é-]{0,25}'?",
        ) {
            let _ = Position::parse(&format!("{field}{rest}"));
        }
    }

    #[test]
    fn another_selector_is_refused_and_named() {
        let error = Position::parse("color = 'red'").unwrap_err();
        assert!(error.description.unwrap().contains("color = 'red'"));
    }
}
