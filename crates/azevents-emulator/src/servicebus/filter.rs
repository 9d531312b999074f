//! Which of a topic's messages a subscription gets a copy of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    clock::Timestamp,
    message::{Arrival, Malformed, Message, id_text, text},
    sql::{SqlAction, SqlFilter, Value, equal},
};

/// A named condition of a subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// Unique within the subscription.
    pub(crate) name: String,
    /// The condition.
    pub(crate) filter: Filter,
    /// What is changed on the copy.
    pub(crate) action: Option<SqlAction>,
    /// Written by its subscription; `None` before it has one.
    #[serde(default)]
    pub(crate) created_at: Option<Timestamp>,
}

impl Rule {
    /// The rule a subscription starts with: `$Default`, which every message matches.
    pub(crate) fn match_all() -> Self {
        Self {
            name: "$Default".into(),
            filter: Filter::True,
            action: None,
            created_at: None,
        }
    }
}

/// A condition on a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a handful per subscription, never moved about")]
pub(crate) enum Filter {
    /// Every message.
    True,
    /// No message.
    False,
    /// Messages whose properties equal the given ones.
    Correlation(CorrelationFilter),
    /// Messages of which a condition is true.
    Sql(SqlFilter),
}

/// Properties a message must have, exactly and all of them. `None` asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CorrelationFilter {
    /// CorrelationId.
    pub(crate) correlation_id: Option<String>,
    /// MessageId.
    pub(crate) message_id: Option<String>,
    /// To.
    pub(crate) to: Option<String>,
    /// ReplyTo.
    pub(crate) reply_to: Option<String>,
    /// Subject, also called label.
    pub(crate) subject: Option<String>,
    /// SessionId.
    pub(crate) session_id: Option<String>,
    /// ReplyToSessionId.
    pub(crate) reply_to_session_id: Option<String>,
    /// ContentType.
    pub(crate) content_type: Option<String>,
    /// Application properties by name: of the same kind and equal. Of integers and floating-point numbers only the
    /// value counts, as the clients differ in how they write them.
    pub(crate) properties: BTreeMap<String, Value>,
}

impl Filter {
    /// Whether the message meets the condition; an error where that can't be said.
    pub(super) fn matches(&self, arrival: &Arrival) -> Result<bool, String> {
        match self {
            Self::True => Ok(true),
            Self::False => Ok(false),
            Self::Correlation(filter) => filter
                .matches(&arrival.message)
                .map_err(|_| "the message's properties can't be read".to_owned()),
            Self::Sql(filter) => filter.matches(arrival),
        }
    }
}

impl CorrelationFilter {
    fn matches(&self, message: &Message) -> Result<bool, Malformed> {
        Ok(self.matches_properties(message)? && self.matches_application_properties(message)?)
    }

    fn matches_properties(&self, message: &Message) -> Result<bool, Malformed> {
        // By position in the properties section (AMQP 1.0 section 3.2.4).
        let wanted: [&Option<String>; 13] = [
            &self.message_id,
            &None, // user-id
            &self.to,
            &self.subject,
            &self.reply_to,
            &self.correlation_id,
            &self.content_type,
            &None, // content-encoding
            &None, // absolute-expiry-time
            &None, // creation-time
            &self.session_id,
            &None, // group-sequence
            &self.reply_to_session_id,
        ];
        let mut fields = message.fields()?;
        for wanted in wanted {
            let field = fields.field()?;
            if let Some(wanted) = wanted
                && id_text(field).as_deref() != Some(wanted)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn matches_application_properties(&self, message: &Message) -> Result<bool, Malformed> {
        let mut missing = self.properties.len();
        if missing > 0 {
            let mut pairs = message.pairs()?;
            while !pairs.is_empty() {
                let (name, value) = (text(pairs.value()?), pairs.value()?);
                if let Some(wanted) = name.and_then(|name| self.properties.get(name)) {
                    if equal(&Value::decode(value), wanted) != Some(true) {
                        return Ok(false);
                    }
                    missing -= 1;
                }
            }
        }
        Ok(missing == 0)
    }
}
