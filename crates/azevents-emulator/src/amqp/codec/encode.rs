//! Performatives as we send them.
//!
//! Every list is written with all its fields: the Python clients read frames by position and break
//! on one that ends early, which AMQP 1.0 section 1.4 would allow.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use fe2o3_amqp_types::{
    definitions::{Fields, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{DeliveryState, Source, Target},
};
use serde::Serialize;
use serde_amqp::primitives::{Array, Symbol};

use super::{FrameKind, frame::HEADER};
use crate::amqp::error::Error;

/// Pieces up to this size are copied next to their frame header; a larger one becomes a chunk of
/// its own and is written from where it is.
const COPY_UP_TO: usize = 1024;

/// Frames waiting to be written.
#[derive(Debug, Default)]
pub(in crate::amqp) struct Encoder {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

/// Our half of an attach.
pub(in crate::amqp) struct AttachReply<'a> {
    pub(in crate::amqp) name: &'a str,
    pub(in crate::amqp) handle: u32,
    pub(in crate::amqp) role: Role,
    pub(in crate::amqp) snd_settle_mode: &'a SenderSettleMode,
    pub(in crate::amqp) rcv_settle_mode: ReceiverSettleMode,
    pub(in crate::amqp) source: Option<&'a Source>,
    pub(in crate::amqp) target: Option<&'a Target>,
    /// Our end is a coordinator, and no target.
    pub(in crate::amqp) coordinator: bool,
    pub(in crate::amqp) max_message_size: u64,
    pub(in crate::amqp) offered_capabilities: &'a [&'static str],
    pub(in crate::amqp) properties: &'a Fields,
}

/// A flow frame: the session's part, and a link's if there is a handle.
#[derive(Clone, Copy, Debug)]
pub(in crate::amqp) struct FlowOut {
    pub(in crate::amqp) next_incoming_id: u32,
    pub(in crate::amqp) incoming_window: u32,
    pub(in crate::amqp) next_outgoing_id: u32,
    pub(in crate::amqp) outgoing_window: u32,
    /// Handle, delivery count, credit, drain.
    pub(in crate::amqp) link: Option<(u32, u32, u32, bool)>,
}

/// The head of a transfer frame.
#[derive(Clone, Copy, Debug)]
pub(in crate::amqp) struct TransferOut<'a> {
    pub(in crate::amqp) handle: u32,
    /// Only in a delivery's first frame: id, tag, format.
    pub(in crate::amqp) first: Option<(u32, &'a [u8], u32)>,
    pub(in crate::amqp) settled: bool,
    pub(in crate::amqp) more: bool,
}

impl Encoder {
    /// Bytes not yet taken.
    pub(in crate::amqp) fn len(&self) -> usize {
        self.len
    }

    /// Everything encoded so far, in order.
    pub(in crate::amqp) fn take(&mut self) -> VecDeque<Bytes> {
        self.seal();
        self.len = 0;
        std::mem::take(&mut self.chunks)
    }

    /// Forgets what was encoded.
    pub(in crate::amqp) fn clear(&mut self) {
        self.take();
    }

    pub(in crate::amqp) fn raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// An empty frame, which only says that we are alive (section 2.4.5).
    pub(in crate::amqp) fn heartbeat(&mut self) {
        self.raw(&[0, 0, 0, 8, 2, 0, 0, 0]);
    }

    pub(in crate::amqp) fn sasl<T: Serialize>(&mut self, body: &T) {
        let start = self.begin_frame(FrameKind::Sasl, 0);
        self.value(body);
        self.end_frame(start, 0);
    }

    pub(in crate::amqp) fn open(
        &mut self,
        container_id: &str,
        max_frame_size: u32,
        channel_max: u16,
        idle_timeout_ms: u32,
    ) {
        self.performative(0, 0x10, |e, list| {
            list.string(e, container_id);
            list.null(e); // hostname
            list.uint(e, max_frame_size);
            list.ushort(e, channel_max);
            list.uint(e, idle_timeout_ms);
            for _ in 0..5 {
                list.null(e); // locales, capabilities, properties
            }
        });
    }

    pub(in crate::amqp) fn begin(&mut self, channel: u16, remote_channel: u16, flow: FlowOut, handle_max: u32) {
        self.performative(channel, 0x11, |e, list| {
            list.ushort(e, remote_channel);
            list.uint(e, flow.next_outgoing_id);
            list.uint(e, flow.incoming_window);
            list.uint(e, flow.outgoing_window);
            list.uint(e, handle_max);
            for _ in 0..3 {
                list.null(e); // capabilities, properties
            }
        });
    }

    pub(in crate::amqp) fn attach(&mut self, channel: u16, attach: &AttachReply<'_>) {
        let receiver = attach.role == Role::Receiver;
        self.performative(channel, 0x12, |e, list| {
            list.string(e, attach.name);
            list.uint(e, attach.handle);
            list.boolean(e, receiver);
            list.ubyte(e, attach.snd_settle_mode.into());
            list.ubyte(e, u8::from(&attach.rcv_settle_mode));
            list.optional(e, attach.source);
            if attach.coordinator {
                // Without capabilities (section 4.5.1).
                list.encoded(e, &[0x00, 0x53, 0x30, 0x45]);
            } else {
                list.optional(e, attach.target);
            }
            list.null(e); // unsettled
            list.boolean(e, false); // incomplete-unsettled
            if receiver {
                list.null(e); // initial-delivery-count is the sender's
            } else {
                list.uint(e, 0);
            }
            list.ulong(e, attach.max_message_size);
            let offered = attach.offered_capabilities.iter().map(|name| Symbol::from(*name));
            let offered = Array::from(offered.collect::<Vec<_>>());
            list.optional(e, Some(&offered).filter(|offered| !offered.is_empty()));
            list.null(e); // desired-capabilities
            list.optional(e, Some(attach.properties).filter(|fields| !fields.is_empty()));
        });
    }

    /// The attach of a link that will be detached at once: no source, no target (section 2.6.3).
    pub(in crate::amqp) fn refused_attach(&mut self, channel: u16, handle: u32, name: &str, role: &Role) {
        self.attach(
            channel,
            &AttachReply {
                name,
                handle,
                role: role.clone(),
                snd_settle_mode: &SenderSettleMode::Mixed,
                rcv_settle_mode: ReceiverSettleMode::First,
                source: None,
                target: None,
                coordinator: false,
                max_message_size: 0,
                offered_capabilities: &[],
                properties: &Fields::new(),
            },
        );
    }

    pub(in crate::amqp) fn flow(&mut self, channel: u16, flow: FlowOut) {
        self.performative(channel, 0x13, |e, list| {
            list.uint(e, flow.next_incoming_id);
            list.uint(e, flow.incoming_window);
            list.uint(e, flow.next_outgoing_id);
            list.uint(e, flow.outgoing_window);
            if let Some((handle, delivery_count, credit, drain)) = flow.link {
                list.uint(e, handle);
                list.uint(e, delivery_count);
                list.uint(e, credit);
                list.null(e); // available
                list.boolean(e, drain);
            } else {
                for _ in 0..5 {
                    list.null(e);
                }
            }
            list.boolean(e, false); // echo
            list.null(e); // properties
        });
    }

    /// One transfer frame of at most `max_frame` bytes; takes what fits from the front of
    /// `pieces` and returns whether that was all of it.
    pub(in crate::amqp) fn transfer(
        &mut self,
        channel: u16,
        max_frame: usize,
        mut head: TransferOut<'_>,
        pieces: &mut [Bytes],
    ) -> bool {
        let total: usize = pieces.iter().map(Bytes::len).sum();
        // Header, descriptor, list head; then handle, id, tag, format at most, and seven flags.
        let room = max_frame - HEADER - 3 - 9 - (5 + 5 + 34 + 5 + 7);
        let mut left = total.min(room);
        head.more = total > left;
        let start = self.begin_frame(FrameKind::Amqp, channel);
        self.performative_head(0x14, |e, list| {
            list.uint(e, head.handle);
            if let Some((id, tag, format)) = head.first {
                list.uint(e, id);
                list.binary(e, tag);
                list.uint(e, format);
            } else {
                list.null(e);
                list.null(e);
                list.null(e);
            }
            list.boolean(e, head.settled);
            list.boolean(e, head.more);
            for _ in 0..5 {
                list.null(e); // rcv-settle-mode, state, resume, aborted, batchable
            }
        });
        self.end_frame(start, left);
        for piece in pieces {
            let part = piece.split_to(left.min(piece.len()));
            left -= part.len();
            self.push(part);
        }
        !head.more
    }

    pub(in crate::amqp) fn disposition(
        &mut self,
        channel: u16,
        role: &Role,
        (first, last): (u32, u32),
        state: Option<&DeliveryState>,
    ) {
        self.performative(channel, 0x15, |e, list| {
            list.boolean(e, role.into());
            list.uint(e, first);
            list.uint(e, last);
            list.boolean(e, true); // settled
            match state {
                // The common case, without going through serde.
                Some(DeliveryState::Accepted(_)) => list.encoded(e, &[0x00, 0x53, 0x24, 0x45]),
                // With all fields of the error: azure-eventhub for Python reads those that are left
                // out, fails, and waits for ever.
                Some(DeliveryState::Rejected(rejected)) => {
                    put_described_list(e, 0x25, |e, list| list.error(e, rejected.error.as_ref()));
                    list.count += 1;
                }
                other => list.optional(e, other),
            }
            list.null(e); // batchable
        });
    }

    pub(in crate::amqp) fn detach(&mut self, channel: u16, handle: u32, closed: bool, error: Option<&Error>) {
        self.performative(channel, 0x16, |e, list| {
            list.uint(e, handle);
            list.boolean(e, closed);
            list.error(e, error);
        });
    }

    pub(in crate::amqp) fn end(&mut self, channel: u16, error: Option<&Error>) {
        self.performative(channel, 0x17, |e, list| list.error(e, error));
    }

    pub(in crate::amqp) fn close(&mut self, error: Option<&Error>) {
        self.performative(0, 0x18, |e, list| list.error(e, error));
    }

    fn performative(&mut self, channel: u16, code: u8, fields: impl FnOnce(&mut BytesMut, &mut List)) {
        let start = self.begin_frame(FrameKind::Amqp, channel);
        self.performative_head(code, fields);
        self.end_frame(start, 0);
    }

    fn performative_head(&mut self, code: u8, fields: impl FnOnce(&mut BytesMut, &mut List)) {
        put_described_list(&mut self.tail, code, fields);
    }

    fn begin_frame(&mut self, kind: FrameKind, channel: u16) -> usize {
        let start = self.tail.len();
        let [c0, c1] = channel.to_be_bytes();
        let kind = u8::from(kind == FrameKind::Sasl);
        self.tail.put_slice(&[0, 0, 0, 0, 2, kind, c0, c1]);
        start
    }

    /// Writes the frame's size, counting a payload that is still to come.
    fn end_frame(&mut self, start: usize, payload: usize) {
        let head = self.tail.len() - start;
        let size = (head + payload) as u32;
        self.tail[start..start + 4].copy_from_slice(&size.to_be_bytes());
        self.len += head;
    }

    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() <= COPY_UP_TO {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.seal();
            self.chunks.push_back(bytes);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }

    fn value<T: Serialize>(&mut self, value: &T) {
        put_value(&mut self.tail, value);
    }
}

/// Counts the fields of a list while they are written.
struct List {
    count: u32,
}

impl List {
    fn encoded(&mut self, out: &mut BytesMut, bytes: &[u8]) {
        out.put_slice(bytes);
        self.count += 1;
    }

    fn null(&mut self, out: &mut BytesMut) {
        self.encoded(out, &[0x40]);
    }

    fn boolean(&mut self, out: &mut BytesMut, value: bool) {
        self.encoded(out, &[if value { 0x41 } else { 0x42 }]);
    }

    fn ubyte(&mut self, out: &mut BytesMut, value: u8) {
        self.encoded(out, &[0x50, value]);
    }

    fn ushort(&mut self, out: &mut BytesMut, value: u16) {
        let [a, b] = value.to_be_bytes();
        self.encoded(out, &[0x60, a, b]);
    }

    fn uint(&mut self, out: &mut BytesMut, value: u32) {
        let [a, b, c, d] = value.to_be_bytes();
        match value {
            0 => self.encoded(out, &[0x43]),
            1..=0xff => self.encoded(out, &[0x52, d]),
            _ => self.encoded(out, &[0x70, a, b, c, d]),
        }
    }

    fn ulong(&mut self, out: &mut BytesMut, value: u64) {
        self.encoded(out, &[0x80]);
        out.put_u64(value);
    }

    fn binary(&mut self, out: &mut BytesMut, value: &[u8]) {
        if let Ok(len) = u8::try_from(value.len()) {
            self.encoded(out, &[0xa0, len]);
        } else {
            self.encoded(out, &[0xb0]);
            out.put_u32(value.len() as u32);
        }
        out.put_slice(value);
    }

    fn string(&mut self, out: &mut BytesMut, value: &str) {
        if let Ok(len) = u8::try_from(value.len()) {
            self.encoded(out, &[0xa1, len]);
        } else {
            self.encoded(out, &[0xb1]);
            out.put_u32(value.len() as u32);
        }
        out.put_slice(value.as_bytes());
    }

    fn error(&mut self, out: &mut BytesMut, error: Option<&Error>) {
        let Some(error) = error else {
            return self.null(out);
        };
        put_described_list(out, 0x1d, |e, list| {
            list.optional(e, Some(&error.condition));
            list.optional(e, error.description.as_ref());
            list.optional(e, error.info.as_ref());
        });
        self.count += 1;
    }

    fn optional<T: Serialize>(&mut self, out: &mut BytesMut, value: Option<&T>) {
        match value {
            None => self.null(out),
            Some(value) => {
                put_value(out, value);
                self.count += 1;
            }
        }
    }
}

/// A described list, whose size and count are filled in once its fields are there.
fn put_described_list(out: &mut BytesMut, code: u8, fields: impl FnOnce(&mut BytesMut, &mut List)) {
    out.put_slice(&[0x00, 0x53, code, 0xd0]);
    let size_at = out.len();
    out.put_slice(&[0; 8]);
    let mut list = List { count: 0 };
    fields(out, &mut list);
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out[size_at + 4..size_at + 8].copy_from_slice(&list.count.to_be_bytes());
}

fn put_value<T: Serialize>(out: &mut BytesMut, value: &T) {
    match serde_amqp::to_vec(value) {
        Ok(bytes) => out.put_slice(&bytes),
        Err(error) => {
            // Only a value of more than 4 GB fails; null keeps the frame well-formed.
            tracing::error!(%error, "a value could not be encoded");
            out.put_u8(0x40);
        }
    }
}
