//! Which of a topic's messages a subscription gets a copy of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    message::{Malformed, Message, Scanner, id_text, scalar, text},
    sql::{SqlAction, SqlFilter},
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
}

impl Rule {
    /// The rule a subscription starts with: `$Default`, which every message matches.
    pub(crate) fn match_all() -> Self {
        Self {
            name: "$Default".into(),
            filter: Filter::True,
            action: None,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Application properties by name.
    pub(crate) properties: BTreeMap<String, PropertyValue>,
}

/// The value of an application property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub(crate) enum PropertyValue {
    /// A string or a symbol.
    Text(String),
    /// An integer of any width.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
}

impl Filter {
    /// Whether the message meets the condition; an error where that can't be said.
    pub(super) fn matches(&self, message: &Message) -> Result<bool, String> {
        match self {
            Self::True => Ok(true),
            Self::False => Ok(false),
            Self::Correlation(filter) => filter
                .matches(message)
                .map_err(|_| "the message's properties can't be read".to_owned()),
            Self::Sql(filter) => filter.matches(message),
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
        let mut section = Scanner::new(message.properties());
        let mut fields = Scanner::new(&[]);
        if !section.is_empty() {
            section.descriptor()?;
            fields = section.list()?;
        }
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
        let mut section = Scanner::new(message.application_properties());
        let mut missing = self.properties.len();
        if missing > 0 && !section.is_empty() {
            section.descriptor()?;
            let mut pairs = section.map()?;
            while !pairs.is_empty() {
                let (name, value) = (text(pairs.value()?), pairs.value()?);
                if let Some(wanted) = name.and_then(|name| self.properties.get(name)) {
                    if scalar(value).as_ref() != Some(wanted) {
                        return Ok(false);
                    }
                    missing -= 1;
                }
            }
        }
        Ok(missing == 0)
    }
}
