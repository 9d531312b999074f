//! The frame around a performative (AMQP 1.0 section 2.3).

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError, ErrorCondition};

use super::super::error::{self, Error};

/// Size of the fixed part of a frame's header.
pub(in crate::amqp) const HEADER: usize = 8;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::amqp) enum FrameKind {
    Amqp,
    Sasl,
}

/// A frame without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::amqp) struct Frame {
    pub(in crate::amqp) kind: FrameKind,
    pub(in crate::amqp) channel: u16,
    /// Empty for a heartbeat.
    pub(in crate::amqp) body: Bytes,
}

/// What is wrong with bytes from the peer; ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::amqp) struct FrameError {
    condition: ErrorCondition,
    description: String,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

impl FrameError {
    pub(in crate::amqp) fn framing(description: impl Into<String>) -> Self {
        Self {
            condition: ConnectionError::FramingError.into(),
            description: description.into(),
        }
    }

    pub(in crate::amqp) fn decode(description: impl Into<String>) -> Self {
        Self {
            condition: AmqpError::DecodeError.into(),
            description: description.into(),
        }
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        error::with(error.condition, error.description)
    }
}

/// Cuts the next frame off the front of `buffer`; `None` if it is not there completely yet. A
/// frame larger than `max_size` is an error as soon as its size is known.
pub(in crate::amqp) fn next_frame(buffer: &mut BytesMut, max_size: u32) -> Result<Option<Frame>, FrameError> {
    let [s0, s1, s2, s3, doff, kind, c0, c1, ..] = **buffer else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    if size > max_size {
        return Err(FrameError::framing(format!(
            "a frame of {size} bytes; the limit is {max_size}"
        )));
    }
    let (size, body) = (size as usize, usize::from(doff) * 4);
    if body < HEADER || body > size {
        return Err(FrameError::framing("a frame whose body starts outside of it"));
    }
    let kind = match kind {
        0 => FrameKind::Amqp,
        1 => FrameKind::Sasl,
        other => return Err(FrameError::framing(format!("unknown frame type {other}"))),
    };
    if buffer.len() < size {
        buffer.reserve(size - buffer.len());
        return Ok(None);
    }
    let mut frame = buffer.split_to(size).freeze();
    frame.advance(body);
    Ok(Some(Frame {
        kind,
        channel: u16::from_be_bytes([c0, c1]),
        body: frame,
    }))
}
