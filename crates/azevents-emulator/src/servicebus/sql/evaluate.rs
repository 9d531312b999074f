//! What an expression is of a message.

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Property, Value,
    arithmetic::{arithmetic, compare, negate},
    convert::to_text,
};
use crate::servicebus::message::Arrival;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Constant(Value),
    Property(Property),
    NewId,
    Negative(Box<Expression>),
    Arithmetic(char, Box<Expression>, Box<Expression>),
    Comparison(&'static str, Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    IsNull(Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    Like(Box<Expression>, Box<Expression>, Option<char>),
    Exists(Property),
}

impl Expression {
    /// Its value, which may be unknown.
    ///
    /// # Errors
    /// Why it has none: the service throws then, and the message counts as one that the rule failed on.
    pub(super) fn evaluate(&self, arrival: &Arrival) -> Result<Value, String> {
        let truth = |expression: &Self| Ok::<_, String>(expression.evaluate(arrival)?.truth());
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Property(property) => property.read(arrival)?,
            Self::NewId => Value::Guid(Uuid::new_v4()),
            Self::Negative(of) => negate(&of.evaluate(arrival)?)?,
            Self::Arithmetic(operator, a, b) => arithmetic(*operator, &a.evaluate(arrival)?, &b.evaluate(arrival)?)?,
            Self::Comparison(operator, a, b) => compare(operator, &a.evaluate(arrival)?, &b.evaluate(arrival)?)?,
            Self::Not(of) => Value::of_truth(truth(of)?.map(|truth| !truth)),
            Self::And(a, b) => Value::of_truth(match truth(a)? {
                Some(false) => Some(false),
                a => match (a, truth(b)?) {
                    (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                },
            }),
            Self::Or(a, b) => Value::of_truth(match truth(a)? {
                Some(true) => Some(true),
                a => match (a, truth(b)?) {
                    (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
            }),
            Self::IsNull(of) => Value::Boolean(of.evaluate(arrival)? == Value::Null),
            Self::In(of, list) => {
                let value = of.evaluate(arrival)?;
                let mut unknown = false;
                for other in list {
                    match compare("=", &value, &other.evaluate(arrival)?)?.truth() {
                        Some(true) => return Ok(Value::Boolean(true)),
                        Some(false) => {}
                        None => unknown = true,
                    }
                }
                Value::of_truth((!unknown).then_some(false))
            }
            Self::Like(of, pattern, escape) => match (of.evaluate(arrival)?, pattern.evaluate(arrival)?) {
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                (value, pattern) => {
                    let pattern: Vec<Piece> = pieces(&to_text(&pattern)?, *escape);
                    Value::Boolean(like(&to_text(&value)?.chars().collect::<Vec<_>>(), &pattern))
                }
            },
            Self::Exists(property) => Value::Boolean(property.exists(arrival)?),
        })
    }

    /// What the sender encoded, if it is no more than an application property.
    pub(super) fn as_it_is(&self, arrival: &Arrival) -> Result<Option<Bytes>, String> {
        match self {
            Self::Property(property) => property.as_it_is(arrival),
            _ => Ok(None),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    /// `%`
    Any,
    /// `_`
    One,
    This(char),
}

fn pieces(pattern: &str, escape: Option<char>) -> Vec<Piece> {
    let mut chars = pattern.chars();
    let mut pieces = Vec::new();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            c if Some(c) == escape => Piece::This(chars.next().unwrap_or(c)),
            '%' => Piece::Any,
            '_' => Piece::One,
            c => Piece::This(c),
        });
    }
    pieces
}

/// Goes back to the last `%` only, so that no pattern takes more than length times length steps.
fn like(text: &[char], pattern: &[Piece]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Piece::Any) => {
                back = Some((t, p));
                p += 1;
            }
            Some(Piece::One) => (t, p) = (t + 1, p + 1),
            Some(Piece::This(c)) if *c == text[t] => (t, p) = (t + 1, p + 1),
            _ => match &mut back {
                Some((from, at)) => {
                    *from += 1;
                    (t, p) = (*from, *at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Any)
}
