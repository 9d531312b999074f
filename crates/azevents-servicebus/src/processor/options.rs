//! Options of the processors, with the defaults of the .NET processors.

use std::time::Duration;

use crate::receiver::ReceiveMode;

/// How long a lock is renewed, as in the .NET processors.
pub(crate) const MAX_LOCK_RENEWAL: Duration = Duration::from_secs(5 * 60);

/// How many messages are fetched ahead of their turn. Their locks are renewed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prefetch {
    /// Always this many.
    Fixed(u32),
    /// As many as are handled within half a lock's duration, going by how long the handler has taken of
    /// late; at most this many.
    Sized(u32),
}

/// Options of a [`ServiceBusProcessor`](super::ServiceBusProcessor).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessorOptions {
    /// Who is responsible for received messages. Default: peek-lock.
    pub mode: ReceiveMode,
    /// Whether a message is completed when its handler returns. Default: yes.
    pub auto_complete: bool,
    /// Messages handled at once, to begin with. Default: 1.
    pub concurrency: usize,
    /// Messages fetched ahead of their turn. Default: none.
    pub prefetch: Prefetch,
    /// How long the lock of one message is renewed, from its arrival on; zero never,
    /// [`Duration::MAX`] without limit. Default: 5 minutes.
    pub max_lock_renewal: Duration,
}

impl Default for ProcessorOptions {
    fn default() -> Self {
        Self {
            mode: ReceiveMode::PeekLock,
            auto_complete: true,
            concurrency: 1,
            prefetch: Prefetch::Fixed(0),
            max_lock_renewal: MAX_LOCK_RENEWAL,
        }
    }
}

impl ProcessorOptions {
    /// Sets who is responsible for received messages.
    #[must_use]
    pub fn with_mode(mut self, mode: ReceiveMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether a message is completed when its handler returns.
    #[must_use]
    pub fn with_auto_complete(mut self, auto_complete: bool) -> Self {
        self.auto_complete = auto_complete;
        self
    }

    /// Sets how many messages are handled at once.
    #[must_use]
    pub fn with_concurrency(mut self, count: usize) -> Self {
        self.concurrency = count;
        self
    }

    /// Sets how many messages are fetched ahead.
    #[must_use]
    pub fn with_prefetch(mut self, prefetch: Prefetch) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Sets how long the lock of one message is renewed.
    #[must_use]
    pub fn with_max_lock_renewal(mut self, duration: Duration) -> Self {
        self.max_lock_renewal = duration;
        self
    }
}

/// Options of a [`ServiceBusSessionProcessor`](super::ServiceBusSessionProcessor).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionProcessorOptions {
    /// Whether a message is completed when its handler returns. Default: yes.
    pub auto_complete: bool,
    /// Sessions held at once, to begin with. Default: 8.
    pub sessions: usize,
    /// Messages of one session handled at once; more than one gives up their order. Default: 1.
    pub calls_per_session: usize,
    /// Messages of a session fetched ahead. Default: 0.
    pub prefetch: u32,
    /// How long to wait for another message of a session before the next session is taken. Default: 60 s.
    pub idle_timeout: Duration,
    /// How long the service looks for a session before it is asked again. Default: 60 s.
    pub accept_timeout: Duration,
    /// How long the session's lock is renewed while one message is handled; zero never,
    /// [`Duration::MAX`] without limit. Default: 5 minutes.
    pub max_lock_renewal: Duration,
}

impl Default for SessionProcessorOptions {
    fn default() -> Self {
        Self {
            auto_complete: true,
            sessions: 8,
            calls_per_session: 1,
            prefetch: 0,
            idle_timeout: Duration::from_secs(60),
            accept_timeout: Duration::from_secs(60),
            max_lock_renewal: MAX_LOCK_RENEWAL,
        }
    }
}

impl SessionProcessorOptions {
    /// Sets whether a message is completed when its handler returns.
    #[must_use]
    pub fn with_auto_complete(mut self, auto_complete: bool) -> Self {
        self.auto_complete = auto_complete;
        self
    }

    /// Sets how many sessions are held at once.
    #[must_use]
    pub fn with_sessions(mut self, count: usize) -> Self {
        self.sessions = count;
        self
    }

    /// Sets how many messages of one session are handled at once.
    #[must_use]
    pub fn with_calls_per_session(mut self, count: usize) -> Self {
        self.calls_per_session = count;
        self
    }

    /// Sets how many messages of a session are fetched ahead.
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
}
