//! The name of a stream: a category and an id, as in `order-536365`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// Longest name, in bytes: Service Bus takes session ids of 128 characters and Event Hubs partition
/// keys of 128, and the stream's name is both.
pub const MAX_STREAM_ID_LEN: usize = 128;

/// The identity of a stream. Cheap to clone.
///
/// What stands before the first `-` is the category, which groups streams of one aggregate type.
///
/// ```
/// use azevents_core::StreamId;
///
/// let stream: StreamId = "order-536365".parse()?;
/// assert_eq!(stream.category(), "order");
/// assert!(StreamId::new("").is_err());
/// # Ok::<(), azevents_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an empty name, one of more than [`MAX_STREAM_ID_LEN`] bytes, or
    /// one with a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let refuse = |why: String| {
            Err(Error::new(ErrorKind::InvalidInput, "name stream", format_args!("{name:?}")).with_message(why))
        };
        if name.is_empty() {
            return refuse("a stream's name must not be empty".into());
        }
        if name.len() > MAX_STREAM_ID_LEN {
            return refuse(format!(
                "{} bytes, but a stream's name takes at most {MAX_STREAM_ID_LEN}, the limit of a Service Bus session id",
                name.len()
            ));
        }
        if name.chars().any(char::is_control) {
            return refuse("a stream's name must not hold control characters".into());
        }
        Ok(Self(name.into()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `-`, or the whole name where there is none.
    pub fn category(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(category, _)| category)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StreamId {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl TryFrom<String> for StreamId {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl From<StreamId> for String {
    fn from(stream: StreamId) -> Self {
        stream.0.as_ref().to_owned()
    }
}
