//! One error for every trait: what kind of failure, of which operation, on what, and whether waiting
//! can help.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// What went wrong, in terms a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input breaks a documented rule. Retrying the same input cannot help.
    InvalidInput,
    /// The input is larger than the service takes. Nothing was written.
    TooLarge,
    /// The stream, entity, container or document does not exist.
    NotFound,
    /// Another owner holds what the caller thought it held (a lease, a lock, an etag).
    Conflict,
    /// The stream was closed for ever: nothing can be appended to it.
    Closed,
    /// The credential was refused.
    Unauthorized,
    /// The service asked for a pause; see [`Error::retry_after`].
    Throttled,
    /// The service cannot be reached or is failing over.
    Unavailable,
    /// No answer came: the operation may or may not have happened.
    OutcomeUnknown,
    /// Stored or received data could not be decoded.
    Corrupt,
    /// The operation was stopped by its caller.
    Cancelled,
    /// What the implementation cannot do.
    Unsupported,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Whether the same call may succeed later without any change.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::OutcomeUnknown)
    }
}

/// A failed operation. `Display` is one line; the cause is the [`source`](StdError::source).
///
/// ```
/// use azevents_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Throttled, "append", "order-536365").with_message("429");
/// assert!(error.is_transient());
/// assert_eq!(error.to_string(), "append order-536365: 429");
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    subject: String,
    message: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

impl Error {
    /// A failure of `operation` on `subject` (a stream, an entity, a document).
    pub fn new(kind: ErrorKind, operation: &'static str, subject: impl fmt::Display) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            subject: subject.to_string(),
            message: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Says what happened and what to do next.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Records how long the service asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
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

    /// What was attempted: `append`, `publish`, `renew lease`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The stream, entity or document it was attempted on.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// How long the service asked to wait, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.0.operation, self.0.subject)?;
        match (&self.0.message, &self.0.source) {
            (Some(message), _) => f.write_str(message),
            (None, Some(source)) => write!(f, "{source}"),
            (None, None) => write!(f, "{:?}", self.0.kind),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The whole chain of an error in one line, outermost first.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        // Many wrappers repeat their source in their own text: saying it twice helps nobody.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = next.source();
    }
    line
}
