//! A message as the broker keeps it: the bytes that were sent, and the few facts it decides by.
//!
//! A sender's properties, application properties and body (AMQP calls them the bare message) pass
//! through untouched. Only the header and the annotations in front are the broker's to rewrite, so
//! they are taken apart on the way in and written anew for each delivery.

mod annotate;
mod arrival;
mod charge;
mod kept;
mod scan;
mod split;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use annotate::{PropertyChanges, Stamp};
pub(super) use arrival::Arrival;
pub(super) use charge::TopicSize;
pub(super) use kept::MessageHead;
pub(super) use scan::{Malformed, Scanner, boolean, id_text, integer, text, ulong};

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use self::charge::Charge;
use super::clock::Timestamp;

/// A message taken from the wire. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Header fields that come back out as they came in.
    header: Header,
    /// The sender's annotations, as encoded key and value pairs, without those that are the
    /// broker's to set.
    annotations: Bytes,
    /// Number of pairs in `annotations`.
    annotation_count: u32,
    /// Properties, application properties, body and footer, exactly as sent.
    bare: Bytes,
    /// Where the application properties section lies in `bare`: start and end, equal if absent.
    application_properties: (usize, usize),
    /// Where the properties section lies in `bare`.
    properties: (usize, usize),
    /// MessageId, in its text form whatever its AMQP type.
    id: Option<Arc<str>>,
    /// The group id, which is what Service Bus calls the session id.
    session_id: Option<Arc<str>>,
    /// Time to live asked for by the sender.
    ttl: Option<Duration>,
    /// `x-opt-scheduled-enqueue-time`.
    scheduled_at: Option<Timestamp>,
    /// The entity whose dead-letter queue this message was moved to.
    dead_letter_source: Option<Arc<str>>,
    /// How often it was passed on from one entity to another, and the number it had in the first.
    forwards: Option<(u8, i64)>,
    /// Shared by the copies in a topic's subscriptions.
    charge: Option<Arc<Charge>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Header {
    durable: Option<bool>,
    priority: Option<u8>,
}

impl Message {
    /// The sender's MessageId, if there is one.
    pub(crate) fn message_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The session the message belongs to.
    pub(crate) fn session_id(&self) -> Option<&Arc<str>> {
        self.session_id.as_ref()
    }

    /// How long the sender wants the message to live.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Bytes it counts for in the size of an entity.
    pub(super) fn size(&self) -> u64 {
        (self.bare.len() + self.annotations.len()) as u64
    }

    /// Bytes of what describes it, as far as it came from the sender.
    pub(super) fn header_size(&self) -> usize {
        self.annotations.len() + self.properties().len() + self.application_properties().len()
    }

    /// Bytes of the sender's annotations.
    pub(super) fn annotations_len(&self) -> usize {
        self.annotations.len()
    }

    /// One of the sender's annotations, encoded.
    pub(super) fn annotation(&self, name: &str) -> Result<Option<&[u8]>, Malformed> {
        let mut pairs = Scanner::new(&self.annotations);
        while !pairs.is_empty() {
            let (key, value) = (pairs.value()?, pairs.value()?);
            if text(key) == Some(name) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// When the sender wants the message to be enqueued.
    pub(crate) fn scheduled_at(&self) -> Option<Timestamp> {
        self.scheduled_at
    }

    /// The properties section, encoded; empty if there is none.
    pub(super) fn properties(&self) -> &[u8] {
        &self.bare[self.properties.0..self.properties.1]
    }

    /// A field of the properties section, by its position there (AMQP 1.0 section 3.2.4); a null if it isn't there.
    pub(super) fn field(&self, position: usize) -> Result<&[u8], Malformed> {
        let mut fields = self.fields()?;
        for _ in 0..position {
            fields.field()?;
        }
        fields.field()
    }

    /// The fields of the properties section.
    pub(super) fn fields(&self) -> Result<Scanner<'_>, Malformed> {
        let mut section = Scanner::new(self.properties());
        if section.is_empty() {
            return Ok(section);
        }
        section.descriptor()?;
        section.list()
    }

    /// The application properties, names and values in turn.
    pub(super) fn pairs(&self) -> Result<Scanner<'_>, Malformed> {
        let mut section = Scanner::new(self.application_properties());
        if section.is_empty() {
            return Ok(section);
        }
        section.descriptor()?;
        section.map()
    }

    /// The application properties section, encoded; empty if there is none.
    pub(super) fn application_properties(&self) -> &[u8] {
        &self.bare[self.application_properties.0..self.application_properties.1]
    }

    /// Sets the time to live that the message has from here on.
    pub(super) fn set_ttl(&mut self, ttl: Option<Duration>) {
        self.ttl = ttl;
    }

    /// Notes that an entity in which it had this number passes it on.
    pub(super) fn forwarded(&mut self, sequence: i64) {
        let (hops, first) = self.forwards.unwrap_or((0, sequence));
        self.forwards = Some((hops.saturating_add(1), first));
    }

    /// How often it was passed on.
    pub(super) fn hops(&self) -> u8 {
        self.forwards.map_or(0, |(hops, _)| hops)
    }

    /// The number it had in the entity it was first sent to, if it was passed on since.
    pub(super) fn first_sequence_number(&self) -> Option<i64> {
        self.forwards.map(|(_, first)| first)
    }

    /// Marks the message as dead-lettered by `entity`.
    pub(super) fn set_dead_letter_source(&mut self, entity: Arc<str>) {
        self.dead_letter_source = Some(entity);
    }
}
