//! An encoded message as its sections (AMQP 1.0 section 3.2), without decoding what is in them.
//!
//! A broker adds a header and annotations of its own and passes the bare message on as it came, so
//! most of a message is never looked at.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::codec::{from_slice, raw_sections};
use super::error::{self, Error};

/// Descriptor codes of sections.
pub(crate) mod code {
    /// Durability, ttl, delivery count.
    pub(crate) const HEADER: u64 = 0x70;
    /// For the next hop only.
    pub(crate) const DELIVERY_ANNOTATIONS: u64 = 0x71;
    /// `x-opt-…`.
    pub(crate) const MESSAGE_ANNOTATIONS: u64 = 0x72;
    /// Body: bytes.
    pub(crate) const DATA: u64 = 0x75;
}

/// One section: slices of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// See [`code`].
    pub(crate) code: u64,
    /// Descriptor and value, as encoded.
    pub(crate) encoded: Bytes,
    /// The value alone.
    pub(crate) value: Bytes,
}

/// Decodes a section, or whatever else a peer has encoded.
pub(crate) fn decode<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, Error> {
    from_slice(encoded).map_err(Error::from)
}

/// Takes a message apart. Nothing is copied.
pub(crate) fn sections(message: &Bytes) -> Result<Vec<Section>, Error> {
    let raw = raw_sections(message).map_err(|why| {
        let why: Error = why.into();
        error::decode(why.description.unwrap_or_default())
    })?;
    Ok(raw
        .into_iter()
        .map(|(code, encoded, value)| Section {
            code,
            encoded: message.slice_ref(encoded),
            value: message.slice_ref(value),
        })
        .collect())
}

/// The contents of an encoded binary value, as a slice of it.
pub(crate) fn binary(value: &Bytes) -> Result<Bytes, Error> {
    let start = match value.first() {
        Some(0xa0) => 2,
        Some(0xb0) => 5,
        _ => return Err(error::decode("A data section must hold binary.")),
    };
    Ok(value.slice(start.min(value.len())..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart_without_copying() {
        // Header (empty list), one data section "hi".
        let message = Bytes::from_static(b"\x00\x53\x70\x45\x00\x53\x75\xa0\x02hi");
        let parts = sections(&message).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].code, code::HEADER);
        assert_eq!(parts[1].code, code::DATA);
        assert_eq!(binary(&parts[1].value).unwrap(), "hi");
    }

    #[test]
    fn a_message_that_ends_early_is_an_error() {
        for message in [&b"\x00\x53"[..], b"\x00\x53\x75\xa0\x05hi", b"\xa0\x01x"] {
            assert!(sections(&Bytes::copy_from_slice(message)).is_err());
        }
    }
}
