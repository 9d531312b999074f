//! A partition's events from the SDK's thread into lanes.
//!
//! What arrived together crosses over together: waking another thread for every event costs more than all else that
//! is done with it.

use azevents_core::lanes::Lanes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::worker::Received;

/// Queues events, in the partition's order, until halted or until a lane has ended.
pub(super) async fn run(mut chunks: mpsc::Receiver<Vec<Received>>, lanes: Lanes<Received>, halt: CancellationToken) {
    loop {
        let chunk = tokio::select! {
            biased;
            () = halt.cancelled() => return,
            chunk = chunks.recv() => chunk,
        };
        let Some(chunk) = chunk else { return };
        for received in chunk {
            let key = received.message.key.clone();
            if lanes.send(&key, received).await.is_err() {
                return;
            }
        }
    }
}
