//! How deep values are nested, seen from their bytes as they go past.
//!
//! Whoever may send to a queue chooses how deep the values in a message are nested, and `serde_amqp` follows them by
//! recursion: a few kilobytes of lists in lists end its stack, and with it the process of every consumer in turn.
//! So values are looked through before they are decoded, without recursion, and by the same grammar (AMQP 1.0
//! section 1.2): it goes by counts, as the decoder does, and not by sizes, which may lie.

/// Values nested deeper than this are not decoded. A section with a map of properties comes to three.
pub(crate) const DEEPEST: usize = 64;

/// What looks like no constructor (section 1.2): the decoder ends there with an error.
const NO_CONSTRUCTOR: u8 = 0x0f;

/// A value that has begun and not ended.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// Its descriptor is not there yet.
    Descriptor,
    /// Its descriptor is there.
    Described,
    /// A list or map with so many values to come.
    Values(u32),
    /// An array with so many elements to come; their constructor is not there yet.
    Array(u32),
    /// An array with so many elements to come, of this constructor.
    Elements(u32, u8),
}

/// What the next byte is.
#[derive(Debug, Clone, Copy)]
enum Next {
    Constructor,
    /// Of the size of a value with this constructor: bytes to come, and what those so far say.
    Size(u8, u8, u32),
    /// Of the count of a value with this constructor: as above.
    Count(u8, u8, u32),
    /// Contents, so many bytes.
    Contents(u32),
}

/// Follows values in a row, which may come in any pieces.
#[derive(Debug, Clone)]
pub(crate) struct Nesting {
    open: Vec<Open>,
    next: Next,
    /// Something was wrong; nothing is looked at any more.
    refused: bool,
}

impl Default for Nesting {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            next: Next::Constructor,
            refused: false,
        }
    }
}

/// Values are nested too deep, or are none.
struct Refused;

impl Nesting {
    /// Makes everything from the first value on that should not be decoded undecodable.
    pub(crate) fn spoil(&mut self, bytes: &mut [u8]) {
        let fit = self.follow(bytes);
        bytes[fit..].fill(NO_CONSTRUCTOR);
    }

    /// Whether these values, all of them, may be decoded.
    pub(crate) fn allows(bytes: &[u8]) -> bool {
        Self::default().follow(bytes) == bytes.len()
    }

    /// How long the first of these values is, if it may be decoded.
    pub(crate) fn first(bytes: &[u8]) -> Option<usize> {
        let mut nesting = Self::default();
        (1..=bytes.len())
            .find(|end| nesting.follow(&bytes[end - 1..*end]) == 0 || nesting.is_between())
            .filter(|_| !nesting.refused)
    }

    /// Whether what was followed so far has ended.
    fn is_between(&self) -> bool {
        self.open.is_empty() && matches!(self.next, Next::Constructor)
    }

    /// What comes next belongs to values that were followed before, or to others; if what was followed here has not
    /// ended, it is refused.
    pub(crate) fn go_on(&mut self, begun: Option<Self>) {
        let refused = self.refused || !self.is_between();
        if let Some(begun) = begun {
            *self = begun;
        }
        self.refused |= refused;
    }

    /// What comes next has nothing to do with what was followed so far.
    pub(crate) fn reset(&mut self) {
        self.open.clear();
        self.next = Next::Constructor;
        self.refused = false;
    }

    /// How many of these bytes may be decoded: those before the first value that should not be.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        if self.refused {
            return 0;
        }
        let mut at = 0;
        while at < bytes.len() {
            let taken = match self.next {
                Next::Contents(left) => {
                    let taken = (left as usize).min(bytes.len() - at);
                    self.contents(left - taken as u32).map(|()| taken)
                }
                _ => self.byte(bytes[at]).map(|()| 1),
            };
            let Ok(taken) = taken else {
                self.refused = true;
                break;
            };
            at += taken;
        }
        at
    }

    fn byte(&mut self, byte: u8) -> Result<(), Refused> {
        match self.next {
            Next::Constructor => self.constructor(byte),
            Next::Size(code, left, value) => {
                let value = value << 8 | u32::from(byte);
                match (left - 1, code >> 4) {
                    (0, 0xa | 0xb) => self.contents(value),
                    (0, _) => {
                        self.next = Next::Count(code, width(code), 0);
                        Ok(())
                    }
                    (left, _) => {
                        self.next = Next::Size(code, left, value);
                        Ok(())
                    }
                }
            }
            Next::Count(code, left, value) => {
                let value = value << 8 | u32::from(byte);
                if left > 1 {
                    self.next = Next::Count(code, left - 1, value);
                    return Ok(());
                }
                self.compound(code, value)
            }
            Next::Contents(_) => Err(Refused),
        }
    }

    fn constructor(&mut self, code: u8) -> Result<(), Refused> {
        if let Some(Open::Array(count)) = self.open.last().copied() {
            // Described elements would be followed as well, but nobody sends them.
            if code == 0 {
                return Err(Refused);
            }
            self.open.pop();
            // Elements without contents end with their constructor, however many they are.
            let count = if code >> 4 == 4 { 0 } else { count };
            self.open.push(Open::Elements(count, code));
            return self.ended_inside();
        }
        if code == 0 {
            self.next = Next::Constructor;
            return self.push(Open::Descriptor);
        }
        self.begin(code)
    }

    /// A value begins behind its constructor.
    fn begin(&mut self, code: u8) -> Result<(), Refused> {
        match code >> 4 {
            0x4 => self.contents(0),
            wide @ 0x5..=0x9 => self.contents(1 << (wide - 5)),
            0xa..=0xf => {
                self.next = Next::Size(code, width(code), 0);
                Ok(())
            }
            _ => Err(Refused),
        }
    }

    fn compound(&mut self, code: u8, count: u32) -> Result<(), Refused> {
        self.next = Next::Constructor;
        match code >> 4 {
            0xe | 0xf => self.push(Open::Array(count)),
            // A key without a value.
            _ if code & 1 == 1 && count % 2 == 1 => Err(Refused),
            _ => {
                self.push(Open::Values(count))?;
                self.ended_inside()
            }
        }
    }

    fn push(&mut self, open: Open) -> Result<(), Refused> {
        if self.open.len() >= DEEPEST {
            return Err(Refused);
        }
        self.open.push(open);
        Ok(())
    }

    /// So many bytes of contents are left of a value; it ends with none.
    fn contents(&mut self, left: u32) -> Result<(), Refused> {
        if left > 0 {
            self.next = Next::Contents(left);
            return Ok(());
        }
        self.ended()
    }

    /// A value has ended, and what ends with it.
    fn ended(&mut self) -> Result<(), Refused> {
        match self.open.last_mut() {
            None => {
                self.next = Next::Constructor;
                return Ok(());
            }
            Some(open @ Open::Descriptor) => {
                *open = Open::Described;
                self.next = Next::Constructor;
                return Ok(());
            }
            Some(Open::Values(left) | Open::Elements(left, _)) => *left = left.saturating_sub(1),
            Some(Open::Described | Open::Array(_)) => {}
        }
        self.ended_inside()
    }

    /// Something within the innermost value has ended, or could have.
    fn ended_inside(&mut self) -> Result<(), Refused> {
        match self.open.last().copied() {
            Some(Open::Described | Open::Values(0) | Open::Elements(0, _)) => {
                self.open.pop();
                self.ended()
            }
            Some(Open::Elements(_, code)) => self.begin(code),
            _ => {
                self.next = Next::Constructor;
                Ok(())
            }
        }
    }
}

/// Bytes of a size or a count.
fn width(code: u8) -> u8 {
    if matches!(code >> 4, 0xa | 0xc | 0xe) { 1 } else { 4 }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::primitives::{Array, OrderedMap, Value};
    use proptest::prelude::*;
    use serde_amqp::described::Described;
    use serde_amqp::descriptor::Descriptor;

    use super::*;
    use crate::amqp::guard;

    /// As deep as told, one in the other.
    fn deep(layers: usize, layer: &[u8]) -> Vec<u8> {
        [layer.repeat(layers), vec![0x40]].concat()
    }

    /// A list, a map's value, an array of lists and a description; their sizes lie.
    const LAYERS: [&[u8]; 5] = [
        &[0xd0, 0, 0, 0, 4, 0, 0, 0, 1],
        &[0xc0, 1, 1],
        &[0xc1, 1, 2, 0x40],
        &[0xe0, 1, 1, 0xc0, 1, 1],
        &[0x00, 0x53, 0x77],
    ];

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u8>().prop_map(Value::Ubyte),
            any::<u16>().prop_map(Value::Ushort),
            any::<u32>().prop_map(Value::Uint),
            any::<u64>().prop_map(Value::Ulong),
            any::<i32>().prop_map(Value::Int),
            any::<i64>().prop_map(Value::Long),
            any::<[u8; 16]>().prop_map(|bytes| Value::Uuid(bytes.into())),
            ".{0,300}".prop_map(Value::String),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Binary(bytes.into())),
            prop::collection::vec(any::<u32>().prop_map(Value::Uint), 1..5).prop_map(|all| Value::Array(Array(all))),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..5);
            let map = prop::collection::vec((".{0,8}".prop_map(Value::String), inner.clone()), 0..5);
            prop_oneof![
                list.prop_map(Value::List),
                map.prop_map(|pairs| Value::Map(pairs.into_iter().collect::<OrderedMap<_, _>>())),
                (any::<u64>(), inner).prop_map(|(code, value)| {
                    Value::Described(Box::new(Described {
                        descriptor: Descriptor::Code(code),
                        value,
                    }))
                }),
            ]
        })
    }

    #[test]
    fn what_is_too_deep_is_refused_however_sizes_lie_and_what_is_not_is_left_alone() {
        for layer in LAYERS {
            // An array counts beside the lists in it.
            let layers = if layer[0] == 0xe0 { DEEPEST / 2 } else { DEEPEST };
            assert!(Nesting::allows(&deep(layers, layer)), "{layer:x?}");
            assert!(!Nesting::allows(&deep(layers + 1, layer)), "{layer:x?}");
        }
        assert!(!Nesting::allows(&[0; 1000]), "descriptors of descriptors");
    }

    #[test]
    fn what_is_spoilt_is_an_error_and_no_end_of_the_stack() {
        for layer in LAYERS {
            let mut bytes = deep(20_000, layer);
            Nesting::default().spoil(&mut bytes);
            assert!(guard::decode::<Value>(&bytes).is_err(), "{layer:x?}");
        }
    }

    proptest! {
        #[test]
        fn values_pass_in_any_pieces(values in prop::collection::vec(any_value(), 1..4), size in 1..50_usize) {
            let mut bytes = Vec::new();
            for value in &values {
                bytes.extend(serde_amqp::to_vec(value).unwrap());
            }
            prop_assert!(Nesting::allows(&bytes));
            let mut nesting = Nesting::default();
            let mut passed = bytes.clone();
            for piece in passed.chunks_mut(size) {
                nesting.spoil(piece);
            }
            prop_assert_eq!(passed, bytes);
            prop_assert!(nesting.open.is_empty());
        }

        #[test]
        fn whatever_bytes_come_nothing_breaks(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            Nesting::default().spoil(&mut bytes);
            let _ = guard::decode::<Value>(&bytes);
        }
    }
}
