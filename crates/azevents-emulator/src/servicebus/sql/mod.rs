//! Service Bus' SQL: conditions of rules, and what a rule changes on its copies.
//!
//! Grammar and meaning as in "Subscription Rule SQL Filter Syntax" and "Subscription Rule SQL Action
//! Syntax" of Microsoft's docs. Logic has three values: a property that isn't there is unknown, and
//! so is what is said of it, except by `IS NULL` and `EXISTS`.

mod evaluate;
mod lexer;
mod parser;
mod properties;
mod value;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    BrokerError,
    message::{Malformed, Message, PropertyChanges},
};
use evaluate::Expression;
use parser::Parser;
use properties::Property;
use value::Value;

/// A condition, as text and as what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SqlFilter {
    text: String,
    condition: Expression,
}

impl SqlFilter {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`BrokerError::Malformed`] with the place where it stops making sense.
    pub(crate) fn parse(text: &str) -> Result<Self, BrokerError> {
        let condition = Parser::new(text).and_then(Parser::condition);
        let condition = condition.map_err(|why| refused("filter", text, &why))?;
        Ok(Self {
            text: text.to_owned(),
            condition,
        })
    }

    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is true of the message; what is unknown is not. An error where it has no value.
    pub(super) fn matches(&self, message: &Message) -> Result<bool, String> {
        Ok(self.condition.evaluate(message)? == Value::Boolean(true))
    }
}

/// What is done to a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SqlAction {
    text: String,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
enum Statement {
    Set(Property, Expression),
    Remove(Property),
}

impl SqlAction {
    /// Reads an action. Errors as [`SqlFilter::parse`].
    pub(crate) fn parse(text: &str) -> Result<Self, BrokerError> {
        let statements = Parser::new(text).and_then(Parser::action);
        let statements = statements.map_err(|why| refused("action", text, &why))?;
        Ok(Self {
            text: text.to_owned(),
            statements,
        })
    }

    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The message with all statements done, one after the other.
    pub(super) fn apply(&self, message: &Message) -> Result<Message, String> {
        let unreadable = |_: Malformed| "the message's properties can't be read".to_owned();
        let mut copy = message.clone();
        for statement in &self.statements {
            let (property, value) = match statement {
                Statement::Set(property, expression) => (property, expression.evaluate(&copy)?),
                Statement::Remove(property) => (property, Value::Null),
            };
            match property {
                Property::System(field) => copy
                    .set_field(field.position(), value.encode().as_deref())
                    .map_err(unreadable)?,
                Property::Missing(name) => return Err(format!("there is no property sys.{name}")),
                Property::User(name) => {
                    let mut changes = PropertyChanges::default();
                    match value.encode() {
                        Some(encoded) => changes.set_encoded(name, encoded),
                        None => changes.remove(name),
                    }
                    copy.change_properties(&changes).map_err(unreadable)?;
                }
            }
        }
        Ok(copy)
    }
}

impl TryFrom<String> for SqlFilter {
    type Error = BrokerError;

    fn try_from(text: String) -> Result<Self, BrokerError> {
        Self::parse(&text)
    }
}

impl From<SqlFilter> for String {
    fn from(filter: SqlFilter) -> Self {
        filter.text
    }
}

impl TryFrom<String> for SqlAction {
    type Error = BrokerError;

    fn try_from(text: String) -> Result<Self, BrokerError> {
        Self::parse(&text)
    }
}

impl From<SqlAction> for String {
    fn from(action: SqlAction) -> Self {
        action.text
    }
}

fn refused(what: &str, text: &str, why: &str) -> BrokerError {
    BrokerError::Malformed(format!("The SQL {what} \"{text}\" can't be read: {why}."))
}

/// An encoded AMQP string.
fn string(text: &str) -> Bytes {
    let mut changes = PropertyChanges::default();
    changes.set_text("", text);
    changes.into_first_value()
}

#[cfg(test)]
mod tests;
