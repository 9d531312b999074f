//! Messages as records: which header carries what.

use std::collections::BTreeMap;

use azevents_core::Message;
use bytes::Bytes;
use rdkafka::message::{Header, Headers, Message as Record, OwnedHeaders};

/// A record has a key and a body; the other fields of a message are headers.
const ID: &str = "azevents-id";
const EVENT_TYPE: &str = "azevents-type";
const CONTENT_TYPE: &str = "content-type";

/// The record's headers.
pub(crate) fn headers(message: &Message) -> OwnedHeaders {
    let own = [
        (ID, &message.id),
        (EVENT_TYPE, &message.event_type),
        (CONTENT_TYPE, &message.content_type),
    ];
    let users = message.headers.iter().map(|(name, value)| (name.as_str(), value));
    own.into_iter()
        .chain(users)
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value.as_bytes()),
            })
        })
}

/// A record as a message. Records of other publishers may lack what ours always carry: an id is then made
/// of where the record is. A header that is no UTF-8 is left out, and in a key such bytes are replaced.
pub(crate) fn decode(record: &impl Record) -> Message {
    let mut headers: BTreeMap<String, String> = record
        .headers()
        .into_iter()
        .flat_map(Headers::iter)
        .filter_map(|header| {
            let value = std::str::from_utf8(header.value?).ok()?;
            Some((header.key.to_owned(), value.to_owned()))
        })
        .collect();
    let id = headers.remove(ID);
    Message {
        id: id.unwrap_or_else(|| format!("{}/{}/{}", record.topic(), record.partition(), record.offset())),
        key: String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned(),
        event_type: headers.remove(EVENT_TYPE).unwrap_or_default(),
        content_type: headers.remove(CONTENT_TYPE).unwrap_or_default(),
        body: Bytes::copy_from_slice(record.payload().unwrap_or_default()),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    fn record(key: &[u8], headers: Option<OwnedHeaders>) -> OwnedMessage {
        let (body, key) = (Some(b"{}".to_vec()), Some(key.to_vec()));
        OwnedMessage::new(body, key, "orders".into(), Timestamp::NotAvailable, 3, 17, headers)
    }

    #[test]
    fn every_field_survives_the_wire() {
        let message = Message {
            id: "7f".into(),
            key: "order-536365".into(),
            event_type: "LineAdded".into(),
            content_type: "application/json".into(),
            body: Bytes::from_static(b"{}"),
            headers: [("azevents-version".to_owned(), "3".to_owned())].into(),
        };
        assert_eq!(decode(&record(b"order-536365", Some(headers(&message)))), message);
    }

    #[test]
    fn a_record_of_another_publisher_gets_an_id_of_its_place() {
        let foreign = OwnedHeaders::new().insert(Header {
            key: "raw",
            value: Some(&[0xff][..]),
        });
        let decoded = decode(&record(b"", Some(foreign)));
        assert_eq!((decoded.id.as_str(), decoded.key.as_str()), ("orders/3/17", ""));
        assert!(decoded.headers.is_empty());
    }
}
