//! The figures at the end. They are read back from what the consumers keep, never from the input.

mod collect;
mod table;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::input::Rejected;

pub use collect::{collect, handled, published};
pub use table::{grouped, print, table};

/// Everything the report says. Its JSON form is the program's `--json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Rows read: those that became lines, and those that were rejected.
    pub rows: u64,
    /// Rows that could not be read.
    pub rejected: u64,
    /// Invoices of every kind.
    pub orders: u64,
    /// Those of them that are cancellations (`C…`).
    pub cancelled: u64,
    /// Those of them that are adjustments (`A…`).
    pub adjusted: u64,
    /// Line events, as fulfilment has seen them.
    pub events: u64,
    /// Pounds, exact.
    #[serde(with = "pounds")]
    pub revenue_total: Decimal,
    /// Pounds, exact.
    #[serde(with = "pounds_by")]
    pub revenue_by_country: BTreeMap<String, Decimal>,
    /// Pieces.
    pub units_by_stock_code: BTreeMap<String, i64>,
    /// Lines by day, as in 2010-12-01.
    pub lines_by_day: BTreeMap<String, u64>,
    /// Events that the relays have published and recorded as published.
    pub published: Published,
    /// What each consumer did.
    pub consumers: Consumers,
    /// From the first row to the last effect, milliseconds. Zero for a report on its own.
    pub elapsed_ms: u64,
    /// The rejected rows themselves, for the table.
    #[serde(skip)]
    pub rejects: Vec<Rejected>,
}

/// Events by destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// To the topic.
    pub servicebus: u64,
    /// To the event hub.
    pub eventhubs: u64,
}

/// The three consumers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumers {
    /// Revenue by country.
    pub billing: Outcome,
    /// Units by stock code.
    pub fulfilment: Outcome,
    /// Lines by day.
    pub analytics: Outcome,
}

/// What one consumer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Messages that had their effect.
    pub handled: u64,
    /// Copies that were recognised and had none.
    pub duplicates: u64,
    /// Messages set aside.
    pub dead_lettered: u64,
    /// Lines that came before an earlier one of their order. Billing receives without order and doesn't
    /// check it.
    pub order_violations: u64,
}

/// Pounds with at least two decimals, and as many more as are needed.
pub fn pounds(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

mod pounds {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::pounds(*amount))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

mod pounds_by {
    use std::collections::BTreeMap;

    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        amounts: &BTreeMap<String, Decimal>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(amounts.iter().map(|(key, amount)| (key, super::pounds(*amount))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Decimal>, D::Error> {
        let amounts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let parse = |(key, amount): (String, String)| Ok((key, amount.parse().map_err(de::Error::custom)?));
        amounts.into_iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pounds_have_two_decimals_or_as_many_as_are_exact() {
        for (given, printed) in [
            ("58635.560", "58635.56"),
            ("12", "12.00"),
            ("9747747.934", "9747747.934"),
            ("-1.5", "-1.50"),
        ] {
            assert_eq!(pounds(given.parse().unwrap()), printed);
        }
    }

    #[test]
    fn the_json_form_survives_the_round_trip() {
        let report = Report {
            revenue_total: "1.10".parse().unwrap(),
            revenue_by_country: [("France".to_owned(), "1.1".parse().unwrap())].into(),
            ..Report::default()
        };
        let json = serde_json::to_string(&report).unwrap();
        assert!(
            json.contains(r#""revenue_total":"1.10","revenue_by_country":{"France":"1.10"}"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
