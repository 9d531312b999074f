//! `If-Match` and its kin ("Specifying conditional headers for Blob service operations").

use hyper::StatusCode;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::{
    call::Call,
    error::{self, BlobError, Result},
    model::Stamp,
};

/// What must be true of a blob or container for a request to be done.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    matches: Option<String>,
    none_match: Option<String>,
    /// Unix seconds.
    modified_since: Option<i64>,
    unmodified_since: Option<i64>,
}

impl Conditions {
    pub(super) fn of(call: &Call) -> Result<Self> {
        if call.header("x-ms-if-tags").is_some() {
            return Err(error::not_implemented("the condition x-ms-if-tags"));
        }
        let time = |name: &str| match call.header(name) {
            None => Ok(None),
            Some(text) => OffsetDateTime::parse(text, &Rfc2822)
                .map(|time| Some(time.unix_timestamp()))
                .map_err(|_| error::invalid_header(name, "is not a date of HTTP")),
        };
        Ok(Self {
            matches: call.header("if-match").map(str::to_owned),
            none_match: call.header("if-none-match").map(str::to_owned),
            modified_since: time("if-modified-since")?,
            unmodified_since: time("if-unmodified-since")?,
        })
    }

    /// Checks a read of what is there.
    pub(super) fn check_read(&self, stamp: &Stamp) -> Result<()> {
        if self.matches.as_deref().is_some_and(|tag| !is(tag, stamp)) {
            return Err(not_met());
        }
        if self.unmodified_since.is_some_and(|time| stamp.modified > time) {
            return Err(not_met());
        }
        if self.none_match.as_deref().is_some_and(|tag| is(tag, stamp)) || self.not_modified(stamp) {
            return Err(BlobError::new(
                StatusCode::NOT_MODIFIED,
                "ConditionNotMet",
                "Nothing has changed.",
            ));
        }
        Ok(())
    }

    /// Checks a write to what is there, or to what is not.
    pub(super) fn check_write(&self, stamp: Option<&Stamp>) -> Result<()> {
        let Some(stamp) = stamp else {
            return match self.matches {
                Some(_) => Err(not_met()),
                None => Ok(()),
            };
        };
        if self.none_match.as_deref() == Some("*") {
            return Err(BlobError::new(
                StatusCode::CONFLICT,
                "BlobAlreadyExists",
                "The blob already exists.",
            ));
        }
        let met = self.matches.as_deref().is_none_or(|tag| is(tag, stamp))
            && self.none_match.as_deref().is_none_or(|tag| !is(tag, stamp))
            && self.unmodified_since.is_none_or(|time| stamp.modified <= time)
            && !self.not_modified(stamp);
        if met { Ok(()) } else { Err(not_met()) }
    }

    fn not_modified(&self, stamp: &Stamp) -> bool {
        self.modified_since.is_some_and(|time| stamp.modified <= time)
    }
}

/// Clients send an etag with its quotes or, from a listing, without.
fn is(tag: &str, stamp: &Stamp) -> bool {
    tag == "*" || tag.trim_matches('"') == stamp.etag
}

fn not_met() -> BlobError {
    BlobError::new(
        StatusCode::PRECONDITION_FAILED,
        "ConditionNotMet",
        "The condition specified using HTTP conditional header(s) is not met.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            etag: "0x8D".into(),
            modified: 100,
        }
    }

    fn status(result: Result<()>) -> u16 {
        result.err().map_or(200, |error| error.status.as_u16())
    }

    #[test]
    fn who_claims_what_nobody_has_must_be_the_first() {
        let claim = Conditions {
            none_match: Some("*".into()),
            ..Conditions::default()
        };
        assert_eq!(status(claim.check_write(None)), 200);
        assert_eq!(status(claim.check_write(Some(&stamp()))), 409);
    }

    #[test]
    fn who_takes_over_must_have_seen_the_last_write() {
        for (tag, expected) in [("\"0x8D\"", 200), ("0x8D", 200), ("*", 200), ("\"0x8C\"", 412)] {
            let conditions = Conditions {
                matches: Some(tag.into()),
                ..Conditions::default()
            };
            assert_eq!(status(conditions.check_write(Some(&stamp()))), expected, "{tag}");
            assert_eq!(status(conditions.check_read(&stamp())), expected, "{tag}");
            assert_eq!(status(conditions.check_write(None)), 412, "{tag}");
        }
    }

    #[test]
    fn a_cache_is_told_that_nothing_changed() {
        let known = Conditions {
            none_match: Some("\"0x8D\"".into()),
            ..Conditions::default()
        };
        assert_eq!(status(known.check_read(&stamp())), 304);
        let since = Conditions {
            modified_since: Some(100),
            ..Conditions::default()
        };
        assert_eq!(status(since.check_read(&stamp())), 304);
        assert_eq!(status(since.check_write(Some(&stamp()))), 412);
    }
}
