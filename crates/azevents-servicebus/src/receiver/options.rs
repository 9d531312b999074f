//! Options of a receiver.

/// Who is responsible for a message once it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReceiveMode {
    /// The message stays in the entity, locked, until it is settled: nothing is lost.
    #[default]
    PeekLock,
    /// The message is gone from the entity when it is sent: a crash loses it.
    ReceiveAndDelete,
}

/// Options of a [`Receiver`](crate::Receiver).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReceiverOptions {
    /// Who is responsible for received messages. Default: peek-lock.
    pub mode: ReceiveMode,
    /// Messages fetched ahead of being asked for. Their locks run meanwhile, so this should be no more
    /// than what is handled within a lock's duration. Default: 0.
    pub prefetch: u32,
}

impl ReceiverOptions {
    /// Sets who is responsible for received messages.
    #[must_use]
    pub fn with_mode(mut self, mode: ReceiveMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how many messages are fetched ahead.
    #[must_use]
    pub fn with_prefetch(mut self, count: u32) -> Self {
        self.prefetch = count;
        self
    }
}
