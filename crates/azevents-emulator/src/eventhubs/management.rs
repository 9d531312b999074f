//! `$management`: the properties of hubs and partitions, read by every official client.
//!
//! Names of operations, types and fields are those of the clients' own constants, for example
//! azure-sdk-for-python `azure/eventhub/_constants.py`.

use std::sync::Arc;

use async_trait::async_trait;
use fe2o3_amqp_types::{
    definitions::ErrorCondition,
    messaging::{AmqpValue, ApplicationProperties, Body, Message},
    primitives::{OrderedMap, SimpleValue},
};
use serde_amqp::{
    Value,
    primitives::{Array, Symbol, Timestamp},
};

use super::{broker::Hubs, hub::Hub};
use crate::amqp::{
    Request, RequestHandler, RequestMessage,
    error::{self, Error},
};

const EVENT_HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

/// Answers for the whole namespace.
pub(super) struct Management {
    pub(super) hubs: Arc<Hubs>,
}

type Map = OrderedMap<Value, Value>;

#[async_trait]
impl RequestHandler for Management {
    async fn handle(&self, request: Request) -> RequestMessage {
        match self.read(&request.message) {
            Ok(map) => response(200, "OK", None, Value::Map(map)),
            Err(error) => {
                let status = match &error.condition {
                    ErrorCondition::AmqpError(fe2o3_amqp_types::definitions::AmqpError::NotFound) => 404,
                    _ => 400,
                };
                let description = error.description.clone().unwrap_or_default();
                response(status, &description, Some(&error), Value::Map(Map::new()))
            }
        }
    }
}

impl Management {
    fn read(&self, request: &RequestMessage) -> Result<Map, Error> {
        let property = |name: &str| {
            let properties = request.application_properties.as_ref()?;
            match properties.0.get(name)? {
                SimpleValue::String(text) => Some(text.clone()),
                SimpleValue::Symbol(symbol) => Some(symbol.as_str().to_owned()),
                SimpleValue::Int(number) => Some(number.to_string()),
                SimpleValue::Long(number) => Some(number.to_string()),
                _ => None,
            }
        };
        let required =
            |name: &str| property(name).ok_or_else(|| bad_request(format!("The property '{name}' is missing.")));
        let operation = required("operation")?;
        if operation != "READ" {
            return Err(bad_request(format!(
                "Event Hubs' $management has no operation '{operation}', only READ."
            )));
        }
        let hub = self.hubs.get(&required("name")?)?;
        match required("type")?.as_str() {
            EVENT_HUB => Ok(hub_properties(&hub)),
            PARTITION => partition_properties(&hub, &required("partition")?),
            other => Err(bad_request(format!(
                "There is no type '{other}'; {EVENT_HUB} and {PARTITION} are read."
            ))),
        }
    }
}

fn bad_request(description: String) -> Error {
    error::custom("com.microsoft:argument-error", description)
}

fn hub_properties(hub: &Hub) -> Map {
    let ids = (0..hub.partitions.len()).map(|id| Value::String(id.to_string()));
    let created = (hub.created_at.unix_timestamp_nanos() / 1_000_000) as i64;
    map([
        ("name", Value::String(hub.name.clone())),
        ("type", Value::from(EVENT_HUB)),
        ("created_at", timestamp(created)),
        ("partition_count", Value::Int(hub.partitions.len() as i32)),
        ("partition_ids", Value::Array(Array(ids.collect()))),
    ])
}

fn partition_properties(hub: &Hub, id: &str) -> Result<Map, Error> {
    let partition = hub.partition(id)?;
    let of = partition.properties();
    Ok(map([
        ("name", Value::String(hub.name.clone())),
        ("type", Value::from(PARTITION)),
        ("partition", Value::from(id)),
        ("begin_sequence_number", Value::Long(of.begin_sequence)),
        ("last_enqueued_sequence_number", Value::Long(of.last_sequence)),
        // Counts failovers of a replicated namespace. The Rust client insists on it.
        ("last_enqueued_sequence_number_epoch", Value::Long(0)),
        ("last_enqueued_offset", Value::String(partition.last_offset_text(&of))),
        ("last_enqueued_time_utc", timestamp(of.last_enqueued_millis)),
        ("is_partition_empty", Value::Bool(of.is_empty)),
    ]))
}

fn timestamp(millis: i64) -> Value {
    Value::Timestamp(Timestamp::from_milliseconds(millis))
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Map {
    entries
        .into_iter()
        .map(|(name, value)| (Value::from(name), value))
        .collect()
}

fn response(status: i32, description: &str, error: Option<&Error>, body: Value) -> RequestMessage {
    let mut properties = OrderedMap::new();
    properties.insert("status-code".to_owned(), SimpleValue::Int(status));
    properties.insert(
        "status-description".to_owned(),
        SimpleValue::String(description.to_owned()),
    );
    if let Some(error) = error {
        let condition = error::condition(error);
        properties.insert(
            "error-condition".to_owned(),
            SimpleValue::Symbol(Symbol::from(condition)),
        );
    }
    Message::builder()
        .application_properties(ApplicationProperties(properties))
        .body(Body::Value(AmqpValue(body)))
        .build()
}
