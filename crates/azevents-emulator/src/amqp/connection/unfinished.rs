//! Messages of which more is to come. Each link may have one, and a connection may have thousands of links: together
//! they may hold only so much.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use fe2o3_amqp_types::messaging::DeliveryState;

use crate::amqp::{
    codec::Transfer,
    error::{self, Error},
};

/// Bytes that a connection's unfinished messages may come to, and how many of the largest messages may be under way at
/// once where those are larger.
const MAX_UNFINISHED: usize = 64 * 1024 * 1024;
const LARGEST_AT_ONCE: usize = 4;

/// How much the unfinished messages of one connection hold. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfinished {
    bytes: Arc<AtomicUsize>,
    most: usize,
}

impl Unfinished {
    /// For a connection whose largest message has this many bytes.
    pub(super) fn new(max_message_size: u64) -> Self {
        let largest = usize::try_from(max_message_size).unwrap_or(usize::MAX);
        Self {
            bytes: Arc::default(),
            most: MAX_UNFINISHED.max(largest.saturating_mul(LARGEST_AT_ONCE)),
        }
    }
}

/// What has come of a message; gives back what it holds when it is dropped.
pub(super) struct Partial {
    pub(super) id: u32,
    pub(super) format: u32,
    pub(super) settled: bool,
    pub(super) state: Option<DeliveryState>,
    /// Copied together as it comes: a piece of its own for each frame would cost more than a frame that says little,
    /// and nothing bounds the number of those.
    joined: Vec<u8>,
    /// Bytes of a message that is too large to be kept.
    discarded: usize,
    counted: Unfinished,
}

impl Partial {
    pub(super) fn new(id: u32, format: u32, counted: &Unfinished) -> Self {
        Self {
            id,
            format,
            settled: false,
            state: None,
            joined: Vec::new(),
            discarded: 0,
            counted: counted.clone(),
        }
    }

    /// Bytes that have come so far, up to the last frame.
    pub(super) fn size(&self) -> usize {
        self.joined.len() + self.discarded
    }

    /// Gives up what has come and what comes now; only its size is known from then on.
    pub(super) fn discard(&mut self, more: usize) {
        self.discarded += self.take().len() + more;
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.discarded > 0
    }

    /// Takes what a frame says of the message besides its bytes.
    pub(super) fn note(&mut self, transfer: &mut Transfer) {
        self.settled |= transfer.settled;
        self.state = transfer.state.take().or(self.state.take());
    }

    /// Keeps a frame's bytes until the others are there.
    pub(super) fn keep(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.joined.extend_from_slice(payload);
        let total = self.counted.bytes.fetch_add(payload.len(), Ordering::Relaxed) + payload.len();
        if total > self.counted.most {
            return Err(error::with(
                fe2o3_amqp_types::definitions::AmqpError::ResourceLimitExceeded,
                format!(
                    "This connection has begun messages of more than {} bytes together and finished none of them.",
                    self.counted.most
                ),
            ));
        }
        Ok(())
    }

    /// All of it, with the last frame's bytes.
    pub(super) fn finish(&mut self, last: Bytes) -> Bytes {
        if self.joined.is_empty() {
            return last;
        }
        let mut joined = self.take();
        joined.reserve_exact(last.len());
        joined.extend_from_slice(&last);
        // A broker may keep it for long.
        joined.shrink_to_fit();
        joined.into()
    }

    fn take(&mut self) -> Vec<u8> {
        self.counted.bytes.fetch_sub(self.joined.len(), Ordering::Relaxed);
        std::mem::take(&mut self.joined)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.take();
    }
}
