//! SQL in configuration files, read while the place in the file is still known.

use serde::{Deserialize, Deserializer, de::Error};

use crate::servicebus::{SqlAction, SqlFilter};

pub(super) fn sql_filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| SqlFilter::parse(text).map(drop))
}

pub(super) fn sql_action<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| SqlAction::parse(text).map(drop))
}

fn checked<'de, D: Deserializer<'de>, E: std::fmt::Display>(
    deserializer: D,
    check: impl FnOnce(&str) -> Result<(), E>,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    if let Some(text) = &text {
        check(text).map_err(D::Error::custom)?;
    }
    Ok(text)
}
