//! What a reader may ask to be told with each event: how far its partition goes by now.
//!
//! Capability and names are those of the clients' constants, for example azure-sdk-for-python
//! `azure/eventhub/_constants.py`.

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::messaging::{DeliveryAnnotations, annotations::OwnedKey};
use serde_amqp::{
    Value,
    primitives::{Symbol, Timestamp},
};

use super::partition::Partition;

/// What a reader desires that wants to be told.
pub(super) const CAPABILITY: &str = "com.microsoft:enable-receiver-runtime-metric";

/// The delivery annotations with the end of the partition as it is now, and then what a message begins with.
pub(super) fn before(message: &Bytes, partition: &Partition) -> Bytes {
    let of = partition.properties();
    let time = |millis| Value::Timestamp(Timestamp::from_milliseconds(millis));
    let values = [
        ("last_enqueued_sequence_number", Value::Long(of.last_sequence)),
        ("last_enqueued_offset", Value::String(partition.last_offset_text(&of))),
        ("last_enqueued_time_utc", time(of.last_enqueued_millis)),
        ("runtime_info_retrieval_time_utc", time(partition.now().as_millis())),
    ];
    let mut annotations = DeliveryAnnotations::default();
    for (name, value) in values {
        annotations.0.insert(OwnedKey::from(Symbol::from(name)), value);
    }
    let annotations = serde_amqp::to_vec(&annotations).unwrap_or_default();
    let mut both = BytesMut::with_capacity(annotations.len() + message.len());
    both.extend_from_slice(&annotations);
    both.extend_from_slice(message);
    both.freeze()
}
