//! The program `azevents-emulator`: an [`Emulator`] with a command line.

use std::{io::IsTerminal, net::IpAddr, path::PathBuf, process::ExitCode};

use azevents_emulator::{DataFolder, Emulator, Tls, Topology};
use clap::Parser;
use tracing_subscriber::EnvFilter;

const AFTER_HELP: &str = "\
When all ports answer, one line of JSON with everything a client needs goes to standard output, and
nothing else ever does; the log goes to standard error.

Exit codes:
  0  stopped by SIGINT or SIGTERM
  1  could not start: a port is taken, a file is wrong; standard error says which
  2  the command line is wrong";

/// Cosmos DB, Service Bus and Event Hubs in one process on loopback.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Allow a host that other machines reach. Nothing is encrypted and all keys are public.
    #[arg(long)]
    allow_remote: bool,
    /// Port for Cosmos DB (HTTP); 0 for any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    cosmos_port: u16,
    /// Port for Service Bus (AMQP); 0 for any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    servicebus_port: u16,
    /// Port for Event Hubs (AMQP); 0 for any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    eventhubs_port: u16,
    /// Port for Blob Storage (HTTP); 0 for any free one. Azurite listens on 10000.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    blobs_port: u16,
    /// Port for Service Bus' administration API (HTTP); 0 for any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    administration_port: u16,
    /// Port for health, topology and faults (HTTP); 0 for any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    management_port: u16,
    /// A region of the Cosmos DB account; may be given several times, the first takes the writes.
    #[cfg(feature = "cosmos")]
    #[arg(long, value_name = "NAME")]
    cosmos_region: Vec<String>,
    /// Take clients that want TLS, too, on the same ports, with a certificate made for this run.
    #[arg(long)]
    tls: bool,
    /// Name or address in that certificate beside localhost; may be given several times.
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Vec<String>,
    /// Where to write the certificate clients have to trust, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_ca: Option<PathBuf>,
    /// Serve TLS with this certificate (PEM, those that signed it behind it) instead.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls")]
    tls_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// A TOML file (see docs/emulator.md), or the Config.json of Microsoft's Service Bus or Event
    /// Hubs emulator; may be given several times.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Keep everything in this folder, across restarts and kills. Cosmos DB only with one region, and
    /// with new `_etag` and `_ts` after each start.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Acknowledge only what is on the disk: survives the loss of power too.
    #[arg(long, requires = "data")]
    fsync: bool,
    /// The largest message that Service Bus takes: 262144 (Standard tier) unless given, at most 104857600
    /// (Premium).
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=104_857_600))]
    max_message_size: Option<u32>,
    /// Limit Event Hubs to so many throughput units; unlimited unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    throughput_units: Option<u32>,
    /// Make Cosmos DB answer 429 beyond the RU/s that a database or container was created with; only shown
    /// unless given.
    #[cfg(feature = "cosmos")]
    #[arg(long)]
    enforce_provisioned_throughput: bool,
    /// Refuse bearer tokens without this claim; may be given several times. Any well-formed JWT is taken unless given.
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    require_claim: Vec<(String, String)>,
    /// Write the addresses as NAME=value lines, for a shell or a dotenv reader.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// What to log: a level, or levels by module as in `warn,azevents_emulator=debug`.
    #[arg(long, value_name = "FILTER", env = "AZEVENTS_EMULATOR_LOG", default_value = "info")]
    log: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azevents-emulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(&arguments.log).map_err(|error| anyhow::anyhow!("--log {}: {error}", arguments.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();

    // From here on a signal ends the program in order, also one that comes while it starts.
    let stop = signals::stop()?;
    let mut topology = Topology::new();
    for file in &arguments.config {
        topology.extend(Topology::from_file(file)?);
    }
    let builder = Emulator::builder();
    #[cfg(feature = "cosmos")]
    let builder = builder.cosmos_regions(arguments.cosmos_region.iter().map(String::as_str));
    let mut emulator = builder
        .host(arguments.host)
        .allow_remote(arguments.allow_remote)
        .cosmos_port(arguments.cosmos_port)
        .servicebus_port(arguments.servicebus_port)
        .eventhubs_port(arguments.eventhubs_port)
        .blobs_port(arguments.blobs_port)
        .administration_port(arguments.administration_port)
        .management_port(arguments.management_port)
        .topology(topology);
    if let Some(tls) = tls(&arguments)? {
        emulator = emulator.tls(tls);
    }
    if let Some(bytes) = arguments.max_message_size {
        emulator = emulator.max_message_size(bytes);
    }
    for (name, value) in &arguments.require_claim {
        emulator = emulator.require_claim(name, value);
    }
    #[cfg(feature = "cosmos")]
    if arguments.enforce_provisioned_throughput {
        emulator = emulator.enforce_provisioned_throughput();
    }
    if let Some(units) = arguments.throughput_units {
        emulator = emulator.throughput_units(units);
    }
    if let Some(folder) = &arguments.data {
        let folder = DataFolder::new(folder);
        emulator = emulator.data(if arguments.fsync { folder.with_fsync() } else { folder });
    }
    let emulator = emulator.start().await?;
    if let Some(data) = &emulator.ready().data {
        tracing::info!(folder = %data.path.display(), kept = ?data.kept, "state is kept; that of services not named is not");
    }
    // Before the line: who has read it may use the file.
    if let Some(file) = &arguments.env_file {
        emulator
            .ready()
            .write_env_file(file)
            .map_err(|error| anyhow::anyhow!("--env-file {}: {error}", file.display()))?;
    }
    print_line(&emulator.ready().to_json())?;
    tracing::info!("ready");
    let signal = stop.await;
    tracing::info!(signal, "stopping");
    emulator.shutdown().await;
    Ok(())
}

/// A claim and its value.
fn claim(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in tid=my-tenant".to_owned()),
    }
}

/// The certificate asked for, if any.
fn tls(arguments: &Arguments) -> anyhow::Result<Option<Tls>> {
    let tls = match (&arguments.tls_certificate, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Tls::from_files(certificate, key)?,
        _ if arguments.tls => {
            let names: Vec<&str> = arguments.tls_name.iter().map(String::as_str).collect();
            Tls::generate(&names)?
        }
        _ => return Ok(None),
    };
    if let Some(file) = &arguments.tls_ca {
        std::fs::write(file, tls.ca_pem()).map_err(|error| anyhow::anyhow!("--tls-ca {}: {error}", file.display()))?;
    }
    Ok(Some(tls))
}

/// A reader that has gone away is no reason to stop serving.
fn print_line(line: &str) -> std::io::Result<()> {
    use std::io::{ErrorKind, Write, stdout};
    let mut out = stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(unix)]
mod signals {
    //! SIGINT from a terminal, SIGTERM from whatever supervises processes.

    use std::{future::Future, io};

    use tokio::signal::unix::{SignalKind, signal};

    /// Listens from now on; the future ends with the name of the signal that came.
    pub(super) fn stop() -> io::Result<impl Future<Output = &'static str>> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        })
    }
}

#[cfg(not(unix))]
mod signals {
    //! Ctrl-C is all there is.

    use std::{future::Future, io};

    /// Listens once polled; the future ends with the name of the signal that came.
    pub(super) fn stop() -> io::Result<impl Future<Output = &'static str>> {
        Ok(async {
            let _ = tokio::signal::ctrl_c().await;
            "Ctrl-C"
        })
    }
}
