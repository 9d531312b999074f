//! Several messages in one AMQP transfer.

use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::types::messaging::{Batch, Body, Data, Message, Properties};
use fe2o3_amqp::types::primitives::{Binary, Value};

use super::{ServiceBusMessage, wire};
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::Creation;

/// Marks a transfer whose data sections are encoded messages (Azure Service Bus AMQP protocol guide).
const BATCH_FORMAT: u32 = 0x8001_3700;
/// Largest framing of a data section: descriptor and a four-byte length.
const SECTION_OVERHEAD: usize = 8;
/// Framing of the envelope's own sections, without the ids in them.
const ENVELOPE_OVERHEAD: usize = 64;

/// Messages that travel, and are accepted, together: all or none. Made by
/// [`Sender::create_batch`](crate::Sender::create_batch), which knows how much the link takes.
#[derive(Debug, Clone)]
pub struct MessageBatch {
    max_bytes: usize,
    bytes: usize,
    /// The first message; alone it is sent as it is, else its keys stand on the envelope.
    first: Option<ServiceBusMessage>,
    encoded: Vec<Vec<u8>>,
    creation: Creation,
}

impl MessageBatch {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            first: None,
            encoded: Vec::new(),
            creation: Creation::default(),
        }
    }

    /// Tells of messages that are added.
    pub(crate) fn with_creation(mut self, creation: Creation) -> Self {
        self.creation = creation;
        self
    }

    /// What is known about the making of its messages.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn creation(&self) -> &Creation {
        &self.creation
    }

    /// Adds a message where there is room; `false` leaves the batch as it was: send it, and add the
    /// message to a new one.
    ///
    /// # Errors
    /// [`ErrorKind::MessageTooLarge`] for a message that not even an empty batch has room for.
    pub fn try_add(&mut self, message: &ServiceBusMessage) -> Result<bool> {
        message.check()?;
        let encoded = wire::encode(&wire::to_amqp(message))?;
        if encoded.len() > self.max_bytes {
            let id = message.message_id.as_deref().unwrap_or("without an id");
            return Err(Error::new(
                ErrorKind::MessageTooLarge,
                format!(
                    "message {id} has {} bytes, the link takes {}",
                    encoded.len(),
                    self.max_bytes
                ),
            ));
        }
        if !self.has_room(&encoded) {
            return Ok(false);
        }
        // With what it gets for its trace it may be too large: then it goes as it is.
        if let Some(stamped) = self.creation.stamped(message)
            && let Ok(encoded) = wire::encode(&wire::to_amqp(&stamped))
            && self.has_room(&encoded)
        {
            self.add(&stamped, encoded);
        } else {
            self.add(message, encoded);
        }
        Ok(true)
    }

    fn has_room(&self, encoded: &[u8]) -> bool {
        // Alone, it goes without an envelope and may use the whole limit.
        let before = if self.is_empty() {
            0
        } else {
            self.bytes + SECTION_OVERHEAD
        };
        before + encoded.len() <= self.max_bytes
    }

    fn add(&mut self, message: &ServiceBusMessage, encoded: Vec<u8>) {
        if self.is_empty() {
            self.bytes = envelope_bytes(message);
            self.first = Some(message.clone());
        }
        self.bytes += SECTION_OVERHEAD + encoded.len();
        self.encoded.push(encoded);
        self.creation.added(message);
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.encoded.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Bytes on the wire, estimated from above.
    pub fn size_in_bytes(&self) -> usize {
        self.bytes
    }

    /// The most bytes that the link takes.
    pub fn max_size_in_bytes(&self) -> usize {
        self.max_bytes
    }

    pub(crate) fn into_sendable(self) -> Option<Sendable<Body<Value>>> {
        let first = self.first?;
        if self.encoded.len() == 1 {
            return Some(Sendable::from(wire::to_amqp(&first)));
        }
        // The envelope repeats the keys of its first message, as the official clients do: the service
        // routes a batch by them.
        let message = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: wire::annotations(&ServiceBusMessage {
                partition_key: first.partition_key.clone(),
                ..ServiceBusMessage::default()
            }),
            properties: Some(Properties {
                message_id: first.message_id.clone().map(Into::into),
                group_id: first.session_id.clone(),
                ..Properties::default()
            }),
            application_properties: None,
            body: Body::Data(Batch::from(
                self.encoded
                    .into_iter()
                    .map(|bytes| Data(Binary::from(bytes)))
                    .collect::<Vec<_>>(),
            )),
            footer: None,
        };
        Some(Sendable {
            message,
            message_format: BATCH_FORMAT,
            settled: None,
        })
    }
}

fn envelope_bytes(first: &ServiceBusMessage) -> usize {
    let text = |text: &Option<String>| text.as_deref().map_or(0, str::len);
    ENVELOPE_OVERHEAD + text(&first.message_id) + text(&first.session_id) + text(&first.partition_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(id: usize, size: usize) -> ServiceBusMessage {
        ServiceBusMessage::new(vec![0; size])
            .with_message_id(id.to_string())
            .with_session_id("s")
    }

    #[test]
    fn a_message_that_fits_nowhere_is_refused_by_name_and_size() {
        let error = MessageBatch::new(1000).try_add(&message(7, 2000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
        assert!(error.to_string().contains("message 7 has 20"), "{error}");
    }

    #[test]
    fn a_single_message_is_sent_without_an_envelope() {
        let mut batch = MessageBatch::new(1000);
        assert!(batch.try_add(&message(1, 10)).unwrap());
        assert_eq!(batch.into_sendable().unwrap().message_format, 0);
    }

    proptest! {
        #[test]
        fn a_batch_never_exceeds_its_limit_on_the_wire(sizes in proptest::collection::vec(0usize..600, 1..40)) {
            let mut batch = MessageBatch::new(4096);
            for (id, size) in sizes.into_iter().enumerate() {
                if !batch.try_add(&message(id, size)).unwrap() { break }
            }
            let estimated = batch.size_in_bytes();
            let sendable = batch.into_sendable().unwrap();
            let actual = wire::encode(&sendable.message).unwrap().len();
            prop_assert!(actual <= 4096 && actual <= estimated, "{actual} {estimated}");
        }
    }
}
