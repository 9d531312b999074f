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
    /// An application property whose name has to be worked out.
    Named(Box<Expression>),
    NewId,
    Negative(Box<Expression>),
    /// A value, and what is done to it in turn. Chains are flat, so that a long one takes no more stack than a short.
    Arithmetic(Box<Expression>, Vec<(char, Expression)>),
    Comparison(&'static str, Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    IsNull(Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    Like(Box<Expression>, Box<Expression>, Option<Box<Expression>>),
    Exists(Property),
}

/// A value, or why there is none.
type Evaluated = Result<Value, String>;

impl Expression {
    /// Its value, which may be unknown.
    ///
    /// # Errors
    /// Why it has none: the service throws then, and the message counts as one that the rule failed on.
    pub(super) fn evaluate(&self, arrival: &Arrival) -> Evaluated {
        // Each in a function of its own: what they need lies on the stack once for each level of nesting.
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Property(property) => property.read(arrival),
            Self::Named(name) => named(name, arrival),
            Self::NewId => Ok(Value::Guid(Uuid::new_v4())),
            Self::Negative(of) => negate(&of.evaluate(arrival)?),
            Self::Arithmetic(first, rest) => calculate(first, rest, arrival),
            Self::Comparison(operator, a, b) => compare(operator, &a.evaluate(arrival)?, &b.evaluate(arrival)?),
            Self::Not(of) => Ok(Value::of_truth(of.evaluate(arrival)?.truth().map(|truth| !truth))),
            Self::All(all) => decide(all, arrival, false),
            Self::Any(any) => decide(any, arrival, true),
            Self::IsNull(of) => Ok(Value::Boolean(of.evaluate(arrival)? == Value::Null)),
            Self::In(of, list) => is_in(of, list, arrival),
            Self::Like(of, pattern, escape) => is_like(of, pattern, escape.as_deref(), arrival),
            Self::Exists(property) => property.exists(arrival).map(Value::Boolean),
        }
    }

    /// What the sender encoded, if it is no more than an application property.
    pub(super) fn as_it_is(&self, arrival: &Arrival) -> Result<Option<Bytes>, String> {
        match self {
            Self::Property(property) => property.as_it_is(arrival),
            _ => Ok(None),
        }
    }
}

fn named(name: &Expression, arrival: &Arrival) -> Evaluated {
    match name.evaluate(arrival)? {
        Value::Text(name) => Property::User(name).read(arrival),
        other => Err(format!("{} is no name of a property", other.kind())),
    }
}

fn calculate(first: &Expression, rest: &[(char, Expression)], arrival: &Arrival) -> Evaluated {
    let mut value = first.evaluate(arrival)?;
    for (operator, operand) in rest {
        value = arithmetic(*operator, &value, &operand.evaluate(arrival)?)?;
    }
    Ok(value)
}

fn is_in(of: &Expression, list: &[Expression], arrival: &Arrival) -> Evaluated {
    let value = of.evaluate(arrival)?;
    let mut unknown = false;
    for other in list {
        match compare("=", &value, &other.evaluate(arrival)?)?.truth() {
            Some(true) => return Ok(Value::Boolean(true)),
            Some(false) => {}
            None => unknown = true,
        }
    }
    Ok(Value::of_truth((!unknown).then_some(false)))
}

fn is_like(of: &Expression, pattern: &Expression, escape: Option<&Expression>, arrival: &Arrival) -> Evaluated {
    let escape = escape.map(|escape| escape.evaluate(arrival)).transpose()?;
    match (of.evaluate(arrival)?, pattern.evaluate(arrival)?, escape) {
        (Value::Null, ..) | (_, Value::Null, _) | (_, _, Some(Value::Null)) => Ok(Value::Null),
        (value, pattern, escape) => {
            let escape = escape.as_ref().map(escape_character).transpose()?;
            let pattern = pieces(&to_text(&pattern)?, escape);
            let text: Vec<char> = to_text(&value)?.chars().collect();
            Ok(Value::Boolean(like(&text, &pattern)))
        }
    }
}

/// The first one that is `decisive` decides; where none is, one that is unknown leaves it open.
fn decide(expressions: &[Expression], arrival: &Arrival, decisive: bool) -> Evaluated {
    let mut truth = Some(!decisive);
    for expression in expressions {
        match expression.evaluate(arrival)?.truth() {
            Some(found) if found == decisive => return Ok(Value::Boolean(decisive)),
            Some(_) => {}
            None => truth = None,
        }
    }
    Ok(Value::of_truth(truth))
}

/// What takes the meaning from the character behind it.
pub(super) fn escape_character(value: &Value) -> Result<char, String> {
    if let Value::Text(text) = value {
        let mut characters = text.chars();
        if let (Some(character), None) = (characters.next(), characters.next()) {
            return Ok(character);
        }
    }
    Err("ESCAPE takes a text of one character".to_owned())
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
