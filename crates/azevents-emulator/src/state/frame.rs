//! How records lie in a log: length, checksum, record.
//!
//! A record is a value in JSON, which says what happened, and bytes that go with it as they are.
//! Numbers are little-endian.
//!
//! | bytes | |
//! | --- | --- |
//! | 4 | length of the record |
//! | 4 | CRC-32 of the record |
//! | 4 | length of the JSON |
//! | | the JSON |
//! | | the bytes |

use serde::{Serialize, de::DeserializeOwned};

/// The first bytes of every log; the last of them is the version of the format.
pub(super) const MAGIC: &[u8; 8] = b"azevlog\x01";

/// Length and checksum.
pub(super) const HEAD: usize = 8;

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    json: &'a [u8],
    /// What came with it.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// What happened.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(self.json).map_err(|error| error.to_string())
    }

    pub(super) fn parse(record: &'a [u8]) -> Option<Self> {
        let (length, rest) = record.split_first_chunk::<4>()?;
        let (json, bytes) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Self { json, bytes })
    }
}

/// Appends a frame to a buffer.
pub(super) fn write(buffer: &mut Vec<u8>, what: &impl Serialize, parts: &[&[u8]]) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD + 4]);
    serde_json::to_writer(&mut *buffer, what).expect("records are plain data");
    let json = buffer.len() - start - HEAD - 4;
    for part in parts {
        buffer.extend_from_slice(part);
    }
    buffer[start + HEAD..start + HEAD + 4].copy_from_slice(&length(json));
    let record = &buffer[start + HEAD..];
    let (size, sum) = (length(record.len()), crc32fast::hash(record).to_le_bytes());
    buffer[start..start + 4].copy_from_slice(&size);
    buffer[start + 4..start + HEAD].copy_from_slice(&sum);
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a record has less than 4 GB").to_le_bytes()
}

/// Length and checksum of the record behind this head.
pub(super) fn head(head: [u8; HEAD]) -> (usize, u32) {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| head[at + n]));
    (word(0) as usize, word(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut buffer = Vec::new();
        write(&mut buffer, &("what", 7), &[b"some ", b"bytes"]);
        let (size, sum) = head(buffer[..HEAD].try_into().unwrap());
        let record = &buffer[HEAD..];
        assert_eq!((size, sum), (record.len(), crc32fast::hash(record)));
        let record = Record::parse(record).unwrap();
        assert_eq!(record.read::<(String, u32)>().unwrap(), ("what".to_owned(), 7));
        assert_eq!(record.bytes, b"some bytes");
    }
}
