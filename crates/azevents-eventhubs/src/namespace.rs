//! An Event Hubs namespace: where it is, who we are, and how its clients are opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{DeadLetterSink, Error, ErrorKind, LeaseStore, Result};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_messaging_eventhubs::{ConsumerClient, ProducerClient, RetryOptions};
use time::OffsetDateTime;
use tokio::runtime::Handle;

use crate::connection_string;
use crate::consumer::EventHubConsumer;
use crate::driver::Driver;
use crate::error;
use crate::parking::EventHubDeadLetters;
use crate::publisher::EventHubPublisher;
use crate::replay::Replay;

/// How long opening a connection may take: TCP, TLS, SASL and the AMQP open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// An Event Hubs namespace. Clones share the credential and the thread that talks to the service; each
/// publisher and consumer has connections of its own. The thread ends with the last of them.
#[derive(Clone)]
pub struct EventHubs {
    host: Arc<str>,
    /// Where to connect instead of `host` over TLS: an emulator.
    endpoint: Option<Arc<str>>,
    credential: Arc<dyn TokenCredential>,
    driver: Arc<Driver>,
}

impl EventHubs {
    /// A namespace in Azure by its host name, `shop.servicebus.windows.net`. Connects to nothing yet.
    ///
    /// # Panics
    /// When the system has no thread to give.
    pub fn new(host: impl Into<Arc<str>>, credential: Arc<dyn TokenCredential>) -> Self {
        Self {
            host: host.into(),
            endpoint: None,
            credential,
            driver: driver(),
        }
    }

    /// An emulator, by a connection string with `UseDevelopmentEmulator=true`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a namespace in Azure, which takes a credential: see
    /// [`EventHubs::new`]. [`ErrorKind::InvalidInput`] for what is no connection string.
    ///
    /// # Panics
    /// When the system has no thread to give.
    pub fn from_connection_string(text: &str) -> Result<Self> {
        let address = connection_string::parse(text)?;
        Ok(Self {
            endpoint: Some(format!("amqp://{}:{}", address.host, address.port).into()),
            host: address.host.into(),
            credential: Arc::new(EmulatorCredential),
            driver: driver(),
        })
    }

    /// A publisher to `hub`, with the default options.
    pub fn publisher(&self, hub: impl Into<Arc<str>>) -> EventHubPublisher {
        EventHubPublisher::new(self.clone(), hub.into())
    }

    /// A consumer of `hub` for the consumer group `group`, with the default options.
    ///
    /// `leases` keeps who reads which partition and how far, `parking` what cannot be handled: Event Hubs
    /// has no dead-letter queue, so there is no consumer without it.
    pub fn consumer(
        &self,
        hub: impl Into<Arc<str>>,
        group: impl Into<Arc<str>>,
        leases: Arc<dyn LeaseStore>,
        parking: Arc<dyn DeadLetterSink>,
    ) -> EventHubConsumer {
        EventHubConsumer::new(self.clone(), hub.into(), group.into(), leases, parking)
    }

    /// Reads a part of `hub` once more, in a consumer group that nobody consumes in, with the default options.
    pub fn replay(&self, hub: impl Into<Arc<str>>, group: impl Into<Arc<str>>) -> Replay {
        Replay::new(self.clone(), hub.into(), group.into())
    }

    /// A place for dead letters: another hub.
    pub fn dead_letters(&self, hub: impl Into<Arc<str>>) -> EventHubDeadLetters {
        EventHubDeadLetters::new(self.publisher(hub))
    }

    /// Where clients are opened and used.
    pub(crate) fn runtime(&self) -> &Handle {
        self.driver.handle()
    }

    pub(crate) async fn open_producer(&self, hub: &str) -> Result<ProducerClient> {
        let mut builder = ProducerClient::builder().with_retry_options(no_retries());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_custom_endpoint(endpoint.to_string());
        }
        within(
            "connect",
            hub,
            OPEN_TIMEOUT,
            builder.open(&self.host, hub, self.credential.clone()),
        )
        .await
    }

    pub(crate) async fn open_consumer(&self, hub: &str, group: &str) -> Result<ConsumerClient> {
        let mut builder = ConsumerClient::builder()
            .with_retry_options(no_retries())
            .with_consumer_group(group.to_owned());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_custom_endpoint(endpoint.to_string());
        }
        within(
            "connect",
            hub,
            OPEN_TIMEOUT,
            builder.open(&self.host, hub.to_owned(), self.credential.clone()),
        )
        .await
    }
}

fn driver() -> Arc<Driver> {
    Arc::new(Driver::start().expect("a thread for the Event Hubs SDK"))
}

impl fmt::Debug for EventHubs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHubs")
            .field("host", &self.host)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Waits for a call of the SDK, which by itself would wait for ever where an answer is lost.
pub(crate) async fn within<T>(
    operation: &'static str,
    subject: &str,
    limit: Duration,
    call: impl Future<Output = azure_messaging_eventhubs::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|e| error::from_sdk(operation, subject, e)),
        Err(_) => Err(Error::new(ErrorKind::OutcomeUnknown, operation, subject)
            .with_message(format!("no answer within {limit:?}"))),
    }
}

/// The SDK's own retries are off. Its receivers reattach where they first began, which repeats or, from
/// the end of a partition, skips events; and two layers of retries multiply.
fn no_retries() -> RetryOptions {
    RetryOptions {
        max_retries: 0,
        ..RetryOptions::default()
    }
}

/// An unsigned JWT without claims (RFC 7519, section 6): an emulator has no directory to check it with.
#[derive(Debug)]
struct EmulatorCredential;

#[async_trait]
impl TokenCredential for EmulatorCredential {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        const UNSIGNED: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.";
        Ok(AccessToken::new(
            UNSIGNED,
            OffsetDateTime::now_utc() + Duration::from_secs(24 * 60 * 60),
        ))
    }
}
