//! From rows to events: consecutive rows of one invoice become one commit of its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use azevents::lanes::Lanes;
use azevents::{Aggregates, EventId, Executed, Loaded, NewEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::input::{Record, Source, read};
use crate::order::{Kind, Order, OrderEvent, RecordLines, stream_of};
use crate::rejects;
use crate::services::Services;

/// Invoices appended at the same time.
const LANES: usize = 32;
/// Rows in one commit at most; a document holds 2 MB, and a row takes some 300 bytes.
const COMMIT: usize = 500;

/// What became of the input. Shared with whoever shows the progress.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows read, rejected ones included.
    pub rows: AtomicU64,
    /// Rows rejected.
    pub rejected: AtomicU64,
    /// Events appended.
    pub events: AtomicU64,
    /// Commits appended.
    pub commits: AtomicU64,
}

struct Invoice {
    number: String,
    lines: RecordLines,
}

/// Reads all sources and appends their rows, with a pause of `pace` between invoices where one is given.
/// Rows that are there already are not appended again.
///
/// # Errors
/// A file that can't be read, or what the store reports. What was appended before stays.
pub async fn run(
    services: &Services,
    sources: Vec<Source>,
    pace: Option<Duration>,
    progress: Arc<Progress>,
) -> Result<()> {
    let (lanes, ends) = Lanes::new(LANES, 4);
    let mut workers = JoinSet::new();
    for end in ends {
        workers.spawn(append(services.clone(), end, progress.clone()));
    }
    let feeder = {
        let (services, progress) = (services.clone(), progress.clone());
        let runtime = tokio::runtime::Handle::current();
        // Files are read on a thread of their own; the lanes hold it up when the store is slower.
        tokio::task::spawn_blocking(move || feed(&services, &sources, pace, &lanes, &progress, &runtime))
    };
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    feeder.await?
}

/// Groups rows by invoice and hands them to the lanes. Returns early when a lane has failed: its error counts.
fn feed(
    services: &Services,
    sources: &[Source],
    pace: Option<Duration>,
    lanes: &Lanes<Invoice>,
    progress: &Progress,
    runtime: &tokio::runtime::Handle,
) -> Result<()> {
    let mut open: Option<Invoice> = None;
    let send = |invoice: Option<Invoice>| match invoice {
        Some(invoice) => runtime.block_on(async {
            let number = invoice.number.clone();
            lanes.send(&number, invoice).await.is_ok()
        }),
        None => true,
    };
    for source in sources {
        for record in read(source)? {
            progress.rows.fetch_add(1, Ordering::Relaxed);
            let row = match record {
                Record::Row(row) => row,
                Record::Rejected(rejected) => {
                    tracing::warn!("{}:{}: {}", rejected.file, rejected.line, rejected.reason);
                    runtime.block_on(rejects::keep(services.read_model.as_ref(), rejected))?;
                    progress.rejected.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            };
            match &mut open {
                Some(invoice) if invoice.number == row.invoice && invoice.lines.lines.len() < COMMIT => {
                    invoice.lines.lines.push(row.line);
                }
                _ => {
                    let kind = Kind::of(&row.invoice);
                    let next = Invoice {
                        number: row.invoice,
                        lines: RecordLines {
                            kind,
                            lines: vec![row.line],
                        },
                    };
                    if !send(open.replace(next)) {
                        return Ok(());
                    }
                    std::thread::sleep(pace.unwrap_or_default());
                }
            }
        }
    }
    send(open);
    Ok(())
}

/// Appends what comes down one lane.
async fn append(services: Services, mut lane: mpsc::Receiver<Invoice>, progress: Arc<Progress>) -> Result<()> {
    let orders = Aggregates::<Order>::new(services.store);
    while let Some(Invoice { number, lines }) = lane.recv().await {
        let stream = stream_of(&number)?;
        // The row is the event's identity: reading the same row again is seen by the store and by every consumer.
        let identify = |event: &OrderEvent, new: NewEvent| new.with_id(EventId::from(event.line().row));
        // Most invoices are new. For the others the conflict brings what is there already.
        match orders.execute_on(Loaded::default(), &stream, &lines, identify).await? {
            Executed::Committed(commit) => {
                progress.events.fetch_add(commit.events.len() as u64, Ordering::Relaxed);
                progress.commits.fetch_add(1, Ordering::Relaxed);
            }
            Executed::Unchanged => {}
            Executed::Refused(never) => match never {},
        }
    }
    Ok(())
}
