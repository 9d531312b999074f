//! The primitives that frames are made of (AMQP 1.0 section 1.6), read without copying.

use serde_amqp::Value;

use super::{FrameError, value::from_slice};

/// A decoding step's result; the error says what was wrong with the bytes.
pub(in crate::amqp) type Decoded<T> = Result<T, FrameError>;

/// How deep described types may be nested in a descriptor; the specification needs one level.
const MAX_DESCRIPTOR_DEPTH: u8 = 4;

/// Reads values one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, n: usize) -> Decoded<&'a [u8]> {
        if n > self.rest.len() {
            return Err(FrameError::decode("a value goes beyond the end"));
        }
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Decoded<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn be_u32(&mut self) -> Decoded<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The encoded bytes of the next value, constructor included.
    pub(super) fn raw_value(&mut self) -> Decoded<&'a [u8]> {
        let start = self.rest;
        self.skip_value(0)?;
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn skip_value(&mut self, depth: u8) -> Decoded<()> {
        let code = self.byte()?;
        if code != 0 {
            return self.skip_contents(code);
        }
        if depth >= MAX_DESCRIPTOR_DEPTH {
            return Err(FrameError::decode("descriptors nested too deep"));
        }
        self.skip_value(depth + 1)?;
        self.skip_value(depth + 1)
    }

    /// What stands behind a format code, whose high half says how wide that is (section 1.2).
    pub(super) fn skip_contents(&mut self, code: u8) -> Decoded<()> {
        let width = match code >> 4 {
            0x4 => 0,
            0x5 => 1,
            0x6 => 2,
            0x7 => 4,
            0x8 => 8,
            0x9 => 16,
            0xa | 0xc | 0xe => usize::from(self.byte()?),
            0xb | 0xd | 0xf => self.be_u32()? as usize,
            _ => return Err(FrameError::decode(format!("unknown constructor {code:#04x}"))),
        };
        self.take(width)?;
        Ok(())
    }

    /// The fields of a described list and its descriptor code.
    pub(super) fn described_list(&mut self) -> Decoded<(u64, Fields<'a>)> {
        if self.byte()? != 0 {
            return Err(FrameError::decode("a performative must be a described type"));
        }
        let code = ulong(self.raw_value()?)?;
        let (size, count) = match self.byte()? {
            0x45 => (0, 0),
            0xc0 => {
                let size = usize::from(self.byte()?);
                (size.checked_sub(1), usize::from(self.byte()?)).checked()?
            }
            0xd0 => {
                let size = self.be_u32()? as usize;
                (size.checked_sub(4), self.be_u32()? as usize).checked()?
            }
            other => {
                return Err(FrameError::decode(format!(
                    "a performative must be a list, not {other:#04x}"
                )));
            }
        };
        let fields = Reader::new(self.take(size)?);
        Ok((
            code,
            Fields {
                reader: fields,
                left: count,
            },
        ))
    }
}

trait Checked {
    fn checked(self) -> Decoded<(usize, usize)>;
}

impl Checked for (Option<usize>, usize) {
    fn checked(self) -> Decoded<(usize, usize)> {
        match self {
            (Some(size), count) => Ok((size, count)),
            (None, _) => Err(FrameError::decode("a list smaller than its own count")),
        }
    }
}

/// The fields of a composite type in order. Missing trailing fields read as null.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// The next field's bytes; `None` for null or absent.
    pub(super) fn raw(&mut self) -> Decoded<Option<&'a [u8]>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let raw = self.reader.raw_value()?;
        Ok((raw != [0x40]).then_some(raw))
    }

    pub(super) fn skip(&mut self, fields: usize) -> Decoded<()> {
        for _ in 0..fields {
            self.raw()?;
        }
        Ok(())
    }

    pub(super) fn uint(&mut self) -> Decoded<Option<u32>> {
        self.raw()?.map(uint).transpose()
    }

    pub(super) fn ubyte(&mut self) -> Decoded<Option<u8>> {
        self.raw()?
            .map(|raw| match raw {
                [0x50, value] => Ok(*value),
                _ => Err(FrameError::decode("expected a ubyte")),
            })
            .transpose()
    }

    pub(super) fn ushort(&mut self) -> Decoded<Option<u16>> {
        self.raw()?
            .map(|raw| match raw {
                [0x60, high, low] => Ok(u16::from_be_bytes([*high, *low])),
                _ => Err(FrameError::decode("expected a ushort")),
            })
            .transpose()
    }

    pub(super) fn boolean(&mut self) -> Decoded<Option<bool>> {
        self.raw()?
            .map(|raw| match raw {
                [0x41] | [0x56, 1] => Ok(true),
                [0x42] | [0x56, 0] => Ok(false),
                _ => Err(FrameError::decode("expected a boolean")),
            })
            .transpose()
    }

    /// Binary contents.
    pub(super) fn binary(&mut self) -> Decoded<Option<&'a [u8]>> {
        self.raw()?.map(|raw| variable(raw, 0xa0, 0xb0, "binary")).transpose()
    }

    pub(super) fn string(&mut self) -> Decoded<Option<String>> {
        self.raw()?
            .map(|raw| {
                let utf8 = variable(raw, 0xa1, 0xb1, "a string")?;
                std::str::from_utf8(utf8)
                    .map(str::to_owned)
                    .map_err(|_| FrameError::decode("a string that is not UTF-8"))
            })
            .transpose()
    }

    /// Anything `serde_amqp` can read.
    pub(super) fn typed<T: serde::de::DeserializeOwned>(&mut self, what: &'static str) -> Decoded<Option<T>> {
        let Some(raw) = self.raw()? else {
            return Ok(None);
        };
        from_slice(raw)
            .or_else(|error| with_symbol_keys(raw).ok_or(error))
            .map(Some)
            .map_err(|error| FrameError::decode(format!("{what}: {error}")))
    }
}

/// Reads a value once more with the keys of its maps as symbols. Where the standard has `fields`,
/// rhea (JavaScript) writes plain maps with strings for keys, for example in a rejection's info.
fn with_symbol_keys<T: serde::de::DeserializeOwned>(raw: &[u8]) -> Option<T> {
    let mut value: Value = from_slice(raw).ok()?;
    make_keys_symbols(&mut value);
    serde_amqp::from_slice(&serde_amqp::to_vec(&value).ok()?).ok()
}

fn make_keys_symbols(value: &mut Value) {
    match value {
        Value::Described(described) => make_keys_symbols(&mut described.value),
        Value::List(values) => values.iter_mut().for_each(make_keys_symbols),
        Value::Map(map) => {
            let pairs = std::mem::take(map).into_iter().map(|(key, mut value)| {
                make_keys_symbols(&mut value);
                match key {
                    Value::String(key) => (Value::Symbol(key.into()), value),
                    key => (key, value),
                }
            });
            *map = pairs.collect();
        }
        _ => {}
    }
}

fn uint(raw: &[u8]) -> Decoded<u32> {
    match *raw {
        [0x43] => Ok(0),
        [0x52, value] => Ok(u32::from(value)),
        [0x70, a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => Err(FrameError::decode("expected a uint")),
    }
}

fn ulong(raw: &[u8]) -> Decoded<u64> {
    let value = match raw {
        [0x44] => Some(0),
        [0x53, value] => Some(u64::from(*value)),
        [0x80, bytes @ ..] => bytes.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    };
    value.ok_or_else(|| FrameError::decode("expected a ulong"))
}

fn variable<'a>(raw: &'a [u8], short: u8, long: u8, what: &'static str) -> Decoded<&'a [u8]> {
    match raw {
        [code, _, rest @ ..] if *code == short => Ok(rest),
        [code, _, _, _, _, rest @ ..] if *code == long => Ok(rest),
        _ => Err(FrameError::decode(format!("expected {what}"))),
    }
}

/// The descriptor code of an encoded described value, if it has a numeric one.
pub(super) fn descriptor_code(raw: &[u8]) -> Option<u64> {
    let (&0, rest) = raw.split_first()? else {
        return None;
    };
    ulong(Reader::new(rest).raw_value().ok()?).ok()
}

/// Descriptor code, whole encoding and value.
pub(in crate::amqp) type RawSection<'a> = (u64, &'a [u8], &'a [u8]);

/// The described values of a message in a row.
pub(in crate::amqp) fn raw_sections(message: &[u8]) -> Decoded<Vec<RawSection<'_>>> {
    let mut reader = Reader::new(message);
    let mut sections = Vec::with_capacity(6);
    while !reader.rest().is_empty() {
        let encoded = reader.raw_value()?;
        let [0, inner @ ..] = encoded else {
            return Err(FrameError::decode("a message section must be a described value"));
        };
        let mut inner = Reader::new(inner);
        let code = match inner.raw_value()? {
            // A descriptor by name is as good as one by number, and nobody sends it.
            [0xa3 | 0xb3, ..] => return Err(FrameError::decode("a section described by name")),
            number => ulong(number)?,
        };
        sections.push((code, encoded, inner.rest()));
    }
    Ok(sections)
}
