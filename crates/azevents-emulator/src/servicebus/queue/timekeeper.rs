//! Timers of a queue.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::Queue;
use crate::servicebus::{clock::Clock, engine::Engine};

/// Lets a queue's engine advance when something is due, for receivers that wait and for messages
/// that nobody asks for. Ends with the queue.
pub(super) async fn keep_time(queue: Weak<Queue>, clock: Clock, deadline_moved: Arc<Notify>) {
    // A new queue has nothing to wait for, and can't be upgraded to yet.
    let mut deadline = None;
    loop {
        match deadline {
            None => deadline_moved.notified().await,
            Some(at) => tokio::select! {
                () = clock.sleep_until(at) => {}
                () = deadline_moved.notified() => {}
            },
        }
        let Some(queue) = queue.upgrade() else {
            return;
        };
        queue.with(Engine::advance);
        let mut guarded = queue.guarded();
        deadline = guarded.engine.next_deadline();
        guarded.armed = deadline;
    }
}
