//! What a `transfer` says about the pieces of a message (AMQP 1.0 section 2.7.5).

/// The fields that tell which pieces make a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transfer {
    pub(super) handle: u32,
    /// Only the first piece must have it.
    pub(super) delivery_id: Option<u32>,
    /// Others follow.
    pub(super) more: bool,
}

impl Transfer {
    /// Reads the list behind the descriptor. What is not there has its default.
    pub(super) fn read(list: &[u8]) -> Option<Self> {
        // Behind size and count.
        let mut rest: &[u8] = match list {
            [0x45, ..] => &[],
            [0xc0, _, _, fields @ ..] | [0xd0, _, _, _, _, _, _, _, _, fields @ ..] => fields,
            _ => return None,
        };
        let mut field = || {
            let (field, others) = split(rest)?;
            rest = others;
            Some(field)
        };
        let handle = field().and_then(uint)?;
        let delivery_id = field().and_then(uint);
        // Tag, format and whether it is settled.
        let _ = (field(), field(), field());
        let more = field().is_some_and(is_true);
        // How to settle, the state, and whether it is resumed.
        let _ = (field(), field(), field());
        let aborted = field().is_some_and(is_true);
        Some(Self {
            handle,
            delivery_id,
            more: more && !aborted,
        })
    }
}

/// Where the list ends that begins here, once so much of it is there.
pub(super) fn end_of_list(bytes: &[u8]) -> ListEnd {
    match *bytes {
        [] | [0xc0] => ListEnd::Need(2),
        [0xd0, ref size @ ..] if size.len() < 4 => ListEnd::Need(5),
        [0x45, ..] => ListEnd::At(1),
        [0xc0, size, ..] => ListEnd::At(2 + usize::from(size)),
        [0xd0, a, b, c, d, ..] => ListEnd::At(5 + u32::from_be_bytes([a, b, c, d]) as usize),
        _ => ListEnd::None,
    }
}

pub(super) enum ListEnd {
    /// So many bytes tell.
    Need(usize),
    At(usize),
    /// It is no list.
    None,
}

/// The first value, and what is behind it. Descriptions, of which a transfer has one, end the reading.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (code, rest) = bytes.split_first()?;
    let contents = match code >> 4 {
        0x4 => 0,
        wide @ 0x5..=0x9 => 1 << (wide - 5),
        0xa | 0xc | 0xe => 1 + usize::from(*rest.first()?),
        0xb | 0xd | 0xf => 4 + u32::from_be_bytes(rest.first_chunk().copied()?) as usize,
        _ => return None,
    };
    bytes.split_at_checked(1 + contents)
}

fn uint(value: &[u8]) -> Option<u32> {
    match *value {
        [0x43] => Some(0),
        [0x52, small] => Some(u32::from(small)),
        [0x70, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

fn is_true(value: &[u8]) -> bool {
    matches!(value, [0x41] | [0x56, 1])
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::definitions::Handle;
    use fe2o3_amqp::types::messaging::{Accepted, DeliveryState};
    use fe2o3_amqp::types::performatives::Transfer as Whole;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn transfers_are_read_as_the_engine_writes_them(
            handle: u32,
            delivery_id: Option<u32>,
            tag in prop::option::of(prop::collection::vec(any::<u8>(), 0..32)),
            settled: Option<bool>,
            more: bool,
            aborted: bool,
        ) {
            let whole = Whole {
                handle: Handle(handle),
                delivery_id,
                delivery_tag: tag.map(Into::into),
                message_format: Some(0),
                settled,
                more,
                rcv_settle_mode: None,
                state: None,
                resume: false,
                aborted,
                batchable: true,
            };
            let bytes = serde_amqp::to_vec(&whole).unwrap();
            // Behind the descriptor, which is a small ulong.
            let list = &bytes[3..];
            prop_assert!(matches!(end_of_list(list), ListEnd::At(end) if end == list.len()));
            let expected = Transfer { handle, delivery_id, more: more && !aborted };
            prop_assert_eq!(Transfer::read(list), Some(expected));
            let resumed = Whole { state: Some(DeliveryState::Accepted(Accepted {})), ..whole };
            let bytes = serde_amqp::to_vec(&resumed).unwrap();
            prop_assert_eq!(Transfer::read(&bytes[3..]).map(|transfer| transfer.handle), Some(handle));
        }

        #[test]
        fn whatever_bytes_come_nothing_breaks(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Transfer::read(&bytes), end_of_list(&bytes));
        }
    }
}
