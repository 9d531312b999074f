//! The one thread that runs the SDK.
//!
//! `fe2o3-amqp` 0.14, on which the SDK stands, hands a transfer to its session's task and only then notes
//! that it waits for the outcome. On a runtime with several threads the outcome can be there first; it is
//! dropped, and the send waits for ever (version 0.18 notes it first). On a runtime with one thread no
//! other task runs in between. So every client is opened, used and dropped on such a runtime; what it
//! receives is handed to the user's own runtime, where handlers run.

use std::fmt;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A single-threaded runtime on a thread of its own, which ends when this is dropped.
pub(crate) struct Driver {
    handle: Handle,
    _running: DropGuard,
}

impl Driver {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let running = CancellationToken::new();
        let ended = running.clone();
        // Tasks that are left are dropped with the runtime, on its own thread.
        thread::Builder::new()
            .name("azevents-eventhubs".into())
            .spawn(move || runtime.block_on(ended.cancelled()))?;
        Ok(Self {
            handle,
            _running: running.drop_guard(),
        })
    }

    /// Where to spawn what uses the SDK.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
