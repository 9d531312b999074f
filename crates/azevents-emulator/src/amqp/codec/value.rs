//! What stands between a peer's bytes and `serde_amqp`, which trusts them: it goes down into nested values by
//! recursion, and the end of its stack is the end of the process, for everybody; it takes constants off sizes that
//! are smaller, and room for as many elements as an array says it has.

use serde::de::DeserializeOwned;

use super::{
    FrameError,
    primitive::{Decoded, Reader},
};

/// How deep values may be nested. Sources with filters, errors and the bodies of requests come to eight or so.
const MAX_DEPTH: u8 = 32;

/// Elements an array may have that take no bytes of their own, such as `null`; nobody sends any.
const MAX_EMPTY_ELEMENTS: usize = 256;

/// Reads one value, or the sections of a message, with `serde_amqp`.
///
/// # Errors
///
/// If the bytes are not what AMQP 1.0 section 1.6 has, nested deeper than anything that makes sense, or no `T`.
pub(in crate::amqp) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Decoded<T> {
    check(bytes)?;
    serde_amqp::from_slice(bytes).map_err(|error| FrameError::decode(error.to_string()))
}

/// Looks through the values in a row.
fn check(bytes: &[u8]) -> Decoded<()> {
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        reader.check_value(0)?;
    }
    Ok(())
}

impl Reader<'_> {
    fn check_value(&mut self, depth: u8) -> Decoded<()> {
        let code = self.check_constructor(depth)?;
        self.check_contents(code, depth)
    }

    /// The format code, behind a descriptor if there is one (section 1.2).
    fn check_constructor(&mut self, depth: u8) -> Decoded<u8> {
        match self.byte()? {
            0 => {
                if depth >= MAX_DEPTH {
                    return Err(FrameError::decode("values nested too deep"));
                }
                self.check_value(depth + 1)?;
                self.check_constructor(depth + 1)
            }
            code => Ok(code),
        }
    }

    fn check_contents(&mut self, code: u8, depth: u8) -> Decoded<()> {
        let (size, count) = match code {
            0xc0 | 0xc1 | 0xe0 => (usize::from(self.byte()?).checked_sub(1), usize::from(self.byte()?)),
            0xd0 | 0xd1 | 0xf0 => ((self.be_u32()? as usize).checked_sub(4), self.be_u32()? as usize),
            _ => return self.skip_contents(code),
        };
        let size = size.ok_or_else(|| FrameError::decode("a compound value smaller than its own count"))?;
        if depth >= MAX_DEPTH {
            return Err(FrameError::decode("values nested too deep"));
        }
        let mut inner = Reader::new(self.take(size)?);
        if matches!(code, 0xc1 | 0xd1) && count % 2 != 0 {
            return Err(FrameError::decode("a map with a key and no value"));
        }
        if !matches!(code, 0xe0 | 0xf0) {
            for _ in 0..count {
                inner.check_value(depth + 1)?;
            }
            return Ok(());
        }
        let element = inner.check_constructor(depth + 1)?;
        if element >> 4 == 4 && count > MAX_EMPTY_ELEMENTS {
            return Err(FrameError::decode("an array of many elements of nothing"));
        }
        for _ in 0..count {
            inner.check_contents(element, depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_amqp::Value;

    use super::*;

    /// Within `layers` lists or descriptions, by the bytes in front of each.
    fn nested(layers: usize, described: bool) -> Vec<u8> {
        let mut value = vec![0x40];
        for _ in 0..layers {
            let mut outer = if described {
                vec![0x00, 0x53, 0x24]
            } else {
                let mut list = vec![0xd0];
                list.extend((value.len() as u32 + 4).to_be_bytes());
                list.extend(1_u32.to_be_bytes());
                list
            };
            outer.append(&mut value);
            value = outer;
        }
        value
    }

    #[test]
    fn nesting_ends_in_an_error_and_not_at_the_end_of_the_stack() {
        for described in [false, true] {
            assert!(from_slice::<Value>(&nested(10, described)).is_ok());
            let error = from_slice::<Value>(&nested(7000, described)).expect_err("too deep");
            assert!(error.to_string().contains("nested too deep"), "{error}");
        }
        // A descriptor that is described, and so on.
        assert!(from_slice::<Value>(&vec![0; 60_000]).is_err());
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        let cases: [&[u8]; 6] = [
            &[0xc0, 0x00, 0x00],
            &[0xd1, 0, 0, 0, 3, 0, 0, 0, 0],
            &[0xc1, 0x03, 0x01, 0x40, 0x40],
            &[0xc0, 0x02, 0x09, 0x40],
            &[0xb1, 0xff, 0xff, 0xff, 0xff, 0x61],
            // Four thousand million times nothing.
            &[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40],
        ];
        for case in cases {
            assert!(from_slice::<Value>(case).is_err(), "{case:02x?}");
        }
    }

    /// Values as they are sent, for the changes to start from.
    fn real() -> Vec<u8> {
        let inner = Value::List(vec![Value::from("text"), Value::Uint(7), Value::Null]);
        let map = [(Value::from("key"), inner), (Value::from("other"), Value::Bool(true))];
        let array = Value::Array(vec![Value::Ubyte(1), Value::Ubyte(2)].into());
        let value = Value::List(vec![Value::Map(map.into_iter().collect()), array]);
        serde_amqp::to_vec(&value).expect("encoded")
    }

    #[test]
    fn what_is_sent_passes() {
        from_slice::<Value>(&real()).expect("well-formed");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_slice::<Value>(&bytes);
        }

        #[test]
        fn no_changes_to_a_real_value_make_it_panic(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = real();
            for (at, to) in changes {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            let _ = from_slice::<Value>(&bytes);
        }
    }
}
