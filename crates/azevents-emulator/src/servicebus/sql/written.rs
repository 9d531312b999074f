//! What a rule was given: the text, and values for the names in it that begin with `@`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Value;

/// Values by name, with the `@`: `sqlFilter.Parameters.Add("@city", "Paris")` in the service's documentation.
pub(crate) type Parameters = BTreeMap<String, Value>;

/// A condition or an action, as it is kept and read again. One without parameters is kept as its text alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    Text(String),
    With { text: String, parameters: Parameters },
}

impl Written {
    pub(super) fn new(text: &str, parameters: Parameters) -> Self {
        let text = text.to_owned();
        if parameters.is_empty() {
            Self::Text(text)
        } else {
            Self::With { text, parameters }
        }
    }

    pub(super) fn text(&self) -> &str {
        let (Self::Text(text) | Self::With { text, .. }) = self;
        text
    }

    pub(super) fn parameters(&self) -> &Parameters {
        static NONE: Parameters = Parameters::new();
        match self {
            Self::Text(_) => &NONE,
            Self::With { parameters, .. } => parameters,
        }
    }
}
