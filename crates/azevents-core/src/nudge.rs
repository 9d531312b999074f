//! A tap on the shoulder: an append wakes the relay in the same process, so that latency is not the
//! poll interval.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells listeners that something was committed. Clones share one bell.
#[derive(Debug, Clone)]
pub struct Nudge(Arc<watch::Sender<()>>);

impl Nudge {
    /// A bell nobody has rung.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// Wakes every listener. Costs next to nothing where there is none.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        Listener {
            rings: self.0.subscribe(),
            _bell: self.clone(),
        }
    }
}

impl Default for Nudge {
    fn default() -> Self {
        Self::new()
    }
}

/// Hears every ring since it was made, or since it last waited: rings in between count as one.
#[derive(Debug)]
pub struct Listener {
    rings: watch::Receiver<()>,
    /// Keeps the bell alive, so that waiting for it never ends without a ring.
    _bell: Nudge,
}

impl Listener {
    /// Waits for a ring; returns at once when there was one since the last wait. Dropping the future
    /// loses no ring.
    pub async fn rung(&mut self) {
        // Fails only when the bell is gone, and this listener holds it.
        let _ = self.rings.changed().await;
    }
}
