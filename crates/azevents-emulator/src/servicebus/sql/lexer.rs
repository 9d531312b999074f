//! Words, numbers, texts and signs.

use super::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword; names in `[]` or `""` are never keywords.
    Word { text: String, delimited: bool },
    /// A literal.
    Literal(Value),
    /// `@name`.
    Parameter(String),
    /// Punctuation and operators.
    Sign(&'static str),
}

/// The longer ones first.
const SIGNS: [&str; 17] = [
    "<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", ".", ";", "+", "-", "*", "/", "%",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' => {
                let (text, length) = quoted(rest, '\'')?;
                (Token::Literal(Value::Text(text)), length)
            }
            '[' | '"' => {
                let (text, length) = quoted(rest, if first == '[' { ']' } else { '"' })?;
                (Token::Word { text, delimited: true }, length)
            }
            '@' => {
                let length = 1 + word_length(&rest[1..]);
                (Token::Parameter(rest[1..length].to_owned()), length)
            }
            c if c.is_ascii_digit() => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let length = word_length(rest);
                let text = rest[..length].to_owned();
                (Token::Word { text, delimited: false }, length)
            }
            c => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| format!("'{c}' has no meaning"))?;
                (Token::Sign(sign), sign.len())
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '#')))
        .unwrap_or(text.len())
}

/// The text between two quotes, which is doubled where it is meant, and the length with quotes.
fn quoted(text: &str, end: char) -> Result<(String, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != end {
            out.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == end) {
            chars.next();
            out.push(end);
        } else {
            return Ok((out, at + end.len_utf8()));
        }
    }
    Err(format!("a {end} is missing"))
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(text);
    let mut whole = true;
    if text[end..].starts_with('.') {
        end += 1 + digits(&text[end + 1..]);
        whole = false;
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        end += 1 + sign + digits(&text[end + 1 + sign..]);
        whole = false;
    }
    let literal = &text[..end];
    let value = if whole {
        literal.parse().map(Value::Integer).map_err(|error| error.to_string())
    } else {
        literal.parse().map(Value::Float).map_err(|error| error.to_string())
    };
    value
        .map(|value| (Token::Literal(value), end))
        .map_err(|why| format!("{literal} is no number ({why})"))
}
