//! Performatives as peers send them (AMQP 1.0 section 2.7), reduced to the fields we act on.

use bytes::Bytes;
use fe2o3_amqp_types::{
    definitions::{self, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{DeliveryState, Source, Target},
};
use serde_amqp::Value;

use super::{
    FrameError,
    primitive::{Decoded, Fields, Reader, descriptor_code},
    value::from_slice,
};
use crate::amqp::error::Error;

/// Descriptor code of a transaction coordinator (section 4.5.1).
const COORDINATOR: u64 = 0x30;

#[derive(Debug)]
pub(in crate::amqp) enum Performative {
    Open(Open),
    Begin(Begin),
    Attach(Box<Attach>),
    Flow(Flow),
    Transfer(Transfer),
    Disposition(Disposition),
    Detach(Detach),
    End(Option<Error>),
    Close(Option<Error>),
}

#[derive(Debug)]
pub(in crate::amqp) struct Open {
    pub(in crate::amqp) container_id: String,
    pub(in crate::amqp) max_frame_size: u32,
    pub(in crate::amqp) channel_max: u16,
    /// Milliseconds.
    pub(in crate::amqp) idle_timeout: Option<u32>,
}

#[derive(Debug)]
pub(in crate::amqp) struct Begin {
    pub(in crate::amqp) next_outgoing_id: u32,
    pub(in crate::amqp) incoming_window: u32,
    pub(in crate::amqp) handle_max: u32,
}

#[derive(Debug)]
pub(in crate::amqp) struct Attach {
    pub(in crate::amqp) name: String,
    pub(in crate::amqp) handle: u32,
    pub(in crate::amqp) role: Role,
    pub(in crate::amqp) snd_settle_mode: SenderSettleMode,
    pub(in crate::amqp) rcv_settle_mode: ReceiverSettleMode,
    pub(in crate::amqp) source: Option<Source>,
    pub(in crate::amqp) target: Option<AttachTarget>,
    pub(in crate::amqp) initial_delivery_count: u32,
    pub(in crate::amqp) desired_capabilities: Vec<String>,
    pub(in crate::amqp) properties: definitions::Fields,
}

#[derive(Debug)]
pub(in crate::amqp) enum AttachTarget {
    Node(Target),
    /// A transaction coordinator (section 4.2).
    Coordinator,
}

#[derive(Debug, Default)]
pub(in crate::amqp) struct Flow {
    pub(in crate::amqp) next_incoming_id: Option<u32>,
    pub(in crate::amqp) incoming_window: u32,
    pub(in crate::amqp) handle: Option<u32>,
    pub(in crate::amqp) delivery_count: Option<u32>,
    pub(in crate::amqp) link_credit: Option<u32>,
    pub(in crate::amqp) drain: bool,
    pub(in crate::amqp) echo: bool,
}

#[derive(Debug)]
pub(in crate::amqp) struct Transfer {
    pub(in crate::amqp) handle: u32,
    pub(in crate::amqp) delivery_id: Option<u32>,
    /// The tag itself is the sender's affair: links are not resumed.
    pub(in crate::amqp) has_tag: bool,
    pub(in crate::amqp) message_format: Option<u32>,
    pub(in crate::amqp) settled: bool,
    pub(in crate::amqp) more: bool,
    pub(in crate::amqp) state: Option<DeliveryState>,
    pub(in crate::amqp) aborted: bool,
    pub(in crate::amqp) payload: Bytes,
}

#[derive(Debug)]
pub(in crate::amqp) struct Disposition {
    pub(in crate::amqp) role: Role,
    pub(in crate::amqp) first: u32,
    pub(in crate::amqp) last: u32,
    pub(in crate::amqp) settled: bool,
    pub(in crate::amqp) state: Option<DeliveryState>,
}

#[derive(Debug)]
pub(in crate::amqp) struct Detach {
    pub(in crate::amqp) handle: u32,
    pub(in crate::amqp) closed: bool,
    pub(in crate::amqp) error: Option<Error>,
}

impl Performative {
    /// Reads a frame's body; what follows the performative is a transfer's payload.
    pub(in crate::amqp) fn decode(body: &Bytes) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let (code, mut fields) = reader.described_list()?;
        let f = &mut fields;
        Ok(match code {
            0x10 => Self::Open(open(f)?),
            0x11 => Self::Begin(begin(f)?),
            0x12 => Self::Attach(Box::new(attach(f)?)),
            0x13 => Self::Flow(flow(f)?),
            0x14 => Self::Transfer(transfer(f, body, body.len() - reader.rest().len())?),
            0x15 => Self::Disposition(disposition(f)?),
            0x16 => Self::Detach(Detach {
                handle: required(f.uint()?, "detach.handle")?,
                closed: f.boolean()?.unwrap_or(false),
                error: f.typed("detach.error")?,
            }),
            0x17 => Self::End(f.typed("end.error")?),
            0x18 => Self::Close(f.typed("close.error")?),
            _ => {
                return Err(FrameError::decode(format!("unknown performative {code:#x}")));
            }
        })
    }
}

fn required<T>(value: Option<T>, field: &'static str) -> Decoded<T> {
    value.ok_or_else(|| FrameError::decode(format!("{field} is missing")))
}

fn open(f: &mut Fields<'_>) -> Decoded<Open> {
    let container_id = required(f.string()?, "open.container-id")?;
    f.skip(1)?; // hostname
    Ok(Open {
        container_id,
        max_frame_size: f.uint()?.unwrap_or(u32::MAX),
        channel_max: f.ushort()?.unwrap_or(u16::MAX),
        idle_timeout: f.uint()?,
    })
}

fn begin(f: &mut Fields<'_>) -> Decoded<Begin> {
    f.skip(1)?; // remote-channel: only in answers, and we never ask
    let next_outgoing_id = required(f.uint()?, "begin.next-outgoing-id")?;
    let incoming_window = required(f.uint()?, "begin.incoming-window")?;
    f.skip(1)?; // outgoing-window
    Ok(Begin {
        next_outgoing_id,
        incoming_window,
        handle_max: f.uint()?.unwrap_or(u32::MAX),
    })
}

fn attach(f: &mut Fields<'_>) -> Decoded<Attach> {
    let name = required(f.string()?, "attach.name")?;
    let handle = required(f.uint()?, "attach.handle")?;
    let role = role(f, "attach.role")?;
    let snd_settle_mode = match f.ubyte()? {
        Some(0) => SenderSettleMode::Unsettled,
        Some(1) => SenderSettleMode::Settled,
        Some(2) | None => SenderSettleMode::Mixed,
        Some(_) => return Err(FrameError::decode("attach.snd-settle-mode is unknown")),
    };
    let rcv_settle_mode = match f.ubyte()? {
        Some(0) | None => ReceiverSettleMode::First,
        Some(1) => ReceiverSettleMode::Second,
        Some(_) => return Err(FrameError::decode("attach.rcv-settle-mode is unknown")),
    };
    let source = f.typed("attach.source")?;
    let target = match f.raw()? {
        None => None,
        Some(raw) if descriptor_code(raw) == Some(COORDINATOR) => Some(AttachTarget::Coordinator),
        Some(raw) => {
            Some(AttachTarget::Node(from_slice(raw).map_err(|error| {
                FrameError::decode(format!("attach.target: {error}"))
            })?))
        }
    };
    f.skip(2)?; // unsettled, incomplete-unsettled: links are not resumed
    let initial_delivery_count = f.uint()?.unwrap_or(0);
    f.skip(2)?; // max-message-size, offered-capabilities
    let desired_capabilities = symbols(f)?;
    Ok(Attach {
        name,
        handle,
        role,
        snd_settle_mode,
        rcv_settle_mode,
        source,
        target,
        initial_delivery_count,
        desired_capabilities,
        properties: f.typed("attach.properties")?.unwrap_or_default(),
    })
}

/// A field that may have several values: one symbol, or an array of them (section 1.4, "multiple"). What is no symbol
/// is left out: these are wishes, and we don't know that one.
fn symbols(f: &mut Fields<'_>) -> Decoded<Vec<String>> {
    let values = match f.raw()?.map(from_slice) {
        Some(Ok(Value::Array(several))) => several.0,
        Some(Ok(one)) => vec![one],
        Some(Err(_)) | None => Vec::new(),
    };
    let symbol = |value| match value {
        Value::Symbol(symbol) => Some(symbol.into_inner()),
        _ => None,
    };
    Ok(values.into_iter().filter_map(symbol).collect())
}

fn flow(f: &mut Fields<'_>) -> Decoded<Flow> {
    let next_incoming_id = f.uint()?;
    let incoming_window = required(f.uint()?, "flow.incoming-window")?;
    f.skip(2)?; // next-outgoing-id, outgoing-window: the transfers themselves tell
    let handle = f.uint()?;
    let delivery_count = f.uint()?;
    let link_credit = f.uint()?;
    f.skip(1)?; // available
    Ok(Flow {
        next_incoming_id,
        incoming_window,
        handle,
        delivery_count,
        link_credit,
        drain: f.boolean()?.unwrap_or(false),
        echo: f.boolean()?.unwrap_or(false),
    })
}

fn transfer(f: &mut Fields<'_>, body: &Bytes, payload: usize) -> Decoded<Transfer> {
    let handle = required(f.uint()?, "transfer.handle")?;
    let delivery_id = f.uint()?;
    let has_tag = f.binary()?.is_some();
    let message_format = f.uint()?;
    let settled = f.boolean()?.unwrap_or(false);
    let more = f.boolean()?.unwrap_or(false);
    f.skip(1)?; // rcv-settle-mode: ours is always first
    let state = f.typed("transfer.state")?;
    f.skip(1)?; // resume
    Ok(Transfer {
        handle,
        delivery_id,
        has_tag,
        message_format,
        settled,
        more,
        state,
        aborted: f.boolean()?.unwrap_or(false),
        payload: body.slice(payload..),
    })
}

fn disposition(f: &mut Fields<'_>) -> Decoded<Disposition> {
    let role = role(f, "disposition.role")?;
    let first = required(f.uint()?, "disposition.first")?;
    Ok(Disposition {
        role,
        first,
        last: f.uint()?.unwrap_or(first),
        settled: f.boolean()?.unwrap_or(false),
        state: f.typed("disposition.state")?,
    })
}

fn role(f: &mut Fields<'_>, field: &'static str) -> Decoded<Role> {
    Ok(Role::from(required(f.boolean()?, field)?))
}
