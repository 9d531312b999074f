//! Service Bus' SQL: conditions of rules, and what a rule changes on its copies. Parameters are put in when it is
//! read.
//!
//! Grammar and meaning as in "Subscription Rule SQL Filter Syntax" and "Subscription Rule SQL Action
//! Syntax" of Microsoft's docs. Logic has three values: a property that isn't there is unknown, and
//! so is what is said of it, except by `IS NULL` and `EXISTS`.
//!
//! | idea | where |
//! | --- | --- |
//! | what was written, and read again after a restart | [`written`] |
//! | from text to expressions | [`lexer`], [`parser`] |
//! | what an expression is of a message | [`evaluate`], [`arithmetic`] |
//! | what of a message can be named | [`properties`], [`system`] |
//! | values, as AMQP and made into one another | [`value`], [`wire`], [`decimal`], [`convert`] |

mod arithmetic;
mod convert;
mod decimal;
mod evaluate;
mod lexer;
mod parser;
mod properties;
mod system;
mod value;
mod wire;
mod written;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    BrokerError,
    message::{Arrival, Message, PropertyChanges},
};
pub(super) use arithmetic::equal;
use evaluate::Expression;
use parser::Parser;
use properties::Property;
pub(crate) use value::Value;
pub(crate) use written::Parameters;
use written::Written;

/// A condition, as it was written and as what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct SqlFilter {
    written: Written,
    condition: Expression,
}

impl SqlFilter {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`BrokerError::Malformed`] with the place where it stops making sense.
    pub(crate) fn parse(text: &str) -> Result<Self, BrokerError> {
        Self::with_parameters(text, Parameters::new())
    }

    /// Reads a condition in which names stand for these values. Errors as [`parse`](Self::parse).
    pub(crate) fn with_parameters(text: &str, parameters: Parameters) -> Result<Self, BrokerError> {
        Written::new(text, parameters).try_into()
    }

    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        self.written.text()
    }

    /// As they were given.
    pub(crate) fn parameters(&self) -> &Parameters {
        self.written.parameters()
    }

    /// Whether it is true of the message; what is unknown is not. An error where it has no value.
    pub(super) fn matches(&self, arrival: &Arrival) -> Result<bool, String> {
        Ok(self.condition.evaluate(arrival)? == Value::Boolean(true))
    }
}

/// What is done to a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct SqlAction {
    written: Written,
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
        Self::with_parameters(text, Parameters::new())
    }

    /// As [`SqlFilter::with_parameters`].
    pub(crate) fn with_parameters(text: &str, parameters: Parameters) -> Result<Self, BrokerError> {
        Written::new(text, parameters).try_into()
    }

    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        self.written.text()
    }

    /// As they were given.
    pub(crate) fn parameters(&self) -> &Parameters {
        self.written.parameters()
    }

    /// The message with all statements done, one after the other.
    pub(super) fn apply(&self, arrival: &Arrival) -> Result<Message, String> {
        let mut copy = arrival.clone();
        for statement in &self.statements {
            match statement {
                Statement::Set(property, expression) => property.set(&mut copy, expression)?,
                Statement::Remove(property) => property.remove(&mut copy)?,
            }
        }
        Ok(copy.message)
    }
}

impl TryFrom<Written> for SqlFilter {
    type Error = BrokerError;

    fn try_from(written: Written) -> Result<Self, BrokerError> {
        let condition = Parser::new(&written).and_then(Parser::condition);
        match condition {
            Ok(condition) => Ok(Self { written, condition }),
            Err(why) => Err(refused("filter", &written, &why)),
        }
    }
}

impl From<SqlFilter> for Written {
    fn from(filter: SqlFilter) -> Self {
        filter.written
    }
}

impl TryFrom<Written> for SqlAction {
    type Error = BrokerError;

    fn try_from(written: Written) -> Result<Self, BrokerError> {
        let statements = Parser::new(&written).and_then(Parser::action);
        match statements {
            Ok(statements) => Ok(Self { written, statements }),
            Err(why) => Err(refused("action", &written, &why)),
        }
    }
}

impl From<SqlAction> for Written {
    fn from(action: SqlAction) -> Self {
        action.written
    }
}

fn refused(what: &str, written: &Written, why: &str) -> BrokerError {
    let text = written.text();
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
