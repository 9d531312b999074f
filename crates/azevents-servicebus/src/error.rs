//! One error for the whole client: what kind of failure, of which operation, on which entity, whether
//! waiting can help, and what to do next.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The connection string or an option cannot be used.
    Configuration,
    /// The credential was refused, or does not carry the right for this entity.
    Unauthorized,
    /// The queue, topic or subscription does not exist.
    EntityNotFound,
    /// There is a queue, topic, subscription or rule of that name already.
    AlreadyExists,
    /// The entity exists and is switched off.
    EntityDisabled,
    /// The namespace cannot be reached, or the connection was lost.
    Connection,
    /// The link was detached by the service; it is opened again by the next call.
    LinkLost,
    /// No answer came in time: the operation may or may not have happened.
    Timeout,
    /// The service asked for a pause.
    ServerBusy,
    /// The service failed in a way that it calls temporary.
    ServiceUnavailable,
    /// The entity is full, or a limit on connections or links is reached.
    QuotaExceeded,
    /// The message is larger than the link takes.
    MessageTooLarge,
    /// The lock on the message expired or was taken away: the message comes again.
    MessageLockLost,
    /// The lock on the session expired or its link was lost: another receiver may hold the session.
    SessionLockLost,
    /// Another receiver holds the session.
    SessionCannotBeLocked,
    /// No message with that sequence number.
    MessageNotFound,
    /// The transaction was rolled back: nothing of it has happened.
    TransactionFailed,
    /// The service refused an argument.
    InvalidArgument,
    /// The client, sender or receiver was closed by its owner.
    Closed,
    /// Anything else, with the service's own condition in [`Error::condition`].
    Other,
}

impl ErrorKind {
    /// Whether the same call may succeed later without any change.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::LinkLost | Self::Timeout | Self::ServerBusy | Self::ServiceUnavailable
        )
    }

    /// What the reader of the error can do about it.
    const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Unauthorized => "check the key or role assignment (Azure Service Bus Data Sender, Receiver or Owner)",
            Self::EntityNotFound => "create the entity or correct its name",
            Self::AlreadyExists => "update or delete it, or choose another name",
            Self::EntityDisabled => "enable the entity",
            Self::Connection => "check the host name, DNS, and that a firewall lets its port out",
            Self::QuotaExceeded => "drain the entity or raise its quota",
            Self::MessageTooLarge => "send a smaller body, or put it in a blob and send its address",
            Self::MessageLockLost => "the message will be delivered again; renew the lock or raise the lock duration",
            Self::SessionLockLost => "accept the session again",
            Self::SessionCannotBeLocked => "another receiver holds the session; try later",
            Self::TransactionFailed => "do all of it again in a new transaction",
            Self::ServerBusy => "wait and retry",
            _ => return None,
        })
    }
}

/// A failed operation. `Display` is one line; it never contains a secret. Clones share the cause.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: Option<&'static str>,
    entity: Option<String>,
    message: Cow<'static, str>,
    condition: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation: None,
            entity: None,
            message: message.into(),
            condition: None,
            source: None,
        }))
    }

    pub(crate) fn configuration(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Configuration, message)
    }

    pub(crate) fn timeout(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Timeout, message)
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    pub(crate) fn with_condition(mut self, condition: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).condition = Some(condition.into());
        self
    }

    /// Names what was attempted and on what, unless something closer to the cause already has.
    pub(crate) fn during(mut self, operation: &'static str, entity: &str) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.operation.get_or_insert(operation);
        inner.entity.get_or_insert_with(|| entity.to_owned());
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        self.0.kind.is_transient()
    }

    /// What was attempted: `send`, `complete`, `accept session`.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The entity it was attempted on, as in `orders/Subscriptions/billing`.
    pub fn entity(&self) -> Option<&str> {
        self.0.entity.as_deref()
    }

    /// The service's own name for the error, as in `com.microsoft:message-lock-lost`.
    pub fn condition(&self) -> Option<&str> {
        self.0.condition.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (inner.operation, &inner.entity) {
            (Some(operation), Some(entity)) => write!(f, "{operation} {entity}: ")?,
            (Some(operation), None) => write!(f, "{operation}: ")?,
            (None, Some(entity)) => write!(f, "{entity}: ")?,
            (None, None) => {}
        }
        // The service ends its own messages with tracking ids on further lines; one line is promised.
        f.write_str(inner.message.lines().next().unwrap_or_default())?;
        if let Some(condition) = &inner.condition {
            write!(f, " ({condition})")?;
        }
        if let Some(advice) = inner.kind.advice() {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("entity", &self.0.entity)
            .field("message", &self.0.message)
            .field("condition", &self.0.condition)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_that_names_operation_entity_cause_and_remedy() {
        let error = Error::new(ErrorKind::EntityNotFound, "no such entity\nTrackingId:1")
            .with_condition("amqp:not-found")
            .during("send", "orders")
            .during("publish", "ignored");
        assert_eq!(
            error.to_string(),
            "send orders: no such entity (amqp:not-found); create the entity or correct its name"
        );
    }
}
