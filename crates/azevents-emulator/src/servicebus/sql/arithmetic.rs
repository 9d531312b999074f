//! What operators make of two values.
//!
//! "Operators follow C# implicit conversion semantics whenever possible", the service's documentation says
//! ("Subscription Rule SQL Filter Syntax"), and what C# has no operator for is an error there: an integer is widened to
//! a decimal or to a floating-point number, but these two don't mix; texts, booleans and guids are only equal or not;
//! times and lengths of time are added and subtracted as `DateTime` and `TimeSpan` are. Where Microsoft once published
//! the code that runs these expressions (the package WindowsAzure.ServiceBus), C#'s dynamic operators did it.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::{Value, convert, value::LAST_TICK};

/// Two numbers, made alike.
enum Numbers {
    Integers(i64, i64),
    Decimals(Decimal, Decimal),
    Floats(f64, f64),
}

impl Numbers {
    fn of(a: &Value, b: &Value) -> Option<Self> {
        Some(match (a, b) {
            (Value::Integer(a), Value::Integer(b)) => Self::Integers(*a, *b),
            (Value::Decimal(a), Value::Decimal(b)) => Self::Decimals(*a, *b),
            (Value::Integer(a), Value::Decimal(b)) => Self::Decimals((*a).into(), *b),
            (Value::Decimal(a), Value::Integer(b)) => Self::Decimals(*a, (*b).into()),
            (Value::Float(a), Value::Float(b)) => Self::Floats(*a, *b),
            (Value::Integer(a), Value::Float(b)) => Self::Floats(*a as f64, *b),
            (Value::Float(a), Value::Integer(b)) => Self::Floats(*a, *b as f64),
            _ => return None,
        })
    }
}

/// `=`, `<>`, `<` and so on. What is unknown makes it unknown.
pub(super) fn compare(operator: &str, a: &Value, b: &Value) -> Result<Value, String> {
    if *a == Value::Null || *b == Value::Null {
        return Ok(Value::Null);
    }
    let for_equality = matches!(operator, "=" | "<>" | "!=");
    let order = match order(a, b) {
        Some(order) => order,
        None => match equal(a, b) {
            Some(equal) if for_equality => Some(equal).filter(|equal| *equal).map(|_| Ordering::Equal),
            Some(_) => {
                return Err(format!(
                    "{} is only equal to another or not, never {operator}",
                    a.kind()
                ));
            }
            None => return Err(format!("{} can't be compared to {}", a.kind(), b.kind())),
        },
    };
    Ok(Value::Boolean(match order {
        Some(order) => holds(operator, order),
        // Also what is not a number is not equal to anything.
        None => matches!(operator, "<>" | "!="),
    }))
}

/// Whether they are equal; `None` for kinds that can't be compared. Of numbers it is the value that counts.
pub(in super::super) fn equal(a: &Value, b: &Value) -> Option<bool> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a == b),
        (Value::Boolean(a), Value::Boolean(b)) => Some(a == b),
        (Value::Guid(a), Value::Guid(b)) => Some(a == b),
        _ => order(a, b).map(|order| order == Some(Ordering::Equal)),
    }
}

/// Which comes first; the inner `None` for what is not a number, the outer one for kinds that have no order.
#[allow(clippy::option_option, reason = "said above")]
fn order(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    match (a, b) {
        (Value::Time(a), Value::Time(b)) | (Value::Span(a), Value::Span(b)) => Some(Some(a.cmp(b))),
        _ => Numbers::of(a, b).map(|numbers| match numbers {
            Numbers::Integers(a, b) => Some(a.cmp(&b)),
            Numbers::Decimals(a, b) => Some(a.cmp(&b)),
            Numbers::Floats(a, b) => a.partial_cmp(&b),
        }),
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

/// `-` in front of a value.
pub(super) fn negate(value: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::Null => Value::Null,
        Value::Integer(number) => Value::Integer(number.checked_neg().ok_or("a number is too large")?),
        Value::Float(number) => Value::Float(-number),
        Value::Decimal(number) => Value::Decimal(-number),
        Value::Span(ticks) => Value::Span(ticks.checked_neg().ok_or("a length of time is too large")?),
        other => return Err(format!("{} can't be negated", other.kind())),
    })
}

/// `+`, `-`, `*`, `/` and `%`.
pub(super) fn arithmetic(operator: char, a: &Value, b: &Value) -> Result<Value, String> {
    match (a, operator, b) {
        (Value::Null, _, _) | (_, _, Value::Null) => Ok(Value::Null),
        (Value::Text(_), '+', _) | (_, '+', Value::Text(_)) => {
            put_together(convert::to_text(a)?, &convert::to_text(b)?)
        }
        (Value::Time(at), '+', Value::Span(by)) => time(at.checked_add(*by)),
        (Value::Time(at), '-', Value::Span(by)) => time(at.checked_sub(*by)),
        // Neither overflows: both are from 0 to `LAST_TICK`.
        (Value::Time(a), '-', Value::Time(b)) => Ok(Value::Span(a - b)),
        (Value::Span(a), '+', Value::Span(b)) => span(a.checked_add(*b)),
        (Value::Span(a), '-', Value::Span(b)) => span(a.checked_sub(*b)),
        _ => match Numbers::of(a, b) {
            Some(numbers) => calculate(operator, &numbers),
            None => Err(format!("{} {operator} {} has no value", a.kind(), b.kind())),
        },
    }
}

/// Code units of UTF-16 in the longest text that `+` makes, as in the code Microsoft published. Without a limit, each
/// statement of an action could double a text.
const LONGEST_TEXT: usize = 32_767;

fn put_together(a: String, b: &str) -> Result<Value, String> {
    let text = a + b;
    // Never more units than bytes.
    if text.len() > LONGEST_TEXT && text.encode_utf16().count() > LONGEST_TEXT {
        return Err(format!("a text would be longer than {LONGEST_TEXT} characters"));
    }
    Ok(Value::Text(text))
}

fn calculate(operator: char, numbers: &Numbers) -> Result<Value, String> {
    let none = |a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| format!("{a} {operator} {b} has no value");
    match *numbers {
        Numbers::Integers(a, b) => match operator {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            '*' => a.checked_mul(b),
            '/' => a.checked_div(b),
            _ => a.checked_rem(b),
        }
        .map(Value::Integer)
        .ok_or_else(|| none(&a, &b)),
        Numbers::Decimals(a, b) => match operator {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            '*' => a.checked_mul(b),
            '/' => a.checked_div(b),
            _ => a.checked_rem(b),
        }
        .map(Value::Decimal)
        .ok_or_else(|| none(&a, &b)),
        Numbers::Floats(a, b) => Ok(Value::Float(match operator {
            '+' => a + b,
            '-' => a - b,
            '*' => a * b,
            '/' => a / b,
            _ => a % b,
        })),
    }
}

fn time(ticks: Option<i64>) -> Result<Value, String> {
    match ticks {
        Some(ticks @ 0..=LAST_TICK) => Ok(Value::Time(ticks)),
        _ => Err("a time is before the year 1 or after 9999".to_owned()),
    }
}

fn span(ticks: Option<i64>) -> Result<Value, String> {
    let ticks = ticks.ok_or("a length of time is too large")?;
    Ok(Value::Span(ticks))
}
