//! What the command takes.

use azevents_servicebus::{DeadLetterFilter, subscription};
use clap::{Args, Parser, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::parked;

/// Tools for services built on azevents.
#[derive(Debug, Parser)]
#[command(name = "azevents", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Dead letters of a queue or subscription
    #[command(subcommand)]
    Dlq(Dlq),
    /// What consumers set aside in a queue, another event hub or a container
    #[command(subcommand)]
    Parked(parked::Command),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// Lists dead letters, oldest first, without locking them
    List {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        filter: Filter,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        max: usize,
    },
    /// Shows one dead letter with its properties and body
    Show {
        #[command(flatten)]
        source: Source,
        /// The sequence number, as listed
        sequence_number: i64,
    },
    /// Sends dead letters again, each taken out once its copy is acknowledged; can be stopped and repeated
    Redrive {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        limits: Limits,
        /// Another queue or topic instead of the one they came from
        #[arg(long, conflicts_with = "through_topic")]
        to: Option<String>,
        /// Through the subscription's topic, marked so that azevents' consumers of its other subscriptions leave
        /// them out; other readers handle them again
        #[arg(long)]
        through_topic: bool,
        /// At most this many per second
        #[arg(long)]
        rate: Option<f64>,
        /// Leave messages that were sent again this often already
        #[arg(long, default_value_t = 3)]
        max_redrives: u32,
    },
    /// Throws dead letters away, for ever
    Purge {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        limits: Limits,
        /// Needed, as nothing brings them back
        #[arg(long, required_unless_present = "dry_run")]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Connection string of the namespace
    #[arg(long, env = "SERVICEBUS_CONNECTION_STRING", hide_env_values = true)]
    pub(crate) connection_string: String,
    /// The queue, or the topic where --subscription is given
    #[arg(long, short)]
    entity: String,
    /// The subscription
    #[arg(long, short)]
    subscription: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl Source {
    pub(crate) fn address(&self) -> String {
        match &self.subscription {
            Some(name) => subscription(&self.entity, name),
            None => self.entity.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only with this dead-letter reason
    #[arg(long)]
    reason: Option<String>,
    /// Only with this subject (the event's type)
    #[arg(long, visible_alias = "type")]
    subject: Option<String>,
    /// Only of this session (the stream)
    #[arg(long)]
    session: Option<String>,
    /// Only sent at this time or later, RFC 3339
    #[arg(long, value_parser = instant)]
    since: Option<OffsetDateTime>,
    /// Only sent before this time, RFC 3339
    #[arg(long, value_parser = instant)]
    before: Option<OffsetDateTime>,
    /// Only with this application property; can be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Only the one with this sequence number
    #[arg(long)]
    sequence_number: Option<i64>,
}

impl From<Filter> for DeadLetterFilter {
    fn from(args: Filter) -> Self {
        let mut filter = Self::default();
        filter.reason = args.reason;
        filter.subject = args.subject;
        filter.session_id = args.session;
        filter.since = args.since;
        filter.before = args.before;
        filter.properties = args.properties.into_iter().collect();
        filter.sequence_number = args.sequence_number;
        filter
    }
}

#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// At most this many
    #[arg(long)]
    pub(crate) max: Option<usize>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn instant(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("{error}; write it as in 2026-01-31T12:00:00Z"))
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as in country=France")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
