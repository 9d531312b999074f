//! The end that the user asks for.

use tokio_util::sync::CancellationToken;

/// Cancelled by ctrl-c: what is under way is finished and reported.
pub(crate) fn interrupted() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            token.cancel();
        }
    });
    stop
}
