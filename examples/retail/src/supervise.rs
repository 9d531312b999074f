//! Starting again what has crashed.

use std::future::Future;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::Notify;

/// Runs `start()` to its end. When `crash` is notified the future is dropped where it stands, as a
/// killed process would be, and started again.
///
/// # Errors
/// What a run that wasn't crashed ends with.
pub async fn supervise<F>(crash: Arc<Notify>, mut start: impl FnMut() -> Result<F>) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    loop {
        let running = start()?;
        tokio::select! {
            ended = running => return ended,
            () = crash.notified() => tracing::info!("crashed by the schedule, starting again"),
        }
    }
}
