//! Where the three services are, from the environment: the emulator's `--env-file`, or Azure.

use std::env;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use azevents_emulator::Ready;
use azure_core::credentials::TokenCredential;
use azure_identity::{DeveloperToolsCredential, ManagedIdentityCredential, WorkloadIdentityCredential};

/// The database, unless `COSMOS_DATABASE` names another.
const DATABASE: &str = "retail";

/// Addresses and credentials.
#[derive(Clone)]
pub struct Settings {
    /// The Cosmos DB account's endpoint.
    pub cosmos_endpoint: String,
    /// Its key, where it takes one.
    pub cosmos_key: Option<String>,
    /// The database.
    pub database: String,
    /// The Service Bus namespace.
    pub servicebus: Namespace,
    /// The Event Hubs namespace.
    pub eventhubs: Namespace,
    /// Where the emulator creates entities; `None` on Azure, where Bicep does.
    pub management: Option<String>,
}

/// How to reach a namespace.
#[derive(Clone)]
pub enum Namespace {
    /// By connection string.
    ConnectionString(String),
    /// By host name, with an identity.
    Host(String),
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Names the variable that is missing.
    pub fn from_env() -> Result<Self> {
        let optional = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let Some(cosmos_endpoint) = optional("COSMOS_ENDPOINT") else {
            bail!(
                "COSMOS_ENDPOINT is not set. Start the emulator with `--env-file retail.env` and run \
                 `set -a; . ./retail.env; set +a`, or set the outputs of bicep/main.bicep"
            );
        };
        let namespace = |name: &str| {
            let connection_string = format!("{name}_CONNECTION_STRING");
            let host = format!("{name}_NAMESPACE");
            match (optional(&connection_string), optional(&host)) {
                (Some(text), _) => Ok(Namespace::ConnectionString(text)),
                (None, Some(host)) => Ok(Namespace::Host(host)),
                (None, None) => bail!("neither {connection_string} nor {host} is set"),
            }
        };
        Ok(Self {
            cosmos_endpoint,
            cosmos_key: optional("COSMOS_KEY"),
            database: optional("COSMOS_DATABASE").unwrap_or_else(|| DATABASE.into()),
            servicebus: namespace("SERVICEBUS")?,
            eventhubs: namespace("EVENTHUBS")?,
            management: optional("AZEVENTS_EMULATOR_MANAGEMENT"),
        })
    }

    /// An emulator in this process.
    ///
    /// # Errors
    /// When it was built without Cosmos DB.
    pub fn of_emulator(ready: &Ready) -> Result<Self> {
        let cosmos = ready
            .cosmos
            .as_ref()
            .context("the emulator was built without its feature `cosmos`")?;
        Ok(Self {
            cosmos_endpoint: cosmos.endpoint.clone(),
            cosmos_key: Some(cosmos.key.clone()),
            database: DATABASE.into(),
            servicebus: Namespace::ConnectionString(ready.servicebus.connection_string.clone()),
            eventhubs: Namespace::ConnectionString(ready.eventhubs.connection_string.clone()),
            management: Some(ready.management.endpoint.clone()),
        })
    }
}

/// The identity this process has: workload identity on AKS, a managed identity elsewhere on Azure, the
/// developer's own (`az login`) otherwise.
///
/// # Errors
/// When the identity that the environment points to can't be used.
pub fn credential() -> Result<Arc<dyn TokenCredential>> {
    if env::var_os("AZURE_FEDERATED_TOKEN_FILE").is_some() {
        return Ok(WorkloadIdentityCredential::new(None).context("workload identity")?);
    }
    if env::var_os("IDENTITY_ENDPOINT").is_some() {
        return Ok(ManagedIdentityCredential::new(None).context("managed identity")?);
    }
    Ok(DeveloperToolsCredential::new(None).context("developer credential; try `az login`")?)
}
