//! Events as publishers send them, and the annotations that readers get with them.

use bytes::Bytes;
use fe2o3_amqp_types::messaging::{MessageAnnotations, annotations::OwnedKey};
use serde_amqp::{
    Value,
    primitives::{Symbol, Timestamp},
};

use super::producers::{self, Identity, Numbers};
use crate::amqp::{
    IncomingDelivery, binary, code, decode,
    error::{self, Error},
    sections,
};

/// Message format of a batch: a message whose data sections are messages ("Service Bus AMQP
/// protocol guide", also used by Event Hubs).
const BATCH: u32 = 0x8001_3700;

const PARTITION_KEY: &str = "x-opt-partition-key";
const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
const OFFSET: &str = "x-opt-offset";
const ENQUEUED_TIME: &str = "x-opt-enqueued-time";

/// One event, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Event {
    annotations: MessageAnnotations,
    /// Properties, application properties and body, as they came.
    bare: Bytes,
}

/// The events of a publication, and the key that decides their partition.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) key: Option<String>,
    pub(super) events: Vec<Event>,
}

impl Publication {
    /// Reads one message, or a batch of them. All events of a batch go to one partition.
    pub(super) fn read(delivery: &IncomingDelivery) -> Result<Self, Error> {
        let envelope = Event::read(&delivery.message)?;
        let key = envelope.partition_key();
        if delivery.format != BATCH {
            return Ok(Self {
                key,
                events: vec![envelope],
            });
        }
        let mut events = Vec::new();
        for section in sections(&delivery.message)? {
            if section.code == code::DATA {
                let mut event = Event::read(&binary(&section.value)?)?;
                if let (Some(key), None) = (&key, event.partition_key()) {
                    event.annotate(PARTITION_KEY, Value::String(key.clone()));
                }
                events.push(event);
            }
        }
        let key = key.or_else(|| events.first().and_then(Event::partition_key));
        Ok(Self { key, events })
    }

    /// The numbers its idempotent publisher gave the events, which must be one after the other.
    pub(super) fn numbers(&self, identity: &Identity) -> Result<Option<Numbers>, Error> {
        let numbers: Vec<i32> = (self.events.iter())
            .map(|event| event.number_from(identity))
            .collect::<Result<_, _>>()?;
        let pairs = numbers.iter().zip(numbers.iter().skip(1));
        if let Some((before, number)) = pairs
            .into_iter()
            .find(|(before, number)| producers::next(**before) != **number)
        {
            return Err(error::custom(
                "com.microsoft:out-of-order-sequence",
                format!("The event {number} of a batch follows the event {before}."),
            ));
        }
        let (first, last) = (numbers.first().copied(), numbers.last().copied());
        Ok(first.zip(last).map(|(first, last)| Numbers { first, last }))
    }
}

impl Event {
    fn read(message: &Bytes) -> Result<Self, Error> {
        let mut annotations = MessageAnnotations::default();
        let mut bare: Option<usize> = None;
        for section in sections(message)? {
            match section.code {
                code::HEADER | code::DELIVERY_ANNOTATIONS => {}
                code::MESSAGE_ANNOTATIONS => {
                    annotations = decode(&section.encoded)?;
                }
                // The sections have an order, so the first other one starts the bare message.
                _ => {
                    bare.get_or_insert(section.encoded.as_ptr() as usize - message.as_ptr() as usize);
                }
            }
        }
        Ok(Self {
            annotations,
            bare: bare.map_or_else(Bytes::new, |start| message.slice(start..)),
        })
    }

    /// The number its idempotent publisher gave it, once it is clear that it is that publisher's.
    fn number_from(&self, identity: &Identity) -> Result<i32, Error> {
        let annotation = |name| self.annotations.0.get(&key(name)).and_then(integer);
        let theirs = (annotation(producers::ID), annotation(producers::EPOCH));
        let number = annotation(producers::SEQUENCE).and_then(|number| i32::try_from(number).ok());
        match number {
            Some(number) if number >= 0 && theirs == (Some(identity.id), Some(i64::from(identity.epoch))) => Ok(number),
            _ => Err(error::custom(
                "com.microsoft:argument-error",
                format!(
                    "An event on a link of an idempotent producer needs the annotations {} {}, {} {} and {}.",
                    producers::ID,
                    identity.id,
                    producers::EPOCH,
                    identity.epoch,
                    producers::SEQUENCE
                ),
            )),
        }
    }

    fn partition_key(&self) -> Option<String> {
        match self.annotations.0.get(&key(PARTITION_KEY))? {
            Value::String(key) => Some(key.clone()),
            Value::Symbol(key) => Some(key.as_str().to_owned()),
            Value::Binary(key) => String::from_utf8(key.to_vec()).ok(),
            _ => None,
        }
    }

    fn annotate(&mut self, name: &str, value: Value) {
        self.annotations.0.insert(key(name), value);
    }

    /// The event as a reader gets it: the annotations section with its place in the log, and the
    /// bare message.
    pub(super) fn place(mut self, sequence: i64, offset: &str, enqueued_millis: i64) -> [Bytes; 2] {
        self.annotate(SEQUENCE_NUMBER, Value::Long(sequence));
        self.annotate(OFFSET, Value::from(offset));
        let time = Timestamp::from_milliseconds(enqueued_millis);
        self.annotate(ENQUEUED_TIME, Value::Timestamp(time));
        let annotations = serde_amqp::to_vec(&self.annotations).unwrap_or_default();
        [Bytes::from(annotations), self.bare]
    }
}

/// An integer of any width: clients differ in what they take for small ones.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::Byte(n) => Some(n.into()),
        Value::Short(n) => Some(n.into()),
        Value::Int(n) => Some(n.into()),
        Value::Long(n) => Some(n),
        Value::Ubyte(n) => Some(n.into()),
        Value::Ushort(n) => Some(n.into()),
        Value::Uint(n) => Some(n.into()),
        Value::Ulong(n) => n.try_into().ok(),
        _ => None,
    }
}

fn key(name: &str) -> OwnedKey {
    OwnedKey::from(Symbol::from(name))
}
