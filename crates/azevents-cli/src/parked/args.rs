//! Where it is parked, and what of it is meant.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use azevents_core::Parked;
use azevents_eventhubs::EventHubs;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists what is parked, in the order in which it would be sent again
    List {
        #[command(flatten)]
        place: Place,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        max: usize,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Shows one parked message with its headers and body
    Show {
        #[command(flatten)]
        place: Place,
        /// The message's id, as listed
        id: String,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Publishes everything that is parked to an event hub, each key in order; a message leaves its place once the hub has
    /// acknowledged it. Can be stopped and repeated: then nothing is lost, and at most the last messages come twice
    Redrive {
        #[command(flatten)]
        place: Place,
        /// The event hub to publish to
        #[arg(long)]
        to: String,
        /// Print JSON instead of a sentence
        #[arg(long)]
        json: bool,
    },
}

/// One of a queue, a hub and a container.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    which: Which,
    /// The queue requires sessions
    #[arg(long, requires = "queue")]
    pub(crate) sessions: bool,
    /// Whose messages in the container: the name its sink was opened with
    #[arg(long)]
    source: Option<String>,
    /// Consumer group of the hub to read in, which no consumer uses meanwhile
    #[arg(long, default_value = "$Default")]
    pub(crate) group: String,
    /// URL of a blob container, with a SAS, that remembers what of a hub was sent again already
    #[arg(long, env = "BLOBS_CONTAINER_URL", hide_env_values = true)]
    pub(crate) checkpoints: Option<String>,
    /// Connection string of the Service Bus namespace
    #[arg(long, env = "SERVICEBUS_CONNECTION_STRING", hide_env_values = true)]
    servicebus_connection_string: Option<String>,
    #[command(flatten)]
    pub(crate) hubs: Namespace,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Parked in this Service Bus queue
    #[arg(long)]
    queue: Option<String>,
    /// Parked in this event hub
    #[arg(long)]
    hub: Option<String>,
    /// Parked in this Cosmos DB container (COSMOS_ENDPOINT, COSMOS_KEY and COSMOS_DATABASE say where)
    #[arg(long)]
    container: Option<String>,
}

pub(crate) enum Kind<'a> {
    Queue(&'a str),
    Hub(&'a str),
    Container(&'a str),
}

impl Place {
    pub(crate) fn kind(&self) -> Result<Kind<'_>> {
        let Which { queue, hub, container } = &self.which;
        Ok(match (queue, hub, container) {
            (Some(queue), ..) => Kind::Queue(queue),
            (_, Some(hub), _) => Kind::Hub(hub),
            (.., Some(container)) => Kind::Container(container),
            _ => bail!("say where: --queue, --hub or --container"),
        })
    }

    pub(crate) fn source(&self) -> Result<&str> {
        self.source
            .as_deref()
            .context("--source: a container may hold the messages of several consumers")
    }

    pub(crate) fn servicebus(&self) -> Result<&str> {
        self.servicebus_connection_string
            .as_deref()
            .context("--servicebus-connection-string or SERVICEBUS_CONNECTION_STRING")
    }
}

/// The Event Hubs namespace.
#[derive(Debug, Args)]
pub(crate) struct Namespace {
    /// Host of the Event Hubs namespace, reached with the identity of the developer's tools
    #[arg(long, env = "EVENTHUBS_HOST")]
    eventhubs_host: Option<String>,
    /// Connection string of an emulator
    #[arg(long, env = "EVENTHUBS_CONNECTION_STRING", hide_env_values = true)]
    eventhubs_connection_string: Option<String>,
}

impl Namespace {
    pub(crate) fn open(&self) -> Result<EventHubs> {
        match (&self.eventhubs_host, &self.eventhubs_connection_string) {
            (Some(host), _) => {
                let credential = azure_identity::DeveloperToolsCredential::new(None)?;
                Ok(EventHubs::new(host.as_str(), credential as Arc<_>))
            }
            (None, Some(text)) => Ok(EventHubs::from_connection_string(text)?),
            (None, None) => bail!("--eventhubs-host or EVENTHUBS_HOST; for an emulator EVENTHUBS_CONNECTION_STRING"),
        }
    }

    /// The name under which checkpoints are kept.
    pub(crate) fn name(&self) -> &str {
        self.eventhubs_host.as_deref().unwrap_or("emulator")
    }
}

/// What is listed.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// List only with this reason
    #[arg(long)]
    reason: Option<String>,
    /// List only of this key (the stream)
    #[arg(long)]
    key: Option<String>,
}

impl Filter {
    pub(crate) fn admits(&self, letter: &Parked) -> bool {
        let same = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        same(&self.reason, &letter.why.reason) && same(&self.key, &letter.message.key)
    }
}
