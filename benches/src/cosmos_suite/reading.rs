//! Reading a stream beside the SDK's query of the same documents.

use std::time::Instant;

use anyhow::{Result, ensure};
use azevents_core::{EventStore, ReadOptions};
use azure_data_cosmos::FeedScope;
use futures::TryStreamExt;
use serde_json::Value;

use super::Amount;
use super::setup::{EVENTS, Setup, committed, event, stream};
use crate::rows::{Better, Row};

const EVENTS_PER_COMMIT: usize = 5;
const ROUNDS: usize = 5;

pub(super) async fn measure(amount: Amount) -> Result<Vec<Row>> {
    let setup = Setup::new().await?;
    let name = stream("long", 1)?;
    let mut head = None;
    for n in 0..amount.commits {
        let events = (0..EVENTS_PER_COMMIT).map(|m| event(n + m)).collect::<Result<_>>()?;
        let outcome = setup.store.append(&name, head.into(), events).await?;
        head = Some(committed(outcome)?.head());
    }
    let container = setup.cosmos.container(EVENTS).await?;
    let events = amount.commits * EVENTS_PER_COMMIT;
    let (mut ours, mut theirs) = (f64::MIN, f64::MIN);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let read: Vec<_> = setup.store.read(&name, ReadOptions::default()).try_collect().await?;
        ours = ours.max(events as f64 / begun.elapsed().as_secs_f64());
        ensure!(read.len() == events, "{} of {events} events", read.len());

        let begun = Instant::now();
        let scope = FeedScope::partition(name.as_str().to_owned());
        let query = container
            .query_items::<Value>("SELECT * FROM c ORDER BY c.id", scope, None)
            .await?;
        let documents: Vec<_> = query.try_collect().await?;
        theirs = theirs.max(events as f64 / begun.elapsed().as_secs_f64());
        ensure!(
            documents.len() == amount.commits,
            "{} of {} commits",
            documents.len(),
            amount.commits
        );
    }
    let what = format!("events read from one stream, {EVENTS_PER_COMMIT} a commit, best of {ROUNDS}");
    Ok(vec![Row::beside(
        what,
        "1/s",
        Better::Higher,
        ours,
        [("query_items", Some(theirs))],
    )])
}
