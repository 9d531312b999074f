//! Options of the consumers, with the defaults of the .NET processors where those suit a service.

use std::time::Duration;

use super::delayed::DelayedRetry;
use crate::processor::options::MAX_LOCK_RENEWAL;

/// Options of a [`ServiceBusConsumer`](super::ServiceBusConsumer).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// Messages handled at once. Default: 16.
    pub concurrency: usize,
    /// Messages fetched ahead of their turn; their locks run meanwhile. Default: 0.
    pub prefetch: u32,
    /// How long the lock of one message is renewed while it is handled; zero never. Default: 5 minutes.
    pub max_lock_renewal: Duration,
    /// How a message is tried again that its pipeline has given up on for now: later, as a scheduled copy. Default:
    /// at once, by giving it back.
    pub delayed_retry: Option<DelayedRetry>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            prefetch: 0,
            max_lock_renewal: MAX_LOCK_RENEWAL,
            delayed_retry: None,
        }
    }
}

impl ConsumerOptions {
    /// Sets how many messages are handled at once.
    #[must_use]
    pub fn with_concurrency(mut self, count: usize) -> Self {
        self.concurrency = count;
        self
    }

    /// Sets how many messages are fetched ahead.
    #[must_use]
    pub fn with_prefetch(mut self, count: u32) -> Self {
        self.prefetch = count;
        self
    }

    /// Sets how long the lock of one message is renewed.
    #[must_use]
    pub fn with_max_lock_renewal(mut self, duration: Duration) -> Self {
        self.max_lock_renewal = duration;
        self
    }

    /// Sets how a message is tried again later.
    #[must_use]
    pub fn with_delayed_retry(mut self, retry: DelayedRetry) -> Self {
        self.delayed_retry = Some(retry);
        self
    }
}

/// Options of a [`SessionConsumer`](super::SessionConsumer).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionConsumerOptions {
    /// Sessions held at once, one message each. Default: 8.
    pub sessions: usize,
    /// Messages of a session fetched at once. Default: 50.
    pub prefetch: u32,
    /// How long to wait for another message of a session before the next session is taken. Short, since
    /// other sessions wait meanwhile; a message that comes later finds the session again. Default: 250 ms.
    pub idle_timeout: Duration,
    /// How long the service looks for a session before it is asked again. Default: 60 s.
    pub accept_timeout: Duration,
    /// How long the session's lock is renewed while one message is handled; zero never. Default: 5 minutes.
    pub max_lock_renewal: Duration,
    /// How long to wait before a message is given back that its pipeline has given up on for now. Its session is held
    /// meanwhile, so that what follows does not overtake it. Default: not at all.
    pub delayed_retry: Option<DelayedRetry>,
}

impl Default for SessionConsumerOptions {
    fn default() -> Self {
        Self {
            sessions: 8,
            prefetch: 50,
            idle_timeout: Duration::from_millis(250),
            accept_timeout: Duration::from_secs(60),
            max_lock_renewal: MAX_LOCK_RENEWAL,
            delayed_retry: None,
        }
    }
}

impl SessionConsumerOptions {
    /// Sets how many sessions are held at once.
    #[must_use]
    pub fn with_sessions(mut self, count: usize) -> Self {
        self.sessions = count;
        self
    }

    /// Sets how many messages of a session are fetched at once.
    #[must_use]
    pub fn with_prefetch(mut self, count: u32) -> Self {
        self.prefetch = count;
        self
    }

    /// Sets how long to wait for another message of a session.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how long the service looks for a session before it is asked again.
    #[must_use]
    pub fn with_accept_timeout(mut self, timeout: Duration) -> Self {
        self.accept_timeout = timeout;
        self
    }

    /// Sets how long the session's lock is renewed while one message is handled.
    #[must_use]
    pub fn with_max_lock_renewal(mut self, duration: Duration) -> Self {
        self.max_lock_renewal = duration;
        self
    }

    /// Sets how a message is tried again later.
    #[must_use]
    pub fn with_delayed_retry(mut self, retry: DelayedRetry) -> Self {
        self.delayed_retry = Some(retry);
        self
    }
}
