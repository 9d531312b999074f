//! Messages by their sequence numbers: looking, receiving what was deferred, scheduling.

use fe2o3_amqp::types::primitives::{Binary, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{HeldSession, Management, Map, entry, field, items, longs, malformed, text, with_session};
use crate::amqp::rpc::Response;
use crate::amqp::values::{integer, map, timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{ReceivedMessage, ServiceBusMessage, wire};

impl Management {
    /// Looks at up to `count` messages from a sequence number on, without receiving them.
    pub(crate) async fn peek(
        &self,
        from: i64,
        count: u32,
        session: Option<HeldSession<'_>>,
    ) -> Result<Vec<ReceivedMessage>> {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let mut body = map([
            ("from-sequence-number", Value::Long(from)),
            ("message-count", Value::Int(count)),
        ]);
        with_session(&mut body, session);
        let peeking = self.observer.receiving("peek", &self.entity);
        let answer = self.call("peek", "com.microsoft:peek-message", body, session).await;
        let peeked = answer.and_then(|answer| {
            messages(&answer)?
                .map(|(bytes, _)| Ok(wire::from_amqp(wire::glance(bytes)?, None, None)))
                .collect()
        });
        peeking.end(&peeked);
        peeked
    }

    /// Receives deferred messages, with a lock each.
    pub(crate) async fn receive_deferred(
        &self,
        sequence_numbers: &[i64],
        peek_lock: bool,
        session: Option<HeldSession<'_>>,
    ) -> Result<Vec<ReceivedMessage>> {
        let mut body = map([
            ("sequence-numbers", longs(sequence_numbers)),
            // As in attach: 0 settles first, 1 second.
            ("receiver-settle-mode", Value::Uint(peek_lock.into())),
        ]);
        with_session(&mut body, session);
        let receiving = self.observer.receiving("receive_deferred", &self.entity);
        let answer = self.call(
            "receive deferred",
            "com.microsoft:receive-by-sequence-number",
            body,
            session,
        );
        let received = answer.await.and_then(|answer| {
            messages(&answer)?
                .map(|(bytes, entry)| {
                    let token = match entry.and_then(|entry| super::entry(entry, "lock-token")) {
                        Some(Value::Uuid(token)) if peek_lock => Some(Uuid::from_bytes(*token.as_inner())),
                        _ => None,
                    };
                    Ok(wire::from_amqp(wire::decode(bytes)?, token, None))
                })
                .collect()
        });
        receiving.end(&received);
        received
    }

    /// Schedules messages, all or none; gives their sequence numbers.
    pub(crate) async fn schedule(&self, messages: &[ServiceBusMessage], at: OffsetDateTime) -> Result<Vec<i64>> {
        let scheduling = self.observer.sending("schedule", &self.entity, messages);
        let list: Vec<Value> = scheduling
            .stamped(messages)
            .iter()
            .map(|message| scheduled(message, at))
            .collect::<Result<_>>()?;
        let body = map([("messages", Value::List(list))]);
        let answer = self.call("schedule", "com.microsoft:schedule-message", body, None);
        let answer = scheduling.watch(answer).await?;
        let numbers: Option<Vec<i64>> = items(&answer, "sequence-numbers")
            .filter(|numbers| numbers.len() == messages.len())
            .and_then(|numbers| numbers.iter().map(integer).collect());
        numbers.ok_or_else(|| malformed("schedule", &self.entity))
    }

    pub(crate) async fn cancel_scheduled(&self, sequence_numbers: &[i64]) -> Result<()> {
        let body = map([("sequence-numbers", longs(sequence_numbers))]);
        let cancelling = self
            .observer
            .other("cancel_scheduled", &self.entity, sequence_numbers.len());
        let cancelled = self.call("cancel scheduled", "com.microsoft:cancel-scheduled-message", body, None);
        cancelling.watch(cancelled).await.map(drop)
    }

    /// Deletes up to `count` messages that were enqueued before `before`; gives how many there were.
    pub(crate) async fn delete_messages(&self, count: u32, before: OffsetDateTime) -> Result<u64> {
        let body = map([
            ("message-count", Value::Int(i32::try_from(count).unwrap_or(i32::MAX))),
            ("enqueued-time-utc", Value::Timestamp(timestamp(before))),
        ]);
        let answer = self
            .call("delete messages", "com.microsoft:batch-delete-messages", body, None)
            .await?;
        if answer.status() == Some(204) {
            return Ok(0);
        }
        field(&answer, "message-count")
            .and_then(integer)
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| malformed("delete messages", &self.entity))
    }

    /// Up to `top` ids of sessions that have messages or a state, behind the first `skip`.
    pub(crate) async fn session_ids(&self, skip: u32, top: u32) -> Result<Vec<String>> {
        // The service takes the largest date of .NET for "no matter when".
        let ever = Value::Timestamp(fe2o3_amqp::types::primitives::Timestamp::from_milliseconds(EVER));
        let int = |number: u32| Value::Int(i32::try_from(number).unwrap_or(i32::MAX));
        let body = map([("last-updated-time", ever), ("skip", int(skip)), ("top", int(top))]);
        let answer = self
            .call("list sessions", "com.microsoft:get-message-sessions", body, None)
            .await?;
        if answer.status() == Some(204) {
            return Ok(Vec::new());
        }
        let ids: Option<Vec<String>> = items(&answer, "sessions-ids").and_then(|ids| {
            ids.iter()
                .map(|id| crate::amqp::values::text(id).map(str::to_owned))
                .collect()
        });
        ids.ok_or_else(|| malformed("list sessions", &self.entity))
    }
}

/// 9999-12-31T23:59:59.999Z in milliseconds: .NET's `DateTime.MaxValue`.
const EVER: i64 = 253_402_300_799_999;

fn scheduled(message: &ServiceBusMessage, at: OffsetDateTime) -> Result<Value> {
    message.check()?;
    let message = message.clone().with_scheduled_enqueue_time(at);
    let mut item = map([(
        "message",
        Value::Binary(Binary::from(wire::encode(&wire::to_amqp(&message))?)),
    )]);
    // The id is required; the service goes by it for duplicate detection.
    let id = message
        .message_id
        .clone()
        .unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    item.insert(text("message-id"), Value::String(id));
    let keys = [
        ("session-id", &message.session_id),
        ("partition-key", &message.partition_key),
        ("via-partition-key", &message.transaction_partition_key),
    ];
    for (name, value) in keys {
        if let Some(value) = value {
            item.insert(text(name), text(value));
        }
    }
    Ok(Value::Map(item))
}

/// The encoded messages of a response, each with the map it stood in; 204 has none.
fn messages(answer: &Response) -> Result<impl Iterator<Item = (&[u8], Option<&Map>)>> {
    let list = match field(answer, "messages") {
        Some(Value::List(list)) => list.as_slice(),
        Some(Value::Array(array)) => array.0.as_slice(),
        None if answer.status() == Some(204) => &[],
        None => &[],
        Some(_) => return Err(Error::new(ErrorKind::Other, "the response holds no list of messages")),
    };
    Ok(list.iter().filter_map(|item| match item {
        Value::Map(item) => match entry(item, "message") {
            Some(Value::Binary(bytes)) => Some((bytes.as_slice(), Some(item))),
            _ => None,
        },
        _ => None,
    }))
}
