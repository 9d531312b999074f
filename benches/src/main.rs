//! Everything measured side by side: `cargo run --release -p bench -- <suite> [--quick] [--json]`.
//!
//! Figures of one run are comparable with each other; figures of two runs, on two machines or two days,
//! are not. So whatever something is compared with runs in the same invocation.

mod cosmos_suite;
mod eventhubs_suite;
mod retail_suite;
mod rows;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures a suite and prints a table.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// What to measure.
    suite: Suite,
    /// Less input, for a first look.
    #[arg(long)]
    quick: bool,
    /// One JSON object on standard output, and nothing else.
    #[arg(long)]
    json: bool,
    /// Real input for the retail suite, instead of made-up days: CSV files or folders.
    #[arg(long = "input", value_name = "FILE OR FOLDER", num_args = 1..)]
    input: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Suite {
    /// The event store and the relay, beside the raw SDK.
    Cosmos,
    /// Publishing to and consuming from Event Hubs, beside the official clients.
    #[value(name = "eventhubs")]
    EventHubs,
    /// The whole system, from rows to read models.
    Retail,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let rows = match cli.suite {
        Suite::Cosmos => cosmos_suite::measure(cli.quick).await?,
        Suite::EventHubs => eventhubs_suite::measure(cli.quick).await?,
        Suite::Retail => retail_suite::measure(&cli.input, cli.quick).await?,
    };
    let measured = rows::Measured {
        suite: format!("{:?}", cli.suite).to_lowercase(),
        rows,
    };
    if cli.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        println!("{}", measured.table());
    }
    Ok(())
}
