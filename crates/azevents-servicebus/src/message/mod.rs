//! Messages: what is sent, what is received, and how both look on the wire.

mod batch;
mod outgoing;
mod property;
mod received;
mod value;
pub(crate) mod wire;

pub use batch::MessageBatch;
pub use outgoing::ServiceBusMessage;
pub use property::PropertyValue;
pub(crate) use received::{DEAD_LETTER_DESCRIPTION, DEAD_LETTER_REASON};
pub use received::{MessageState, ReceivedMessage};
pub use value::{AmqpBody, AmqpValue};

/// Application properties by name.
pub type Properties = std::collections::BTreeMap<String, PropertyValue>;
