//! Changing a processor while it runs.

use std::sync::Arc;

use tokio::sync::watch;

/// Changes a running processor; clones and the processor's own clones share it.
///
/// ```
/// use azevents_servicebus::{ProcessorOptions, ServiceBusClient, ServiceBusProcessor};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), azevents_servicebus::Error> {
/// # let client = ServiceBusClient::from_connection_string(
/// #     "Endpoint=sb://localhost;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true")?;
/// let processor = ServiceBusProcessor::new(client, "orders", ProcessorOptions::default());
/// let control = processor.control();
/// control.set_concurrency(8);
/// control.pause();
/// assert!(processor.control().is_paused());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ProcessorControl(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    concurrency: usize,
    paused: bool,
    /// Set by a circuit breaker; what the user sets stays as it is.
    limit: Option<usize>,
}

impl State {
    /// How many messages, or sessions, may be taken.
    pub(super) fn allowed(&self) -> usize {
        if self.paused {
            return 0;
        }
        self.concurrency.min(self.limit.unwrap_or(usize::MAX))
    }

    /// Whether more may be fetched than is handled at once.
    pub(super) fn may_prefetch(&self) -> bool {
        self.limit.is_none()
    }
}

impl ProcessorControl {
    pub(super) fn new(concurrency: usize) -> Self {
        let state = State {
            concurrency: concurrency.max(1),
            paused: false,
            limit: None,
        };
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// Takes no new message until [`resume`](Self::resume). What runs goes on and is settled; what was
    /// fetched ahead goes back to the broker when that is done.
    pub fn pause(&self) {
        self.change(|state| state.paused = true);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.change(|state| state.paused = false);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.0.borrow().paused
    }

    /// Sets how many messages, or sessions, are handled at once; at least one. What already runs beyond a
    /// lower number runs to its end.
    pub fn set_concurrency(&self, count: usize) {
        self.change(|state| state.concurrency = count.max(1));
    }

    /// How many messages, or sessions, are handled at once.
    pub fn concurrency(&self) -> usize {
        self.0.borrow().concurrency
    }

    /// Takes no more than this at once, whatever the user has set; `None` for no limit.
    pub(crate) fn limit(&self, limit: Option<usize>) {
        self.change(|state| state.limit = limit);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}
