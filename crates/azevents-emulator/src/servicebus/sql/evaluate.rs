//! What an expression is of a message.

use std::cmp::Ordering;

use super::{Property, Value};
use crate::servicebus::message::Message;

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
    pub(super) fn evaluate(&self, message: &Message) -> Result<Value, String> {
        let truth = |expression: &Self| Ok::<_, String>(expression.evaluate(message)?.truth());
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Property(property) => property.read(message)?,
            Self::NewId => Value::Text(uuid::Uuid::new_v4().to_string()),
            Self::Negative(of) => match of.evaluate(message)? {
                Value::Integer(number) => Value::Integer(number.checked_neg().ok_or("a number is too large")?),
                Value::Float(number) => Value::Float(-number),
                Value::Null => Value::Null,
                other => return Err(format!("{other:?} can't be negated")),
            },
            Self::Arithmetic(operator, a, b) => arithmetic(*operator, &a.evaluate(message)?, &b.evaluate(message)?)?,
            Self::Comparison(operator, a, b) => {
                let order = a.evaluate(message)?.compare(&b.evaluate(message)?);
                Value::of_truth(order.map(|order| holds(operator, order)))
            }
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
            Self::IsNull(of) => Value::Boolean(of.evaluate(message)? == Value::Null),
            Self::In(of, list) => {
                let value = of.evaluate(message)?;
                let mut unknown = false;
                for other in list {
                    match value.compare(&other.evaluate(message)?) {
                        Some(Ordering::Equal) => return Ok(Value::Boolean(true)),
                        Some(_) => {}
                        None => unknown = true,
                    }
                }
                Value::of_truth((!unknown).then_some(false))
            }
            Self::Like(of, pattern, escape) => match (of.evaluate(message)?, pattern.evaluate(message)?) {
                (Value::Text(text), Value::Text(pattern)) => {
                    let pattern: Vec<Piece> = pieces(&pattern, *escape);
                    Value::Boolean(like(&text.chars().collect::<Vec<_>>(), &pattern))
                }
                _ => Value::Null,
            },
            Self::Exists(property) => Value::Boolean(property.exists(message)?),
        })
    }
}

fn holds(operator: &str, order: Ordering) -> bool {
    match operator {
        "=" => order.is_eq(),
        "<>" | "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn arithmetic(operator: char, a: &Value, b: &Value) -> Result<Value, String> {
    Ok(match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::Text(a), Value::Text(b)) if operator == '+' => Value::Text(format!("{a}{b}")),
        (Value::Integer(a), Value::Integer(b)) => {
            let result = match operator {
                '+' => a.checked_add(*b),
                '-' => a.checked_sub(*b),
                '*' => a.checked_mul(*b),
                '/' => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            Value::Integer(result.ok_or_else(|| format!("{a} {operator} {b} has no value"))?)
        }
        (a, b) => match (a.number(), b.number()) {
            (Some(a), Some(b)) => Value::Float(match operator {
                '+' => a + b,
                '-' => a - b,
                '*' => a * b,
                '/' => a / b,
                _ => a % b,
            }),
            _ => return Err(format!("{a:?} {operator} {b:?} has no value")),
        },
    })
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
