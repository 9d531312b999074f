//! From what the service and the AMQP engine report to this crate's [`Error`].

use fe2o3_amqp::connection::{ConnectionStopReason, OpenError};
use fe2o3_amqp::link::{
    DetachError, IllegalLinkStateError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
    SessionStopReason,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp::types::definitions::{self, ErrorCondition};
use fe2o3_amqp::types::primitives::Symbol;

use crate::error::{Error, ErrorKind};

/// Waiting for a free session took longer than asked for: not a failure, just no session.
pub(crate) const TIMEOUT: &str = "com.microsoft:timeout";
/// What the broker calls a settlement that dead-letters; it answers with the same condition.
pub(crate) const DEAD_LETTER: &str = "com.microsoft:dead-letter";

/// The kind behind a condition (Azure Service Bus AMQP error conditions; AMQP 1.0 section 2.8.15 on).
pub(crate) fn kind_of(condition: &str) -> ErrorKind {
    match condition {
        "amqp:not-found" | "com.microsoft:messaging-entity-not-found" => ErrorKind::EntityNotFound,
        "amqp:unauthorized-access" | "com.microsoft:auth-failed" => ErrorKind::Unauthorized,
        "com.microsoft:entity-disabled" => ErrorKind::EntityDisabled,
        "com.microsoft:server-busy" => ErrorKind::ServerBusy,
        TIMEOUT => ErrorKind::Timeout,
        "com.microsoft:message-lock-lost" => ErrorKind::MessageLockLost,
        "com.microsoft:session-lock-lost" => ErrorKind::SessionLockLost,
        "com.microsoft:session-cannot-be-locked" => ErrorKind::SessionCannotBeLocked,
        "com.microsoft:message-not-found" => ErrorKind::MessageNotFound,
        "com.microsoft:entity-already-exists" | "com.microsoft:messaging-entity-already-exists" => {
            ErrorKind::AlreadyExists
        }
        "amqp:transaction:rollback" | "amqp:transaction:timeout" | "amqp:transaction:unknown-id" => {
            ErrorKind::TransactionFailed
        }
        "amqp:link:message-size-exceeded" => ErrorKind::MessageTooLarge,
        "amqp:resource-limit-exceeded" => ErrorKind::QuotaExceeded,
        "com.microsoft:argument-error"
        | "com.microsoft:argument-out-of-range"
        | "amqp:not-allowed"
        | "amqp:invalid-field" => ErrorKind::InvalidArgument,
        "amqp:connection:forced" | "amqp:connection:framing-error" => ErrorKind::Connection,
        // Idle links are detached after ten minutes; stolen ones by a receiver with a higher epoch.
        "amqp:link:detach-forced"
        | "amqp:link:stolen"
        | "com.microsoft:container-close"
        | "com.microsoft:store-lock-lost" => ErrorKind::LinkLost,
        "amqp:internal-error" | "com.microsoft:operation-cancelled" => ErrorKind::ServiceUnavailable,
        _ => ErrorKind::Other,
    }
}

/// An error from a condition and the service's own words.
pub(crate) fn from_condition(condition: &str, description: Option<&str>) -> Error {
    let description = description
        .filter(|text| !text.is_empty())
        .unwrap_or("the service gave no description");
    Error::new(kind_of(condition), description.to_owned()).with_condition(condition)
}

/// The kind behind a status of a `$cbs` or `$management` response, used where it names no condition.
pub(crate) fn from_status(status: i32, condition: Option<&str>, description: Option<&str>) -> Error {
    if let Some(condition) = condition {
        return from_condition(condition, description);
    }
    let kind = match status {
        401 | 403 => ErrorKind::Unauthorized,
        404 => ErrorKind::EntityNotFound,
        408 => ErrorKind::Timeout,
        410 => ErrorKind::MessageLockLost,
        429 | 503 => ErrorKind::ServerBusy,
        409 => ErrorKind::AlreadyExists,
        400 => ErrorKind::InvalidArgument,
        500..=599 => ErrorKind::ServiceUnavailable,
        _ => ErrorKind::Other,
    };
    let text = description.filter(|text| !text.is_empty()).unwrap_or("no description");
    Error::new(kind, format!("status {status}: {text}"))
}

pub(crate) fn condition_name(condition: &ErrorCondition) -> String {
    let symbol = match condition {
        ErrorCondition::AmqpError(error) => Symbol::from(error),
        ErrorCondition::ConnectionError(error) => Symbol::from(error),
        ErrorCondition::SessionError(error) => Symbol::from(error),
        ErrorCondition::LinkError(error) => Symbol::from(error),
        ErrorCondition::TransactionError(error) => Symbol::from(error),
        ErrorCondition::Custom(symbol) => symbol.clone(),
    };
    symbol.into_inner()
}

pub(crate) fn from_amqp(error: &definitions::Error) -> Error {
    from_condition(&condition_name(&error.condition), error.description.as_deref())
}

/// A link that ended without a reason of the service's.
fn link_lost(message: &'static str) -> Error {
    Error::new(ErrorKind::LinkLost, message)
}

pub(crate) fn from_connection_stop(reason: &ConnectionStopReason) -> Error {
    match reason {
        ConnectionStopReason::ClosedWithError(error) | ConnectionStopReason::RemoteClosedWithError(error) => {
            lost_with(ErrorKind::Connection, error)
        }
        _ => Error::new(ErrorKind::Connection, "the connection was lost"),
    }
}

fn from_session_stop(reason: &SessionStopReason) -> Error {
    match reason {
        SessionStopReason::ConnectionStopped(reason) => from_connection_stop(reason),
        SessionStopReason::EndedWithError(error) | SessionStopReason::RemoteEndedWithError(error) => {
            lost_with(ErrorKind::LinkLost, error)
        }
        _ => link_lost("the AMQP session ended"),
    }
}

/// The peer's own condition where it means something to a caller, else `kind`: a connection that was
/// closed for a reason unknown to us is still a connection that can be opened again.
fn lost_with(kind: ErrorKind, error: &definitions::Error) -> Error {
    let condition = condition_name(&error.condition);
    match kind_of(&condition) {
        ErrorKind::Other => {
            let text = error
                .description
                .clone()
                .unwrap_or_else(|| "closed by the service".to_owned());
            Error::new(kind, text).with_condition(condition)
        }
        _ => from_amqp(error),
    }
}

impl From<LinkStateError> for Error {
    fn from(error: LinkStateError) -> Self {
        match &error {
            LinkStateError::SessionStopped(reason) => from_session_stop(reason),
            LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
                lost_with(ErrorKind::LinkLost, error)
            }
            _ => link_lost("the link was detached"),
        }
    }
}

impl From<IllegalLinkStateError> for Error {
    fn from(error: IllegalLinkStateError) -> Self {
        match &error {
            IllegalLinkStateError::SessionStopped(reason) => from_session_stop(reason),
            IllegalLinkStateError::IllegalState => link_lost("the link was detached"),
        }
    }
}

impl From<DetachError> for Error {
    fn from(error: DetachError) -> Self {
        LinkStateError::from(error).into()
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::LinkStateError(error) => error.into(),
            SendError::Detached(error) => error.into(),
            SendError::MessageSizeExceeded(error) => Error::new(
                ErrorKind::MessageTooLarge,
                format!("message of {} bytes, the link takes {}", error.size, error.max_size),
            ),
            other => Error::new(ErrorKind::Other, "the message could not be sent").with_source(other),
        }
    }
}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::LinkStateError(error) => error.into(),
            other => Error::new(ErrorKind::LinkLost, "a transfer could not be read").with_source(other),
        }
    }
}

impl From<SenderAttachError> for Error {
    fn from(error: SenderAttachError) -> Self {
        match &error {
            SenderAttachError::SessionStopped(reason) => from_session_stop(reason),
            SenderAttachError::RemoteClosedWithError(error) => from_amqp(error),
            _ => Error::new(ErrorKind::LinkLost, "the link could not be attached").with_source(error),
        }
    }
}

impl From<ReceiverAttachError> for Error {
    fn from(error: ReceiverAttachError) -> Self {
        match &error {
            ReceiverAttachError::SessionStopped(reason) => from_session_stop(reason),
            ReceiverAttachError::RemoteClosedWithError(error) => from_amqp(error),
            _ => Error::new(ErrorKind::LinkLost, "the link could not be attached").with_source(error),
        }
    }
}

impl From<BeginError> for Error {
    fn from(error: BeginError) -> Self {
        match &error {
            BeginError::ConnectionStopped(reason) => from_connection_stop(reason),
            BeginError::RemoteEndedWithError(error) => lost_with(ErrorKind::LinkLost, error),
            BeginError::LocalChannelMaxReached => Error::new(
                ErrorKind::QuotaExceeded,
                "the connection has no channel left; use a second client for more receivers",
            ),
            _ => Error::new(ErrorKind::Connection, "the AMQP session could not begin").with_source(error),
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::RemoteClosedWithError(error) => lost_with(ErrorKind::Connection, error),
            OpenError::SaslError { .. } => Error::new(ErrorKind::Unauthorized, "SASL was refused").with_source(error),
            _ => Error::new(ErrorKind::Connection, "the AMQP connection could not be opened").with_source(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fe2o3_amqp::types::definitions::ConnectionError;

    #[test]
    fn a_closed_connection_is_transient_whatever_its_reason() {
        for condition in ["amqp:connection:forced", "com.example:unheard-of"] {
            let error = definitions::Error::new(
                ErrorCondition::Custom(Symbol::from(condition)),
                Some("bye".to_owned()),
                None,
            );
            assert!(from_connection_stop(&ConnectionStopReason::RemoteClosedWithError(error)).is_transient());
        }
        let forced = definitions::Error::new(ConnectionError::ConnectionForced, None, None);
        assert_eq!(from_amqp(&forced).kind(), ErrorKind::Connection);
    }
}
