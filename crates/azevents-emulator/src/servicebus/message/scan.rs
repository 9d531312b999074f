//! Walks over encoded AMQP values without building them.
//!
//! The broker looks at a handful of fields in every message that passes; decoding each message into
//! a tree to read two strings would cost more than everything else it does.

use super::super::BrokerError;

/// The bytes are not what AMQP 1.0 part 1 allows at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Malformed;

impl From<Malformed> for BrokerError {
    fn from(_: Malformed) -> Self {
        Self::Malformed("The message is not correctly encoded AMQP.".into())
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// A position in a sequence of encoded values.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(in super::super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes not yet walked over.
    pub(in super::super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next value, encoded, descriptor included.
    pub(in super::super) fn value(&mut self) -> Result<&'a [u8]> {
        // A descriptor may itself be described; nobody nests them deep.
        const MAX_DEPTH: u8 = 4;
        let len = value_len(self.rest, MAX_DEPTH)?;
        self.take(len)
    }

    /// The descriptor of the next value, which stays the value after it. Both forms of a small
    /// number are understood; symbolic descriptors, which no Azure client writes, are not.
    pub(in super::super) fn descriptor(&mut self) -> Result<u64> {
        match self.take(1)? {
            [0x00] => ulong(self.value()?).ok_or(Malformed),
            _ => Err(Malformed),
        }
    }

    /// Enters the list that is the next value: its fields, in order. Trailing ones may be missing.
    pub(in super::super) fn list(&mut self) -> Result<Scanner<'a>> {
        match self.value()? {
            [0x45] => Ok(Scanner::new(&[])),
            [0xc0, _, _, fields @ ..] | [0xd0, _, _, _, _, _, _, _, _, fields @ ..] => Ok(Scanner::new(fields)),
            _ => Err(Malformed),
        }
    }

    /// Enters the map that is the next value: keys and values in turn.
    pub(in super::super) fn map(&mut self) -> Result<Scanner<'a>> {
        match self.value()? {
            [0x40] => Ok(Scanner::new(&[])),
            [0xc1, _, _, pairs @ ..] | [0xd1, _, _, _, _, _, _, _, _, pairs @ ..] => Ok(Scanner::new(pairs)),
            _ => Err(Malformed),
        }
    }

    /// The next field of a list, or a null once the list is at its end.
    pub(in super::super) fn field(&mut self) -> Result<&'a [u8]> {
        const NULL: &[u8] = &[0x40];
        if self.is_empty() { Ok(NULL) } else { self.value() }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Encoded length of the value at the front. The upper half of a constructor says how the length is
/// expressed (AMQP 1.0 section 1.2.1, table of subcategories).
fn value_len(bytes: &[u8], depth: u8) -> Result<usize> {
    let (&code, rest) = bytes.split_first().ok_or(Malformed)?;
    Ok(match code >> 4 {
        0x0 => {
            let depth = depth.checked_sub(1).ok_or(Malformed)?;
            let descriptor = value_len(rest, depth)?;
            let value = value_len(rest.get(descriptor..).ok_or(Malformed)?, depth)?;
            1 + descriptor + value
        }
        0x4 => 1,
        0x5 => 2,
        0x6 => 3,
        0x7 => 5,
        0x8 => 9,
        0x9 => 17,
        0xa | 0xc | 0xe => 2 + usize::from(*rest.first().ok_or(Malformed)?),
        0xb | 0xd | 0xf => {
            let size = rest.first_chunk().ok_or(Malformed)?;
            5 + u32::from_be_bytes(*size) as usize
        }
        _ => return Err(Malformed),
    })
}

/// Reads a `ulong`, or one of its short forms.
pub(in super::super) fn ulong(value: &[u8]) -> Option<u64> {
    match value {
        [0x44] => Some(0),
        [0x53, n] => Some(u64::from(*n)),
        [0x80, n @ ..] => Some(u64::from_be_bytes(n.try_into().ok()?)),
        _ => None,
    }
}

/// Reads a `uint`, or one of its short forms.
pub(super) fn uint(value: &[u8]) -> Option<u32> {
    match value {
        [0x43] => Some(0),
        [0x52, n] => Some(u32::from(*n)),
        [0x70, n @ ..] => Some(u32::from_be_bytes(n.try_into().ok()?)),
        _ => None,
    }
}

/// Reads a `timestamp`.
pub(super) fn timestamp(value: &[u8]) -> Option<i64> {
    match value {
        [0x83, n @ ..] => Some(i64::from_be_bytes(n.try_into().ok()?)),
        _ => None,
    }
}

/// Reads a `boolean`.
pub(in super::super) fn boolean(value: &[u8]) -> Option<bool> {
    match value {
        [0x41] | [0x56, 0x01] => Some(true),
        [0x42] | [0x56, 0x00] => Some(false),
        _ => None,
    }
}

/// Reads a `ubyte`.
pub(super) fn ubyte(value: &[u8]) -> Option<u8> {
    match value {
        [0x50, n] => Some(*n),
        _ => None,
    }
}

/// Reads a `string` or a `symbol`.
pub(in super::super) fn text(value: &[u8]) -> Option<&str> {
    match value {
        [0xa1 | 0xa3, _, text @ ..] | [0xb1 | 0xb3, _, _, _, _, text @ ..] => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

/// Reads any of the four types an id may have (AMQP 1.0 section 3.2.11) as text.
pub(in super::super) fn id_text(value: &[u8]) -> Option<String> {
    match value {
        [0x98, id @ ..] => Some(uuid::Uuid::from_slice(id).ok()?.to_string()),
        [0xa0, _, bytes @ ..] | [0xb0, _, _, _, _, bytes @ ..] => {
            use std::fmt::Write as _;
            Some(bytes.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }))
        }
        _ => ulong(value)
            .map(|n| n.to_string())
            .or_else(|| text(value).map(str::to_owned)),
    }
}

/// Reads an integer of any width; `None` if it is larger than an `i64`.
pub(in super::super) fn integer(value: &[u8]) -> Option<i64> {
    Some(match value {
        // byte, smallint, smalllong
        [0x51 | 0x54 | 0x55, n] => i64::from(n.cast_signed()),
        [0x50, n] => i64::from(*n),
        [0x60, n @ ..] => i64::from(u16::from_be_bytes(n.try_into().ok()?)),
        [0x61, n @ ..] => i64::from(i16::from_be_bytes(n.try_into().ok()?)),
        [0x71, n @ ..] => i64::from(i32::from_be_bytes(n.try_into().ok()?)),
        [0x81, n @ ..] => i64::from_be_bytes(n.try_into().ok()?),
        _ => match uint(value) {
            Some(n) => i64::from(n),
            None => i64::try_from(ulong(value)?).ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_off_or_absurd_lengths_are_refused_not_read_past() {
        for bytes in [
            &[][..],
            &[0xd0, 0xff, 0xff, 0xff, 0xff, 1],
            &[0xa1, 5, b'x'],
            &[0x00, 0x53],
            &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40],
            &[0x10],
        ] {
            assert_eq!(Scanner::new(bytes).value(), Err(Malformed), "{bytes:x?}");
        }
    }

    #[test]
    fn a_list_ends_in_nulls() {
        let mut fields = Scanner::new(&[0xc0, 3, 1, 0x52, 7]).list().unwrap();
        assert_eq!(uint(fields.field().unwrap()), Some(7));
        assert_eq!(fields.field(), Ok(&[0x40][..]));
    }
}
