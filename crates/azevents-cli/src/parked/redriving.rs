//! Running a consumer until there is nothing left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use azevents_core::{Consumer, Handler, Pipeline};
use tokio_util::sync::CancellationToken;

use crate::interrupt::interrupted;

/// How often to look whether anything is left.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn pipeline(handler: impl Handler + 'static) -> Pipeline {
    // Nothing is to go from one place of dead letters to another.
    Pipeline::new(Arc::new(handler)).with_max_deliveries(u32::MAX)
}

/// Runs `consumer` until nothing is left, something cannot be sent, or ctrl-c.
pub(super) async fn until(
    consumer: &dyn Consumer,
    pipeline: &Arc<Pipeline>,
    nothing_left: impl AsyncFn() -> Result<bool>,
) -> Result<()> {
    let stop = CancellationToken::new();
    let interrupted = interrupted();
    let watching = async {
        let ended = loop {
            tokio::select! {
                () = interrupted.cancelled() => break Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            let stats = pipeline.stats();
            if stats.abandoned + stats.dead_lettered > 0 {
                break Ok(());
            }
            match nothing_left().await {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        stop.cancel();
        ended
    };
    let running = async {
        let ran = consumer.run(pipeline.clone(), stop.clone()).await;
        interrupted.cancel();
        ran
    };
    let (watched, ran) = tokio::join!(watching, running);
    ran?;
    watched?;
    let stats = pipeline.stats();
    if stats.abandoned + stats.dead_lettered > 0 {
        bail!(
            "{} were sent, and one could not be: RUST_LOG=warn says why; run it again to go on",
            stats.handled
        );
    }
    Ok(())
}
