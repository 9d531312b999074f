//! Bearer tokens: what can be checked of them without a directory.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// Takes every well-formed JWT that has not expired (RFC 7519) and has the claims that are asked for. Who has signed it
/// can't be checked: there is no directory to ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    required: Arc<[(String, String)]>,
}

/// Why a token is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Malformed,
    Expired(OffsetDateTime),
    Without { claim: String, value: String },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("The bearer token is not a JWT."),
            Self::Expired(end) => write!(f, "The bearer token has expired: it ended at {end}."),
            Self::Without { claim, value } => {
                write!(
                    f,
                    "The bearer token's claim '{claim}' is not '{value}', which this emulator was told to require."
                )
            }
        }
    }
}

impl Tokens {
    /// Tokens need each of these claims, by name and value.
    pub(crate) fn requiring(claims: Vec<(String, String)>) -> Self {
        Self {
            required: claims.into(),
        }
    }

    /// Until when a token is good; `None` for one without end.
    pub(crate) fn check(&self, token: &str, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, Refused> {
        let claims = claims(token).ok_or(Refused::Malformed)?;
        let end = match claims.get("exp") {
            None => None,
            // A number of seconds, which may have a fraction (RFC 7519 section 2, "NumericDate").
            Some(exp) => {
                let seconds = exp.as_i64().or_else(|| Some(exp.as_f64()? as i64));
                let end = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
                Some(end.ok_or(Refused::Malformed)?)
            }
        };
        if let Some(end) = end.filter(|end| *end <= now) {
            return Err(Refused::Expired(end));
        }
        for (claim, value) in &*self.required {
            if !claims.get(claim).is_some_and(|found| has(found, value)) {
                return Err(Refused::Without {
                    claim: claim.clone(),
                    value: value.clone(),
                });
            }
        }
        Ok(end)
    }
}

/// What a token says of itself.
fn claims(token: &str) -> Option<Map<String, Value>> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _signature] = parts[..] else {
        return None;
    };
    let object = |part: &str| {
        let json = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Map<String, Value>>(&json).ok()
    };
    object(header)?;
    object(claims)
}

/// Whether a claim has a value, by itself or among others (`roles`, several audiences).
fn has(claim: &Value, value: &str) -> bool {
    match claim {
        Value::String(text) => text == value,
        Value::Array(values) => values.iter().any(|claim| has(claim, value)),
        Value::Number(number) => number.to_string() == value,
        Value::Bool(is) => value == if *is { "true" } else { "false" },
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims))
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn any_well_formed_token_is_good_until_its_end() {
        let any = Tokens::default();
        assert_eq!(any.check(&token("{}"), at(5)), Ok(None));
        assert_eq!(any.check(&token(r#"{"exp":7.5}"#), at(6)), Ok(Some(at(7))));
        assert_eq!(any.check(&token(r#"{"exp":7}"#), at(7)), Err(Refused::Expired(at(7))));
        for malformed in ["secret", "a.b.c", "..", &token("[]"), &token(r#"{"exp":"soon"}"#)] {
            assert_eq!(any.check(malformed, at(5)), Err(Refused::Malformed), "{malformed}");
        }
    }

    #[test]
    fn claims_that_are_required_have_to_be_there() {
        let pairs = [("tid", "bank"), ("roles", "Sender")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let tokens = Tokens::requiring(pairs.to_vec());
        let good = token(r#"{"tid":"bank","roles":["Reader","Sender"]}"#);
        assert_eq!(tokens.check(&good, at(5)), Ok(None));
        for bad in ["{}", r#"{"tid":"bank"}"#, r#"{"tid":"banks","roles":["Sender"]}"#] {
            assert!(
                matches!(tokens.check(&token(bad), at(5)), Err(Refused::Without { .. })),
                "{bad}"
            );
        }
    }
}
