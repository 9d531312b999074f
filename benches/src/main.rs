//! Everything measured side by side: `cargo run --release -p bench -- <suite> [--quick] [--json]`.
//!
//! Figures of one run are comparable with each other; figures of two runs, on two machines or two days,
//! are not. So whatever something is compared with runs in the same invocation.

mod bare;
mod cosmos_suite;
mod emulator_suite;
mod eventhubs_suite;
mod official;
mod process;
mod retail_suite;
mod rows;
mod servicebus_suite;
mod soak;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Counts what is allocated. It takes a lock at each allocation, so nothing is timed in such a build.
#[cfg(feature = "allocations")]
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

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
    /// How long the soak lasts.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
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
    /// Service Bus: sending, receiving, sessions, beside bare AMQP links and the official clients.
    #[value(name = "servicebus")]
    ServiceBus,
    /// What a Service Bus message makes our client allocate; needs the feature `allocations`.
    Allocations,
    /// The emulator as a broker, beside RabbitMQ.
    Emulator,
    /// Service Bus client and emulator for minutes: memory stays flat.
    Soak,
    /// The whole system, from rows to read models.
    Retail,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let rows = match cli.suite {
        Suite::Cosmos => cosmos_suite::measure(cli.quick).await?,
        Suite::EventHubs => eventhubs_suite::measure(cli.quick).await?,
        Suite::ServiceBus => servicebus_suite::measure(cli.quick).await?,
        #[cfg(feature = "allocations")]
        Suite::Allocations => servicebus_suite::allocations::measure().await?,
        #[cfg(not(feature = "allocations"))]
        Suite::Allocations => {
            anyhow::bail!("counting needs a build of its own: cargo run -p bench --features allocations")
        }
        Suite::Emulator => emulator_suite::measure(cli.quick).await?,
        Suite::Soak => soak::measure(Duration::from_secs(60 * cli.minutes)).await?,
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
