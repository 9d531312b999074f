//! The whole system: rows per second from file to read models, how long events are on their way, and
//! peak memory. No library we know of does the same job on the same services, so there is no peer here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use retail::consumers::Name;
use retail::input::{Source, generate, sources};
use retail::run::{Options, run};

use crate::rows::Row;

/// Days and invoices a day that are made up without `--input`; the real data has 20 days of 101.
const DAYS: (u8, u32) = (20, 101);
const QUICK: (u8, u32) = (2, 101);
/// Latency is measured with one invoice every 20 ms, far from what the system can take.
const PACE: Duration = Duration::from_millis(20);

/// Measures the suite.
///
/// # Errors
/// When a run doesn't come to its end.
pub(crate) async fn measure(input: &[PathBuf], quick: bool) -> Result<Vec<Row>> {
    let (days, invoices) = if quick { QUICK } else { DAYS };
    let made_up = |days, invoices| vec![Source::Generated("generated.csv", generate(days, invoices))];
    let (what, given) = if input.is_empty() {
        (format!("rows end to end, {days} made-up days"), made_up(days, invoices))
    } else {
        ("rows end to end, given input".to_owned(), sources(input)?)
    };
    let paced = Options {
        sources: made_up(1, if quick { 50 } else { 250 }),
        faults: None,
        progress: false,
        pace: Some(PACE),
    };
    let paced = run(paced).await?;
    let full = run(Options {
        sources: given,
        faults: None,
        progress: false,
        pace: None,
    })
    .await?;

    let seconds = full.report.elapsed_ms as f64 / 1000.0;
    let mut rows = vec![Row::alone(
        format!("{what} ({})", full.report.rows),
        "rows/s",
        full.report.rows as f64 / seconds,
    )];
    for name in Name::ALL {
        if let Some(latency) = paced.timings.latency(name) {
            let path = format!("commit to {}, an invoice every {} ms", name.as_str(), PACE.as_millis());
            rows.push(Row::alone(format!("{path}, p50"), "ms", latency.p50));
            rows.push(Row::alone(format!("{path}, p99"), "ms", latency.p99));
        }
    }
    if let Some(peak) = peak_memory() {
        rows.push(Row::alone("peak memory of the process, emulator included", "MiB", peak));
    }
    Ok(rows)
}

/// The most memory this process has held, as Linux counts it; `None` elsewhere.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}
