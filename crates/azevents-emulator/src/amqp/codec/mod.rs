//! Frames to and from bytes (AMQP 1.0 sections 1.6, 2.3 and 2.7).
//!
//! Own code for the frame, the list and the primitives in it, because the two frames of the hot
//! path (transfer, disposition) should not allocate and because some clients need every trailing
//! field of open, begin and attach written out. Nested types (source, target, error, outcomes)
//! go through `serde_amqp`, after a look at whether they are fit for it.

mod decode;
mod encode;
mod frame;
mod primitive;
#[cfg(test)]
mod tests;
mod value;

pub(super) use decode::{Attach, AttachTarget, Begin, Detach, Disposition, Flow, Open, Performative, Transfer};
pub(super) use encode::{AttachReply, Encoder, FlowOut, TransferOut};
pub(super) use frame::{Frame, FrameError, FrameKind, next_frame};
pub(super) use primitive::raw_sections;
pub(super) use value::from_slice;
