//! Writes what the broker adds to a message: its stamp on delivery, and changed properties.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Message,
    scan::{self, Malformed, Scanner},
};
use crate::servicebus::clock::Timestamp;

/// What the broker knows about a message and tells with each delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// Position in the entity, from 1.
    pub(crate) sequence_number: i64,
    /// When the message became part of the entity.
    pub(crate) enqueued_at: Timestamp,
    /// End of the lock, for a message delivered under one.
    pub(crate) locked_until: Option<Timestamp>,
    /// Earlier deliveries that did not succeed.
    pub(crate) delivery_count: u32,
    /// `x-opt-message-state`: 0 active, 1 deferred, 2 scheduled.
    pub(crate) state: i32,
}

/// Application properties to set, each value an encoded AMQP value; the last one of a name wins. An
/// empty value takes the property away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PropertyChanges(Vec<(String, Bytes)>);

impl PropertyChanges {
    /// Sets a property to an already encoded value.
    pub(crate) fn set_encoded(&mut self, name: impl Into<String>, value: Bytes) {
        self.0.push((name.into(), value));
    }

    /// Sets a property to a text.
    pub(crate) fn set_text(&mut self, name: impl Into<String>, text: &str) {
        let mut value = BytesMut::new();
        put_text(&mut value, 0xa1, text);
        self.set_encoded(name, value.freeze());
    }

    /// Takes a property away.
    pub(crate) fn remove(&mut self, name: impl Into<String>) {
        self.0.push((name.into(), Bytes::new()));
    }

    /// The value set first.
    pub(in super::super) fn into_first_value(self) -> Bytes {
        self.0.into_iter().next().map(|(_, value)| value).unwrap_or_default()
    }

    /// Nothing to change.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Message {
    /// The message as a receiver gets it, in two pieces that follow one another: what the broker
    /// writes, and what the sender wrote.
    pub(crate) fn encode(&self, stamp: &Stamp) -> (Bytes, Bytes) {
        let mut front = BytesMut::with_capacity(192 + self.annotations.len());
        self.put_header(&mut front, stamp);
        self.put_annotations(&mut front, stamp);
        (front.freeze(), self.bare.clone())
    }

    /// As [`encode`](Self::encode), in one piece: `$management` wraps messages in a binary.
    pub(crate) fn encode_whole(&self, stamp: &Stamp) -> Bytes {
        let (front, bare) = self.encode(stamp);
        let mut whole = BytesMut::with_capacity(front.len() + bare.len());
        whole.put_slice(&front);
        whole.put_slice(&bare);
        whole.freeze()
    }

    /// Gives a message without a MessageId one, as the service does: its clients rely on every
    /// received message having an id. Only then is the properties section written anew.
    ///
    /// # Errors
    /// If the properties section can't be read.
    pub(in super::super) fn ensure_id(&mut self) -> Result<(), Malformed> {
        if self.id.is_some() {
            return Ok(());
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut encoded = BytesMut::new();
        put_text(&mut encoded, 0xa1, &id);
        self.set_field(0, Some(&encoded))
    }

    /// Sets or clears a field of the properties section, by its position (AMQP 1.0 section 3.2.4).
    /// The section is written anew; the sections behind it are copied as they are.
    ///
    /// # Errors
    /// If the properties section can't be read.
    pub(in super::super) fn set_field(&mut self, position: usize, value: Option<&[u8]>) -> Result<(), Malformed> {
        const NULL: &[u8] = &[0x40];
        let mut fields: Vec<&[u8]> = Vec::new();
        let mut old = self.fields()?;
        while !old.is_empty() {
            fields.push(old.value()?);
        }
        if fields.len() <= position {
            fields.resize(position + 1, NULL);
        }
        fields[position] = value.unwrap_or(NULL);
        let fields_len: usize = fields.iter().map(|field| field.len()).sum();
        let (start, end) = self.properties;
        let mut bare = BytesMut::with_capacity(self.bare.len() + fields_len + 16);
        bare.put_slice(&self.bare[..start]);
        bare.put_slice(&[0x00, 0x53, 0x73, 0xd0]);
        bare.put_u32(fields_len as u32 + 4);
        bare.put_u32(fields.len() as u32);
        for field in &fields {
            bare.put_slice(field);
        }
        let new_end = bare.len();
        bare.put_slice(&self.bare[end..]);
        match position {
            0 => self.id = value.and_then(scan::id_text).map(Arc::from),
            10 => self.session_id = value.and_then(scan::text).map(Arc::from),
            _ => {}
        }
        self.bare = bare.freeze();
        self.properties = (start, new_end);
        let (from, to) = self.application_properties;
        self.application_properties = (from - end + new_end, to - end + new_end);
        Ok(())
    }

    /// Sets an annotation to an encoded value, or takes it away.
    ///
    /// # Errors
    /// If the annotations can't be read.
    pub(in super::super) fn set_annotation(&mut self, name: &str, value: Option<&[u8]>) -> Result<(), Malformed> {
        let mut pairs = BytesMut::with_capacity(self.annotations.len() + name.len() + 16);
        let mut count = 0;
        let mut old = Scanner::new(&self.annotations);
        while !old.is_empty() {
            let (key, kept) = (old.value()?, old.value()?);
            if scan::text(key) != Some(name) {
                pairs.put_slice(key);
                pairs.put_slice(kept);
                count += 1;
            }
        }
        if let Some(value) = value {
            put_text(&mut pairs, 0xa3, name);
            pairs.put_slice(value);
            count += 1;
        }
        self.annotations = pairs.freeze();
        self.annotation_count = count;
        Ok(())
    }

    /// Sets when it is to be enqueued. Errors as [`set_annotation`](Self::set_annotation).
    pub(in super::super) fn schedule(&mut self, at: Timestamp) -> Result<(), Malformed> {
        let mut encoded = BytesMut::with_capacity(9);
        put_timestamp(&mut encoded, at);
        self.set_annotation("x-opt-scheduled-enqueue-time", Some(&encoded))?;
        self.scheduled_at = Some(at);
        Ok(())
    }

    /// Sets how long it lives, also where clients spell it out: as the time it ends, beside that of its creation.
    ///
    /// # Errors
    /// If the properties section can't be read.
    pub(in super::super) fn live_for(&mut self, ttl: Option<Duration>) -> Result<(), Malformed> {
        // absolute-expiry-time and creation-time (AMQP 1.0 section 3.2.4).
        const ENDS: usize = 8;
        const CREATED: usize = 9;
        self.set_ttl(ttl);
        if let Some(created) = scan::timestamp(self.field(CREATED)?) {
            let mut ends = BytesMut::with_capacity(9);
            if let Some(ttl) = ttl {
                put_timestamp(&mut ends, Timestamp::from_millis(created) + ttl);
            }
            self.set_field(ENDS, Some(&ends[..]).filter(|ends| !ends.is_empty()))?;
        }
        Ok(())
    }

    /// Sets application properties. The sender's section is rewritten;
    /// the properties before and the body after are copied as they are.
    ///
    /// # Errors
    /// If the application properties section in the message is not a map of names.
    pub(in super::super) fn change_properties(&mut self, changes: &PropertyChanges) -> Result<(), Malformed> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut pairs = BytesMut::new();
        let mut count = 0_u32;
        let mut old = self.pairs()?;
        while !old.is_empty() {
            let (key, value) = (old.value()?, old.value()?);
            let name = scan::text(key).ok_or(Malformed)?;
            if !changes.0.iter().any(|(changed, _)| changed == name) {
                pairs.put_slice(key);
                pairs.put_slice(value);
                count += 1;
            }
        }
        for (i, (name, value)) in changes.0.iter().enumerate() {
            if value.is_empty() || changes.0[i + 1..].iter().any(|(later, _)| later == name) {
                continue;
            }
            put_text(&mut pairs, 0xa1, name);
            pairs.put_slice(value);
            count += 1;
        }
        let (start, end) = self.application_properties;
        let mut bare = BytesMut::with_capacity(self.bare.len() + pairs.len() + 16);
        bare.put_slice(&self.bare[..start]);
        bare.put_slice(&[0x00, 0x53, 0x74]);
        put_map(&mut bare, &pairs, count);
        let new_end = bare.len();
        bare.put_slice(&self.bare[end..]);
        self.bare = bare.freeze();
        self.application_properties = (start, new_end);
        Ok(())
    }

    fn put_header(&self, to: &mut BytesMut, stamp: &Stamp) {
        to.put_slice(&[0x00, 0x53, 0x70]);
        let mut fields = BytesMut::with_capacity(24);
        match self.header.durable {
            Some(durable) => fields.put_u8(if durable { 0x41 } else { 0x42 }),
            None => fields.put_u8(0x40),
        }
        match self.header.priority {
            Some(priority) => fields.put_slice(&[0x50, priority]),
            None => fields.put_u8(0x40),
        }
        match self.ttl.map(|ttl| u32::try_from(ttl.as_millis())) {
            Some(ttl) => {
                fields.put_u8(0x70);
                fields.put_u32(ttl.unwrap_or(u32::MAX));
            }
            None => fields.put_u8(0x40),
        }
        // first-acquirer: whether no other receiver had it before.
        fields.put_u8(if stamp.delivery_count == 0 { 0x41 } else { 0x42 });
        fields.put_u8(0x70);
        fields.put_u32(stamp.delivery_count);
        to.put_slice(&[0xc0, fields.len() as u8 + 1, 5]);
        to.put_slice(&fields);
    }

    fn put_annotations(&self, to: &mut BytesMut, stamp: &Stamp) {
        let mut pairs = BytesMut::with_capacity(160 + self.annotations.len());
        let mut count = self.annotation_count;
        pairs.put_slice(&self.annotations);
        let mut key = |pairs: &mut BytesMut, name: &str| {
            put_text(pairs, 0xa3, name);
            count += 1;
        };
        key(&mut pairs, "x-opt-sequence-number");
        pairs.put_u8(0x81);
        pairs.put_i64(stamp.sequence_number);
        key(&mut pairs, "x-opt-enqueued-time");
        put_timestamp(&mut pairs, stamp.enqueued_at);
        if let Some(until) = stamp.locked_until {
            key(&mut pairs, "x-opt-locked-until");
            put_timestamp(&mut pairs, until);
        }
        key(&mut pairs, "x-opt-message-state");
        pairs.put_u8(0x71);
        pairs.put_i32(stamp.state);
        if let Some(source) = &self.dead_letter_source {
            key(&mut pairs, "x-opt-deadletter-source");
            put_text(&mut pairs, 0xa1, source);
        }
        if let Some((_, first)) = self.forwards {
            key(&mut pairs, "x-opt-enqueue-sequence-number");
            pairs.put_u8(0x81);
            pairs.put_i64(first);
        }
        to.put_slice(&[0x00, 0x53, 0x72]);
        put_map(to, &pairs, count);
    }

    /// For the engine's own tests and for dead letters without a body of their own.
    #[cfg(test)]
    pub(in super::super) fn bare(&self) -> &Bytes {
        &self.bare
    }

    /// The entity this message was dead-lettered by.
    pub(crate) fn dead_letter_source(&self) -> Option<&Arc<str>> {
        self.dead_letter_source.as_ref()
    }
}

fn put_timestamp(to: &mut BytesMut, at: Timestamp) {
    to.put_u8(0x83);
    to.put_i64(at.as_millis());
}

/// A string (`short_code` 0xa1) or a symbol (0xa3); the long forms are 0x10 above.
fn put_text(to: &mut BytesMut, short_code: u8, text: &str) {
    if let Ok(len) = u8::try_from(text.len()) {
        to.put_slice(&[short_code, len]);
    } else {
        to.put_u8(short_code + 0x10);
        to.put_u32(text.len() as u32);
    }
    to.put_slice(text.as_bytes());
}

/// `pairs` is the number of pairs; on the wire a map counts keys and values (AMQP 1.0 section 1.6.23).
fn put_map(to: &mut BytesMut, encoded: &[u8], pairs: u32) {
    to.put_u8(0xd1);
    to.put_u32(encoded.len() as u32 + 4);
    to.put_u32(pairs * 2);
    to.put_slice(encoded);
}
