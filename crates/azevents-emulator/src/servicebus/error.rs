//! What the broker refuses, with the condition Service Bus itself would answer.

/// A refusal. [`condition`](Self::condition) is what travels to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BrokerError {
    /// The lock expired, or the message was already settled.
    #[error("The lock supplied is invalid: it expired, or the message has already been settled.")]
    MessageLockLost,
    /// The session's lock expired, or the receiver never held it.
    #[error("The session lock has expired on the session. Accept a new session receiver.")]
    SessionLockLost,
    /// Another receiver holds the session.
    #[error("The requested session '{0}' cannot be accepted. It may be locked by another receiver.")]
    SessionCannotBeLocked(String),
    /// No message with this sequence number is in the state asked for.
    #[error("The message with sequence number {0} was not found.")]
    MessageNotFound(i64),
    /// Nothing has this address.
    #[error("The messaging entity '{0}' could not be found.")]
    EntityNotFound(String),
    /// Something of this name is there already.
    #[error("'{0}' already exists.")]
    AlreadyExists(String),
    /// Nothing became available in the time the client was ready to wait.
    #[error("The operation did not complete within the allotted time.")]
    Timeout,
    /// The broker asks the client to come back later.
    #[error("The server is busy. Please wait and try again.")]
    ServerBusy,
    /// The message or batch is larger than the tier of the namespace allows.
    #[error("The received message (size {size} bytes) exceeds the limit ({limit} bytes).")]
    MessageTooLarge {
        /// Encoded size in bytes.
        size: u64,
        /// The namespace's limit in bytes.
        limit: u64,
    },
    /// The properties of a message, together, are larger than the service takes. In the service it is the serializer
    /// that says so, by this condition and with the words about the stream.
    #[error(
        "The message's header ({0} bytes of properties and annotations) can't be stored: the size quota for this stream \
         (65536) has been exceeded."
    )]
    HeaderTooLarge(usize),
    /// One property of a message is larger than the service takes. It answers as if it had failed itself.
    #[error("The service was unable to process the request: the property '{0}' of the message is larger than 32 KB.")]
    PropertyTooLarge(String),
    /// The bytes are no AMQP message, or no request of the operation's form.
    #[error("{0}")]
    Malformed(String),
    /// A number or a time is not within its limits.
    #[error("{0}")]
    OutOfRange(String),
    /// The entity's settings or the arguments don't allow this.
    #[error("{0}")]
    NotAllowed(String),
    /// There is no such transaction on this connection, or not any more.
    #[error("Transaction hasn't been declared yet, or has already been discharged.")]
    UnknownTransaction,
    /// A transaction was open for too long, and nothing of it has happened.
    #[error("The transaction took longer than two minutes and was rolled back.")]
    TransactionTimeout,
    /// A transaction could not be committed, and nothing of it has happened.
    #[error("The transaction was rolled back: {0}")]
    RolledBack(String),
    /// The token has not the right that this needs.
    #[error("{0}")]
    Unauthorized(String),
    /// The entity is suspended.
    #[error("Messaging entity {0}")]
    EntityDisabled(String),
    /// There is no room for more.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The state could not be written down.
    #[error("{0}")]
    Internal(String),
    /// The service can do this, the emulator can't.
    #[error("{0} is not supported by this emulator.")]
    NotSupported(String),
}

impl BrokerError {
    /// The AMQP error condition, as the service's clients know it.
    pub(crate) fn condition(&self) -> &'static str {
        match self {
            Self::MessageLockLost => "com.microsoft:message-lock-lost",
            Self::SessionLockLost => "com.microsoft:session-lock-lost",
            Self::SessionCannotBeLocked(_) => "com.microsoft:session-cannot-be-locked",
            Self::MessageNotFound(_) => "com.microsoft:message-not-found",
            Self::EntityNotFound(_) => "amqp:not-found",
            Self::AlreadyExists(_) => "com.microsoft:entity-already-exists",
            Self::Timeout => "com.microsoft:timeout",
            Self::ServerBusy => "com.microsoft:server-busy",
            Self::MessageTooLarge { .. } | Self::HeaderTooLarge(_) => "amqp:link:message-size-exceeded",
            Self::Malformed(_) => "com.microsoft:argument-error",
            Self::OutOfRange(_) => "com.microsoft:argument-out-of-range",
            Self::NotAllowed(_) => "amqp:not-allowed",
            Self::UnknownTransaction => "amqp:transaction:unknown-id",
            Self::TransactionTimeout => "amqp:transaction:timeout",
            Self::RolledBack(_) => "amqp:transaction:rollback",
            Self::Unauthorized(_) => "amqp:unauthorized-access",
            Self::EntityDisabled(_) => "com.microsoft:entity-disabled",
            Self::QuotaExceeded(_) => "amqp:resource-limit-exceeded",
            Self::Internal(_) | Self::PropertyTooLarge(_) => "amqp:internal-error",
            Self::NotSupported(_) => "amqp:not-implemented",
        }
    }

    /// The HTTP-like status of a `$management` reply.
    pub(crate) fn status_code(&self) -> i32 {
        match self {
            Self::MessageLockLost | Self::SessionLockLost | Self::SessionCannotBeLocked(_) => 410,
            Self::MessageNotFound(_) | Self::EntityNotFound(_) | Self::UnknownTransaction => 404,
            Self::Unauthorized(_) => 401,
            Self::AlreadyExists(_) => 409,
            Self::Timeout | Self::TransactionTimeout => 408,
            Self::QuotaExceeded(_) | Self::EntityDisabled(_) => 403,
            Self::ServerBusy => 503,
            Self::MessageTooLarge { .. }
            | Self::HeaderTooLarge(_)
            | Self::Malformed(_)
            | Self::OutOfRange(_)
            | Self::NotAllowed(_)
            | Self::RolledBack(_) => 400,
            Self::Internal(_) | Self::PropertyTooLarge(_) => 500,
            Self::NotSupported(_) => 501,
        }
    }
}
