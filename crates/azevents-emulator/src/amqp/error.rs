//! Error conditions by name, so that brokers write `error::not_found("…")`.
//!
//! Sources: AMQP 1.0 sections 2.8.15 to 2.8.18 for `amqp:…`, the "Service Bus AMQP protocol guide"
//! and the official SDKs for `com.microsoft:…`.

use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError, ErrorCondition, LinkError};
use serde_amqp::primitives::Symbol;

use super::Right;
use crate::FaultRule;

pub(crate) use fe2o3_amqp_types::definitions::Error;

/// The condition of [`unauthorized`], as a symbol.
pub(super) const UNAUTHORIZED_ACCESS: &str = "amqp:unauthorized-access";

/// An error with any condition, for example `com.microsoft:message-lock-lost`.
pub(crate) fn custom(condition: &str, description: impl Into<String>) -> Error {
    with(ErrorCondition::Custom(Symbol::from(condition)), description)
}

/// `amqp:not-found`: there is no such entity.
pub(crate) fn not_found(description: impl Into<String>) -> Error {
    with(AmqpError::NotFound, description)
}

/// `amqp:unauthorized-access`: no token, a wrong one, or one that has expired.
pub(crate) fn unauthorized(description: impl Into<String>) -> Error {
    with(AmqpError::UnauthorizedAccess, description)
}

/// `amqp:unauthorized-access`: a token without the right that is needed.
pub(crate) fn lacks(right: Right, address: &str) -> Error {
    unauthorized(lacking(right, address))
}

/// What the service says of a token without the right that is needed.
pub(crate) fn lacking(right: Right, resource: &str) -> String {
    format!(
        "Unauthorized access. '{}' claim(s) are required to perform this operation. Resource: '{resource}'.",
        right.name()
    )
}

/// `amqp:not-implemented`: the service has it, this emulator has not.
pub(crate) fn not_implemented(description: impl Into<String>) -> Error {
    with(AmqpError::NotImplemented, description)
}

/// `amqp:not-allowed`: the request makes no sense for this entity.
pub(crate) fn not_allowed(description: impl Into<String>) -> Error {
    with(AmqpError::NotAllowed, description)
}

/// `amqp:decode-error`: a message or a field that could not be read.
pub(crate) fn decode(description: impl Into<String>) -> Error {
    with(AmqpError::DecodeError, description)
}

/// `amqp:internal-error`: a bug in the emulator.
pub(crate) fn internal(description: impl Into<String>) -> Error {
    with(AmqpError::InternalError, description)
}

/// `amqp:link:message-size-exceeded`: more than the entity takes.
pub(crate) fn message_too_large(description: impl Into<String>) -> Error {
    with(LinkError::MessageSizeExceeded, description)
}

/// `amqp:link:stolen`: another receiver came with a higher epoch.
pub(crate) fn stolen(description: impl Into<String>) -> Error {
    with(LinkError::Stolen, description)
}

/// What a link is detached with on purpose.
pub(crate) fn injected(rule: &FaultRule) -> Error {
    let description = "Detached by an injected fault.";
    match &rule.condition {
        Some(condition) => custom(condition, description),
        None => detach_forced(description),
    }
}

/// `amqp:link:detach-forced`: the broker wants the client to attach again.
pub(crate) fn detach_forced(description: impl Into<String>) -> Error {
    with(LinkError::DetachForced, description)
}

/// `amqp:connection:forced`: the broker goes away.
pub(crate) fn connection_forced(description: impl Into<String>) -> Error {
    with(ConnectionError::ConnectionForced, description)
}

/// `com.microsoft:server-busy`: try again later.
pub(crate) fn server_busy(description: impl Into<String>) -> Error {
    custom("com.microsoft:server-busy", description)
}

pub(super) fn with(condition: impl Into<ErrorCondition>, description: impl Into<String>) -> Error {
    Error::new(condition, Some(description.into()), None)
}

/// The condition as the symbol that is on the wire.
pub(crate) fn condition(error: &Error) -> String {
    match &error.condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition),
        ErrorCondition::SessionError(condition) => Symbol::from(condition),
        ErrorCondition::LinkError(condition) => Symbol::from(condition),
        ErrorCondition::Custom(condition) => condition.clone(),
        ErrorCondition::TransactionError(condition) => Symbol::from(condition),
    }
    .into_inner()
}
