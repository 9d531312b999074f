//! One Cosmos DB account and one database in it.

use std::env;
use std::fmt;
use std::sync::Arc;

use azevents_core::{Error, ErrorKind, Result};
use azure_core::credentials::{Secret, TokenCredential};
use azure_data_cosmos::options::Region;
use azure_data_cosmos::{
    AccountEndpoint, AccountReference, ContainerClient, CosmosClient, CosmosClientBuilder, CosmosCredential,
    CosmosRuntime, RoutingStrategy,
};

use crate::error::{Access, from_sdk};

/// Environment variable with the account's endpoint.
pub const ENDPOINT: &str = "COSMOS_ENDPOINT";
/// Environment variable with the account's key; absent where a token credential is used.
pub const KEY: &str = "COSMOS_KEY";
/// Environment variable with the database's name; `azevents` where it is absent.
pub const DATABASE: &str = "COSMOS_DATABASE";

const DEFAULT_DATABASE: &str = "azevents";

/// How to reach a database.
#[derive(Clone)]
pub struct CosmosConfig {
    endpoint: String,
    credential: CosmosCredential,
    database: String,
    regions: Vec<Region>,
}

impl CosmosConfig {
    /// An account reached with an identity (`azure_identity`): what production should use.
    pub fn with_credential(
        endpoint: impl Into<String>,
        credential: Arc<dyn TokenCredential>,
        database: impl Into<String>,
    ) -> Self {
        Self::new(endpoint.into(), credential.into(), database.into())
    }

    /// An account reached with its key: the emulator, or an account that still allows keys.
    pub fn with_key(endpoint: impl Into<String>, key: impl Into<String>, database: impl Into<String>) -> Self {
        Self::new(endpoint.into(), Secret::new(key.into()).into(), database.into())
    }

    fn new(endpoint: String, credential: CosmosCredential, database: String) -> Self {
        Self {
            endpoint,
            credential,
            database,
            regions: Vec::new(),
        }
    }

    /// Reads [`ENDPOINT`], [`DATABASE`] and, unless a credential is given, [`KEY`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] naming the variable that is missing.
    pub fn from_env(credential: Option<Arc<dyn TokenCredential>>) -> Result<Self> {
        let endpoint = required(ENDPOINT)?;
        let database = env::var(DATABASE).unwrap_or_else(|_| DEFAULT_DATABASE.to_owned());
        Ok(match credential {
            Some(credential) => Self::with_credential(endpoint, credential, database),
            None => Self::with_key(endpoint, required(KEY)?, database),
        })
    }

    /// Sets the regions to read from, the nearest first. Without any, the account's own order counts.
    #[must_use]
    pub fn with_preferred_regions(mut self, regions: impl IntoIterator<Item = Region>) -> Self {
        self.regions = regions.into_iter().collect();
        self
    }

    /// Sets the database.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = database.into();
        self
    }
}

impl fmt::Debug for CosmosConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosConfig")
            .field("endpoint", &self.endpoint)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

fn required(variable: &'static str) -> Result<String> {
    env::var(variable).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "configure", variable)
            .with_message(format!("set {variable} (and {KEY}, or pass a credential)"))
            .with_source(error)
    })
}

/// A connection to one database. Clones share it.
#[derive(Clone)]
pub struct Cosmos {
    client: CosmosClient,
    database: String,
}

impl Cosmos {
    /// Connects, and reads the account's properties to prove it. The database need not exist yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an endpoint that is no URL, [`ErrorKind::Unavailable`] or
    /// [`ErrorKind::Unauthorized`] for an account that can't be reached.
    pub async fn connect(config: CosmosConfig) -> Result<Self> {
        let failed = |error| from_sdk(error, Access::Read, "connect", &config.endpoint);
        let endpoint: AccountEndpoint = config.endpoint.parse().map_err(failed)?;
        let account = match config.credential {
            CosmosCredential::AccountKey(key) => AccountReference::with_authentication_key(endpoint, key),
            CosmosCredential::TokenCredential(token) => AccountReference::with_credential(endpoint, token),
            other => {
                return Err(Error::new(ErrorKind::Unsupported, "connect", &config.endpoint)
                    .with_message(format!("credential {other:?}")));
            }
        };
        // The SDK's process-wide runtime keeps connections that belong to whichever tokio runtime was
        // first; one of our own dies with the runtime it was made in.
        let runtime = CosmosRuntime::builder().build().await.map_err(failed)?;
        let client = CosmosClientBuilder::new()
            .with_runtime(runtime)
            .build(account, RoutingStrategy::PreferredRegions(config.regions))
            .await
            .map_err(failed)?;
        Ok(Self {
            client,
            database: config.database,
        })
    }

    /// Uses a client that was configured elsewhere.
    pub fn from_client(client: CosmosClient, database: impl Into<String>) -> Self {
        Self {
            client,
            database: database.into(),
        }
    }

    /// The SDK's client, for whatever this crate has no words for.
    pub fn client(&self) -> &CosmosClient {
        &self.client
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// A container of the database.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it doesn't exist; [`provision`](Self::provision) creates it.
    pub async fn container(&self, name: &str) -> Result<ContainerClient> {
        self.client
            .database_client(self.database.clone())
            .container_client(name.to_owned(), None)
            .await
            .map_err(|error| {
                from_sdk(
                    error,
                    Access::Read,
                    "open container",
                    format_args!("{}/{name}", self.database),
                )
            })
    }
}

impl fmt::Debug for Cosmos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosmos")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
