//! Takes an encoded message apart into what the broker rewrites and what it passes through.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Header, Message,
    scan::{self, Malformed, Scanner},
};
use crate::servicebus::{BrokerError, clock::Timestamp};

// Section descriptors, AMQP 1.0 section 3.2.
const HEADER: u64 = 0x70;
const DELIVERY_ANNOTATIONS: u64 = 0x71;
const MESSAGE_ANNOTATIONS: u64 = 0x72;
const PROPERTIES: u64 = 0x73;
const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const FOOTER: u64 = 0x78;

/// Annotations that are the broker's to set. A client that sends a received message on, with its
/// annotations, does not get to keep the old values.
const OWNED_BY_THE_BROKER: [&str; 6] = [
    "x-opt-sequence-number",
    "x-opt-enqueue-sequence-number",
    "x-opt-enqueued-time",
    "x-opt-locked-until",
    "x-opt-message-state",
    "x-opt-deadletter-source",
];

impl Message {
    /// Takes one encoded message apart, all sections present or not.
    ///
    /// # Errors
    /// [`BrokerError::Malformed`] for bytes that are not an AMQP message.
    pub(crate) fn decode(encoded: &Bytes) -> Result<Self, BrokerError> {
        Ok(decode(encoded)?)
    }

    /// Takes a batch apart: each data section of the envelope holds one encoded message
    /// (message format 0x80013700).
    ///
    /// # Errors
    /// [`BrokerError::Malformed`] if the envelope or any message in it is not correctly encoded;
    /// then none of the batch is to be enqueued.
    pub(crate) fn decode_batch(envelope: &Bytes) -> Result<Vec<Self>, BrokerError> {
        let mut messages = Vec::new();
        let mut sections = Scanner::new(envelope);
        while !sections.is_empty() {
            if sections.descriptor()? != DATA {
                sections.value()?;
                continue;
            }
            let ([0xa0, _, payload @ ..] | [0xb0, _, _, _, _, payload @ ..]) = sections.value()? else {
                return Err(Malformed.into());
            };
            messages.push(decode(&envelope.slice_ref(payload))?);
        }
        Ok(messages)
    }
}

fn decode(encoded: &Bytes) -> Result<Message, Malformed> {
    let mut sections = Scanner::new(encoded);
    let mut message = Message {
        header: Header::default(),
        annotations: Bytes::new(),
        annotation_count: 0,
        bare: Bytes::new(),
        application_properties: (0, 0),
        properties: (0, 0),
        id: None,
        session_id: None,
        ttl: None,
        scheduled_at: None,
        dead_letter_source: None,
        forwards: None,
        charge: None,
    };
    // The first section that is the sender's own starts the bare message.
    let mut bare_start = None;
    let mut previous = 0;
    while !sections.is_empty() {
        let start = encoded.len() - sections.remaining();
        let descriptor = sections.descriptor()?;
        // Sections come in one order, each once but for those of the body (AMQP 1.0 section 3.2).
        let repeats = descriptor == previous && matches!(descriptor, DATA | SEQUENCE);
        if descriptor <= previous && !repeats {
            return Err(Malformed);
        }
        previous = descriptor;
        if descriptor >= PROPERTIES && bare_start.is_none() {
            bare_start = Some(start);
        }
        let within_bare = |sections: &Scanner<'_>| {
            let from = bare_start.unwrap_or(start);
            (start - from, encoded.len() - sections.remaining() - from)
        };
        match descriptor {
            HEADER => read_header(&mut message, sections.list()?)?,
            MESSAGE_ANNOTATIONS => {
                read_annotations(&mut message, sections.map()?)?;
            }
            PROPERTIES => {
                read_properties(&mut message, sections.list()?)?;
                message.properties = within_bare(&sections);
            }
            APPLICATION_PROPERTIES => {
                sections.map()?;
                message.application_properties = within_bare(&sections);
            }
            // Delivery annotations are meant for the next hop, which is the broker: there is nothing
            // in them it acts on.
            DELIVERY_ANNOTATIONS | DATA..=FOOTER => {
                sections.value()?;
            }
            _ => return Err(Malformed),
        }
    }
    message.bare = encoded.slice(bare_start.unwrap_or(encoded.len())..);
    if message.application_properties == (0, 0) {
        // Where the section goes when the broker has to add one.
        let after_properties = message.properties.1;
        message.application_properties = (after_properties, after_properties);
    }
    Ok(message)
}

fn read_header(message: &mut Message, mut fields: Scanner<'_>) -> Result<(), Malformed> {
    message.header.durable = scan::boolean(fields.field()?);
    message.header.priority = scan::ubyte(fields.field()?);
    message.ttl = scan::uint(fields.field()?).map(|ms| Duration::from_millis(u64::from(ms)));
    Ok(())
}

fn read_annotations(message: &mut Message, mut pairs: Scanner<'_>) -> Result<(), Malformed> {
    let mut kept = BytesMut::new();
    while !pairs.is_empty() {
        let (key, value) = (pairs.value()?, pairs.value()?);
        let name = scan::text(key);
        if name.is_some_and(|name| OWNED_BY_THE_BROKER.contains(&name)) {
            continue;
        }
        if name == Some("x-opt-scheduled-enqueue-time") {
            message.scheduled_at = scan::timestamp(value).map(Timestamp::from_millis);
        }
        kept.put_slice(key);
        kept.put_slice(value);
        message.annotation_count += 1;
    }
    message.annotations = kept.freeze();
    Ok(())
}

/// Field positions from AMQP 1.0 section 3.2.4.
fn read_properties(message: &mut Message, mut fields: Scanner<'_>) -> Result<(), Malformed> {
    message.id = scan::id_text(fields.field()?).map(Arc::from);
    // user-id, to, subject, reply-to, correlation-id, content-type, content-encoding
    for _ in 1..8 {
        fields.field()?;
    }
    let absolute_expiry = scan::timestamp(fields.field()?);
    let creation = scan::timestamp(fields.field()?);
    message.session_id = scan::text(fields.field()?).map(Arc::from);
    // A header's ttl ends at 49 days; clients express longer ones by the two times together.
    if let (Some(expiry), Some(creation)) = (absolute_expiry, creation) {
        let spelled_out = Duration::from_millis(expiry.saturating_sub(creation).max(0) as u64);
        message.ttl = message.ttl.max(Some(spelled_out));
    }
    Ok(())
}
