//! Messages for tests, encoded by the client library's types rather than by the code under test.

use bytes::Bytes;
use fe2o3_amqp_types::{
    messaging::{
        ApplicationProperties, Body, Data, Header, MessageAnnotations, Properties,
        annotations::OwnedKey,
        message::{
            __private::{Deserializable, Serializable},
            Message as AmqpMessage,
        },
    },
    primitives::{Binary, SimpleValue, Symbol, Timestamp, Value},
};

use super::Message;

/// A message to be encoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) id: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) ttl_ms: Option<u32>,
    pub(crate) scheduled_at_ms: Option<i64>,
    pub(crate) partition_key: Option<String>,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Sample {
    pub(crate) fn body(body: impl AsRef<[u8]>) -> Self {
        Self {
            body: body.as_ref().to_vec(),
            ..Self::default()
        }
    }

    pub(crate) fn id(mut self, id: &str) -> Self {
        self.id = Some(id.into());
        self
    }

    pub(crate) fn session(mut self, session: &str) -> Self {
        self.session = Some(session.into());
        self
    }

    pub(crate) fn ttl_ms(mut self, ttl: u32) -> Self {
        self.ttl_ms = Some(ttl);
        self
    }

    pub(crate) fn scheduled_at_ms(mut self, at: i64) -> Self {
        self.scheduled_at_ms = Some(at);
        self
    }

    pub(crate) fn partition_key(mut self, key: &str) -> Self {
        self.partition_key = Some(key.into());
        self
    }

    pub(crate) fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut annotations = MessageAnnotations::default();
        if let Some(at) = self.scheduled_at_ms {
            annotations.insert(
                OwnedKey::Symbol(Symbol::from("x-opt-scheduled-enqueue-time")),
                Value::Timestamp(Timestamp::from_milliseconds(at)),
            );
        }
        if let Some(key) = &self.partition_key {
            let name = OwnedKey::Symbol(Symbol::from("x-opt-partition-key"));
            annotations.insert(name, Value::String(key.clone()));
        }
        // What a received message carries when it is sent on.
        annotations.insert(
            OwnedKey::Symbol(Symbol::from("x-opt-sequence-number")),
            Value::Long(4711),
        );
        let mut application = ApplicationProperties::default();
        for (name, value) in &self.properties {
            application.insert(name.clone(), SimpleValue::String(value.clone()));
        }
        let message: AmqpMessage<Body<Value>> = AmqpMessage {
            header: Some(Header {
                ttl: self.ttl_ms,
                durable: true,
                ..Header::default()
            }),
            delivery_annotations: None,
            message_annotations: Some(annotations),
            properties: Some(Properties {
                message_id: self.id.clone().map(Into::into),
                group_id: self.session.clone(),
                ..Properties::default()
            }),
            application_properties: (!self.properties.is_empty()).then_some(application),
            body: Body::Data(vec![Data(Binary::from(self.body.clone()))].into()),
            footer: None,
        };
        serde_amqp::to_vec(&Serializable(message)).unwrap().into()
    }

    pub(crate) fn message(&self) -> Message {
        Message::decode(&self.encode()).unwrap()
    }
}

/// Reads what would go to a client.
pub(crate) fn decode(encoded: &[u8]) -> AmqpMessage<Body<Value>> {
    serde_amqp::from_slice::<Deserializable<_>>(encoded).unwrap().0
}

/// The bytes of a body of data sections.
pub(crate) fn body(message: &AmqpMessage<Body<Value>>) -> Vec<u8> {
    match &message.body {
        Body::Data(sections) => sections.iter().flat_map(|data| data.0.to_vec()).collect(),
        other => panic!("expected data, got {other:?}"),
    }
}
