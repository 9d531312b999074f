//! The `azevents` command. Results go to stdout, as a table or as JSON; everything else goes to stderr.

mod args;
mod dlq;
mod interrupt;
mod output;
mod parked;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use self::args::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let ran = match Cli::parse().command {
        Command::Dlq(command) => dlq::run(command).await,
        Command::Parked(command) => parked::run(command).await,
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
