//! A message as it lies in a log: what was read from it once, and its bytes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Header, Message};
use crate::servicebus::clock::Timestamp;

/// All of a message but its bytes, of which it has the lengths.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct MessageHead {
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    /// Number of pairs, and bytes.
    annotations: (u32, usize),
    bare: usize,
    application_properties: (usize, usize),
    properties: (usize, usize),
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwards: Option<(u8, i64)>,
}

impl Message {
    /// Takes it apart into what describes it and its bytes.
    pub(in super::super) fn to_kept(&self) -> (MessageHead, [Bytes; 2]) {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let head = MessageHead {
            durable: self.header.durable,
            priority: self.header.priority,
            annotations: (self.annotation_count, self.annotations.len()),
            bare: self.bare.len(),
            application_properties: self.application_properties,
            properties: self.properties,
            id: text(&self.id),
            session_id: text(&self.session_id),
            ttl_ms: self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            scheduled_at: self.scheduled_at.map(Timestamp::as_millis),
            dead_letter_source: text(&self.dead_letter_source),
            forwards: self.forwards,
        };
        (head, [self.annotations.clone(), self.bare.clone()])
    }

    /// The inverse; `take` gives the next so many bytes.
    pub(in super::super) fn from_kept(
        head: MessageHead,
        mut take: impl FnMut(usize) -> Result<Bytes, String>,
    ) -> Result<Self, String> {
        let within = |(start, end): (usize, usize)| start <= end && end <= head.bare;
        if !within(head.application_properties) || !within(head.properties) {
            return Err("a message's sections lie outside of it".to_owned());
        }
        Ok(Self {
            header: Header {
                durable: head.durable,
                priority: head.priority,
            },
            annotation_count: head.annotations.0,
            annotations: take(head.annotations.1)?,
            bare: take(head.bare)?,
            application_properties: head.application_properties,
            properties: head.properties,
            id: head.id.map(Arc::from),
            session_id: head.session_id.map(Arc::from),
            ttl: head.ttl_ms.map(Duration::from_millis),
            scheduled_at: head.scheduled_at.map(Timestamp::from_millis),
            dead_letter_source: head.dead_letter_source.map(Arc::from),
            forwards: head.forwards,
            charge: None,
        })
    }
}
