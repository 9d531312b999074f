//! How an event hub's publisher sends, and where.

use std::time::Duration;

use azevents_core::RetryPolicy;

/// Which partition an event goes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// By the event's key: same key, same partition. Without a key each call's events go to the next partition in turn, up
    /// to 256 KB to each.
    ///
    /// The partition is found here, with the function of the official buffered producers in .NET, Java and
    /// JavaScript. So one batch carries many keys, and every partition has a send in flight. The service's
    /// own function is not published and may place a key elsewhere: where some other kind of producer
    /// writes events of the same keys to the same hub, use [`ServiceKey`](Self::ServiceKey).
    #[default]
    Key,
    /// By the event's key, as the service places it. A batch then carries one key only, and as many sends
    /// are in flight as there are [`connections`](PublisherOptions::connections). Events without a key go
    /// wherever the service likes.
    ServiceKey,
    /// All to the partition with this id, in the order they were accepted.
    Partition(String),
    /// The partitions in turn, whatever the keys: each call's events go to the next one, up to 256 KB to each. Evenly
    /// spread over many calls, and no order between two events, although their keys reach the consumer.
    RoundRobin,
}

/// How an [`EventHubPublisher`](super::EventHubPublisher) sends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublisherOptions {
    /// Which partition an event goes to.
    pub placement: Placement,
    /// Connections to share the partitions among; at [`Placement::ServiceKey`] also the sends that can be in
    /// flight. Each is opened at its first use.
    pub connections: usize,
    /// How long the first event of a batch waits for others. Zero sends at once what there is; what comes
    /// while a send is under way fills the next batch, so under load batches are full all the same.
    pub linger: Duration,
    /// Bytes of a batch beyond which no event is added, and the linger ends; the service's own limit holds
    /// besides. Counted without AMQP's framing.
    pub batch_bytes: usize,
    /// Bytes that may be accepted and not yet acknowledged; a call waits where there is no room.
    pub buffer_bytes: usize,
    /// How long to wait for the service to acknowledge one send. The SDK does not notice when the service
    /// closes a link during a send, so then this is how long it takes to go on; too short makes copies.
    pub send_timeout: Duration,
    /// How often one send is repeated on a fresh connection before the call fails.
    pub retry: RetryPolicy,
}

impl Default for PublisherOptions {
    /// By key over four connections, no linger, batches up to 1 MB, 32 MiB accepted at once, 10 s for a
    /// send and two repetitions of which the first at once.
    fn default() -> Self {
        Self {
            placement: Placement::default(),
            connections: 4,
            linger: Duration::ZERO,
            batch_bytes: 1_000_000,
            buffer_bytes: 32 << 20,
            send_timeout: Duration::from_secs(10),
            retry: RetryPolicy::default().with_retries(2).with_cap(Duration::from_secs(2)),
        }
    }
}

impl PublisherOptions {
    /// Sets which partition an event goes to.
    #[must_use]
    pub fn with_placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Sets the number of connections; at least 1.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Sets how long the first event of a batch waits for others.
    #[must_use]
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets how many bytes fill a batch; at least 1, which sends every event alone.
    #[must_use]
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.max(1);
        self
    }

    /// Sets how many bytes may wait for their acknowledgement; at least 1. A larger event waits until it is
    /// alone.
    #[must_use]
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        // What a semaphore can count in one request.
        self.buffer_bytes = bytes.clamp(1, u32::MAX as usize >> 3);
        self
    }

    /// Sets how long to wait for one acknowledgement.
    #[must_use]
    pub fn with_send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Sets the retries of one send.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }
}
