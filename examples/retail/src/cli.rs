//! The command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::consumers::Name;
use crate::ingest::{self, Progress};
use crate::relays::Destination;
use crate::services::Services;
use crate::settings::Settings;
use crate::{input, process, provision, report, run};

/// An online retailer's day on azevents: invoices become event streams in Cosmos DB, every event reaches
/// Service Bus and Event Hubs, three consumers keep read models of them.
///
/// Without a command the whole system runs in this process, on an emulator of its own, and ends with a
/// report. The commands run its parts as processes of their own, against the services named in the
/// environment: COSMOS_ENDPOINT, COSMOS_KEY, SERVICEBUS_CONNECTION_STRING or SERVICEBUS_NAMESPACE,
/// EVENTHUBS_CONNECTION_STRING or EVENTHUBS_NAMESPACE. RETAIL_LOG=info shows what goes on.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    whole: Whole,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Args)]
struct Whole {
    #[command(flatten)]
    input: Input,
    /// One JSON object on standard output, and nothing else.
    #[arg(long)]
    json: bool,
    /// Follow a schedule of faults drawn from this seed: lost connections and answers, throttling,
    /// copies, crashes. The figures stay the same.
    #[arg(long, value_name = "SEED")]
    faults: Option<u64>,
}

#[derive(Debug, Args)]
struct Input {
    /// CSV files in the UCI "Online Retail" format, or folders of them; without any, a made-up day.
    #[arg(long = "input", value_name = "FILE OR FOLDER", num_args = 1..)]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Create containers and, on the emulator, topic and event hub.
    Provision,
    /// Append the rows of the input to the orders' streams, and end.
    Ingest(Input),
    /// Publish committed events until stopped (Ctrl-C or SIGTERM).
    Relay {
        /// Only to this destination; without it to both.
        destination: Option<Destination>,
        #[command(flatten)]
        owner: Owner,
    },
    /// Run one consumer until stopped (Ctrl-C or SIGTERM).
    Consume {
        /// Which one.
        name: Name,
        #[command(flatten)]
        owner: Owner,
    },
    /// Print what the consumers' read models hold now.
    Report {
        /// One JSON object on standard output, and nothing else.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Owner {
    /// The name this process holds leases under. Started again under the same name it goes on at once;
    /// otherwise after its old leases have expired. No two running processes may share one.
    #[arg(long)]
    owner: Option<String>,
}

impl Cli {
    /// Does what the command line asks for.
    ///
    /// # Errors
    /// Whatever keeps it from doing so, with the remedy where there is one.
    pub async fn execute(self) -> Result<()> {
        let Some(part) = self.part else {
            return whole(self.whole).await;
        };
        let settings = Settings::from_env()?;
        if let Part::Provision = part {
            return provision::run(&settings).await;
        }
        let services = Services::connect(settings).await?;
        match part {
            Part::Provision => Ok(()),
            Part::Ingest(input) => append(&services, input).await,
            Part::Relay { destination, owner } => process::relay(services, destination, owner.owner).await,
            Part::Consume { name, owner } => process::consume(services, name, owner.owner).await,
            Part::Report { json } => {
                let report = report::collect(&services).await?;
                if json {
                    return print_json(&report);
                }
                report::print(&report, None);
                Ok(())
            }
        }
    }
}

async fn whole(whole: Whole) -> Result<()> {
    let sources = input::sources(&whole.input.paths)?;
    let options = run::Options {
        sources,
        faults: whole.faults,
        progress: !whole.json,
        pace: None,
    };
    let run::Finished {
        report,
        timings,
        injected,
    } = run::run(options).await?;
    if whole.json {
        return print_json(&report);
    }
    report::print(&report, Some(&timings));
    for (fault, count) in injected {
        println!("lived through {count} × {fault}");
    }
    Ok(())
}

async fn append(services: &Services, input: Input) -> Result<()> {
    let progress = Arc::new(Progress::default());
    ingest::run(services, input::sources(&input.paths)?, None, progress.clone()).await?;
    let [rows, rejected, events, commits] =
        [&progress.rows, &progress.rejected, &progress.events, &progress.commits].map(|n| n.load(Ordering::Relaxed));
    // Rows that an earlier run has appended count as well: their events are there, once.
    println!("{rows} rows: {events} events in {commits} commits are in the store, {rejected} rejected");
    Ok(())
}

fn print_json(report: &report::Report) -> Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}
