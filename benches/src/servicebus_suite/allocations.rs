//! How often, and how much, a message makes the process allocate; beside bare links, whose engine is in ours.
//!
//! Counted by an allocator that takes a lock at each allocation, so that this is a build of its own and nothing
//! is timed in it. What is fixed cancels out: each figure is the difference between N messages and 2 N.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::{BARE, Contender, Scene, Work};
use crate::rows::{Better, Row};

const COUNT: usize = 2_000;
const WORKS: [Work; 4] = [
    Work::Send { in_flight: 32 },
    Work::Batches,
    Work::Receive { prefetch: 100 },
    Work::Sessions,
];

/// Counts what has been measured by time elsewhere.
///
/// # Errors
/// When ours or the bare links do not come to their end.
pub(crate) async fn measure() -> Result<Vec<Row>> {
    let _counting = dhat::Profiler::builder().testing().build();
    let mut rows = Vec::new();
    for work in WORKS {
        let (ours, bare) = (each(work, Contender::Ours).await?, each(work, Contender::Bare).await?);
        let beside = |what: &str, unit, figure: fn(&[f64; 2]) -> f64| {
            let what = format!("{}: {what}", work.describe());
            Row::beside(what, unit, Better::Lower, figure(&ours), [(BARE, Some(figure(&bare)))])
        };
        rows.push(beside("allocations", "each", |[blocks, _]| *blocks));
        rows.push(beside("bytes allocated", "each", |[_, bytes]| *bytes));
    }
    Ok(rows)
}

/// Allocations and bytes for one message more.
async fn each(work: Work, contender: Contender) -> Result<[f64; 2]> {
    let [once, twice] = [
        counted(work, contender, COUNT).await?,
        counted(work, contender, 2 * COUNT).await?,
    ];
    Ok([0, 1].map(|which| (twice[which] - once[which]) / COUNT as f64))
}

async fn counted(work: Work, contender: Contender, count: usize) -> Result<[f64; 2]> {
    let scene = Arc::new(Scene::start(work, count, Contender::Ours).await?);
    let now = || {
        let stats = dhat::HeapStats::get();
        [stats.total_blocks as f64, stats.total_bytes as f64]
    };
    let before = now();
    scene.run(contender).await?.context("neither is missing")?;
    let after = now();
    Ok([0, 1].map(|which| after[which] - before[which]))
}
