//! The event store against the raw SDK, and the relay from its change feed: all on one emulator in this
//! process, so that both sides pay for it alike.

mod appending;
mod reading;
mod relaying;
mod setup;

use anyhow::Result;

use crate::rows::Row;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Amount {
    /// Requests one after another.
    sequential: usize,
    /// Requests with many in flight.
    concurrent: usize,
    /// Commits of the stream that is read.
    commits: usize,
    /// Commits that the relay publishes.
    relayed: usize,
    /// Commits whose way to the publisher is timed.
    timed: usize,
}

const FULL: Amount = Amount {
    sequential: 3000,
    concurrent: 20_000,
    commits: 4000,
    relayed: 20_000,
    timed: 400,
};
const QUICK: Amount = Amount {
    sequential: 100,
    concurrent: 500,
    commits: 200,
    relayed: 500,
    timed: 20,
};

/// Measures the suite.
///
/// # Errors
/// When the emulator doesn't start or a request fails.
pub(crate) async fn measure(quick: bool) -> Result<Vec<Row>> {
    let amount = if quick { QUICK } else { FULL };
    let mut rows = appending::measure(amount).await?;
    rows.extend(reading::measure(amount).await?);
    rows.extend(relaying::measure(amount).await?);
    Ok(rows)
}
