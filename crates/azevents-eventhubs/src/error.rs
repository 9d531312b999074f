//! From the SDK's errors to core's: what kind of failure it is, found where the SDK has wrapped it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use azevents_core::{Error, ErrorKind};
use azure_core::http::StatusCode;
use azure_core_amqp::{AmqpError, AmqpErrorCondition, AmqpErrorKind};
use azure_messaging_eventhubs::EventHubsError;

/// What Azure asks a throttled client to wait, where it names no time ("Azure Event Hubs quotas and
/// limits": retry a server-busy answer after four seconds).
const SERVER_BUSY_WAIT: Duration = Duration::from_secs(4);

/// Turns an error of the SDK into one that says whether waiting helps.
pub(crate) fn from_sdk(operation: &'static str, subject: &str, error: EventHubsError) -> Error {
    let kind = kind_of(&error);
    let mapped = Error::new(kind, operation, subject).with_source(error);
    match kind {
        ErrorKind::Throttled => mapped.with_retry_after(SERVER_BUSY_WAIT),
        _ => mapped,
    }
}

/// Looks through the whole chain: the SDK wraps the broker's answer ("Could not ensure sender") in
/// errors that say nothing themselves.
fn kind_of(error: &(dyn StdError + 'static)) -> ErrorKind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let found = if let Some(amqp) = error.downcast_ref::<AmqpError>() {
            amqp_kind(amqp)
        } else if let Some(azure) = error.downcast_ref::<azure_core::Error>() {
            matches!(azure.kind(), azure_core::error::ErrorKind::Credential).then_some(ErrorKind::Unauthorized)
        } else if error.is::<io::Error>() {
            Some(ErrorKind::Unavailable)
        } else {
            None
        };
        if let Some(kind) = found {
            return kind;
        }
        cause = error.source();
    }
    // Whatever else the SDK reports comes from the connection, and a new one may mend it.
    ErrorKind::Unavailable
}

fn amqp_kind(error: &AmqpError) -> Option<ErrorKind> {
    match error.kind() {
        AmqpErrorKind::AmqpDescribedError(described) => Some(condition_kind(&described.condition)),
        AmqpErrorKind::ManagementStatusCode(status, _) => Some(match status {
            StatusCode::Unauthorized | StatusCode::Forbidden => ErrorKind::Unauthorized,
            StatusCode::NotFound => ErrorKind::NotFound,
            StatusCode::BadRequest => ErrorKind::InvalidInput,
            StatusCode::TooManyRequests => ErrorKind::Throttled,
            _ => ErrorKind::Unavailable,
        }),
        // These two only wrap: what they wrap decides.
        AmqpErrorKind::AzureCore(_) | AmqpErrorKind::SimpleMessage(_) => None,
        _ => Some(ErrorKind::Unavailable),
    }
}

fn condition_kind(condition: &AmqpErrorCondition) -> ErrorKind {
    use AmqpErrorCondition as C;
    match condition {
        C::NotFound => ErrorKind::NotFound,
        C::UnauthorizedAccess => ErrorKind::Unauthorized,
        C::LinkPayloadSizeExceeded => ErrorKind::TooLarge,
        C::ServerBusyError | C::ResourceLimitExceeded => ErrorKind::Throttled,
        C::ArgumentError | C::ArgumentOutOfRangeError | C::InvalidField | C::NotAllowed | C::DecodeError => {
            ErrorKind::InvalidInput
        }
        C::NotImplemented => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core_amqp::{AmqpDescribedError, AmqpOrderedMap};

    fn described(condition: AmqpErrorCondition) -> AmqpError {
        AmqpErrorKind::AmqpDescribedError(AmqpDescribedError::new(condition, None, AmqpOrderedMap::new())).into()
    }

    #[test]
    fn the_brokers_answer_is_found_inside_what_the_sdk_wraps_around_it() {
        let inner = described(AmqpErrorCondition::NotFound);
        let wrapped =
            azure_core::Error::with_error(azure_core::error::ErrorKind::Other, inner, "Could not ensure sender");
        let error = from_sdk("publish", "hub", EventHubsError::from(AmqpError::from(wrapped)));
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_busy_service_is_given_the_time_it_asks_for() {
        let error = from_sdk(
            "publish",
            "hub",
            EventHubsError::from(described(AmqpErrorCondition::ServerBusyError)),
        );
        assert!(error.is_transient());
        assert_eq!(error.retry_after(), Some(SERVER_BUSY_WAIT));
    }

    #[test]
    fn a_lost_link_is_worth_another_try() {
        for condition in [AmqpErrorCondition::LinkStolen, AmqpErrorCondition::LinkDetachForced] {
            assert!(from_sdk("receive", "hub", EventHubsError::from(described(condition))).is_transient());
        }
    }
}
