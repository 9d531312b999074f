//! What the SDK's errors mean to a caller.
//!
//! The SDK retries on its own, writes included, so an error that arrives here may follow an attempt
//! that was stored. Whoever writes therefore repeats or reads back after every transient error; the
//! kind only tells a caller what to expect.

use std::time::Duration;

use azevents_core::{Error, ErrorKind};
use azure_data_cosmos::CosmosError;

/// Sub-status of a 404 that means "not replicated to here yet": session consistency, not absence.
const READ_SESSION_NOT_AVAILABLE: u16 = 1002;
/// Sub-statuses of a 403 that mean "this region doesn't take the request", not "you may not".
const WRITE_FORBIDDEN: u16 = 3;
const ACCOUNT_NOT_IN_REGION: u16 = 1008;

/// Whether the failed request could have changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Translates an error of the SDK.
pub(crate) fn from_sdk(
    error: CosmosError,
    access: Access,
    operation: &'static str,
    subject: impl std::fmt::Display,
) -> Error {
    let kind = kind(&error, access);
    let status = error.status();
    let message = match status.name() {
        Some(name) => format!("{} {name}", status_code(&error)),
        None => format!("{} {:?}", status_code(&error), status.status_code()),
    };
    let delay = retry_after(&error);
    let translated = Error::new(kind, operation, subject)
        .with_message(message)
        .with_source(error);
    match delay {
        Some(delay) => translated.with_retry_after(delay),
        None => translated,
    }
}

/// The HTTP status, also of errors that the SDK made up where no answer came.
pub(crate) fn status_code(error: &CosmosError) -> u16 {
    u16::from(error.status().status_code())
}

/// Whether the item isn't there, as far as this region knows.
pub(crate) fn is_not_found(error: &CosmosError) -> bool {
    status_code(error) == 404 && sub_status(error) != READ_SESSION_NOT_AVAILABLE
}

/// Whether somebody else was first: the id is taken, or the etag has changed.
pub(crate) fn is_conflict(error: &CosmosError) -> bool {
    matches!(status_code(error), 409 | 412)
}

/// The kind of error that a status means, also one inside the answer to a batch.
pub(crate) fn kind_of_status(status: u16, access: Access) -> ErrorKind {
    match (status, access) {
        (400, _) => ErrorKind::InvalidInput,
        (401 | 403, _) => ErrorKind::Unauthorized,
        (404, _) => ErrorKind::NotFound,
        (409 | 412, _) => ErrorKind::Conflict,
        (413, _) => ErrorKind::TooLarge,
        (429, _) => ErrorKind::Throttled,
        // The service answers 503 only to what it hasn't done; 410 and 449 ask to try again.
        (410 | 449 | 503, _) | (408 | 500..=599, Access::Read) => ErrorKind::Unavailable,
        (408 | 500..=599, Access::Write) => ErrorKind::OutcomeUnknown,
        _ => ErrorKind::Other,
    }
}

fn kind(error: &CosmosError, access: Access) -> ErrorKind {
    let answered = error.response().is_some();
    match (status_code(error), sub_status(error)) {
        (404, READ_SESSION_NOT_AVAILABLE) | (403, WRITE_FORBIDDEN | ACCOUNT_NOT_IN_REGION) => ErrorKind::Unavailable,
        // The SDK's own 503: the connection failed, perhaps after the request had gone out.
        (503, _) if !answered && access == Access::Write => ErrorKind::OutcomeUnknown,
        (status, _) => kind_of_status(status, access),
    }
}

fn sub_status(error: &CosmosError) -> u16 {
    error.status().sub_status().map_or(0, |code| code.value())
}

fn retry_after(error: &CosmosError) -> Option<Duration> {
    error.response()?.headers().retry_after_ms.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_leaves_the_outcome_of_a_write_unknown_and_a_read_retryable() {
        for status in [408, 500, 502, 504] {
            assert_eq!(kind_of_status(status, Access::Write), ErrorKind::OutcomeUnknown);
            assert_eq!(kind_of_status(status, Access::Read), ErrorKind::Unavailable);
        }
    }

    #[test]
    fn what_the_service_refuses_is_not_transient() {
        for status in [400, 401, 403, 404, 409, 412, 413] {
            assert!(!kind_of_status(status, Access::Write).is_transient(), "{status}");
        }
        for status in [410, 429, 449, 503] {
            assert!(kind_of_status(status, Access::Write).is_transient(), "{status}");
        }
    }
}
