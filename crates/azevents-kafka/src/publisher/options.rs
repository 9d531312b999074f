//! How a topic's publisher sends.

use std::time::Duration;

/// How a [`KafkaPublisher`](super::KafkaPublisher) sends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublisherOptions {
    /// How long the first message of a batch waits for others.
    pub linger: Duration,
    /// The largest message, headers and framing included, in bytes. Event Hubs takes 1 MB.
    pub max_message_bytes: usize,
    /// Bytes that may wait for their acknowledgement.
    pub buffer_bytes: usize,
    /// How long a call waits for its acknowledgements, while brokers come and go.
    pub delivery_timeout: Duration,
}

impl Default for PublisherOptions {
    /// 5 ms linger, messages up to 1,000,000 bytes, 32 MiB waiting, 30 s for a call.
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(5),
            max_message_bytes: 1_000_000,
            buffer_bytes: 32 << 20,
            delivery_timeout: Duration::from_secs(30),
        }
    }
}

impl PublisherOptions {
    /// Sets how long the first message of a batch waits for others.
    #[must_use]
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets the largest message.
    #[must_use]
    pub fn with_max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Sets how many bytes may wait for their acknowledgement.
    #[must_use]
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Sets how long a call waits for its acknowledgements.
    #[must_use]
    pub fn with_delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }
}
