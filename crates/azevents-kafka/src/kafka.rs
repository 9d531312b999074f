//! A cluster: where it is, who we are, and how its clients are set up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use azevents_core::{DeadLetterSink, Result};
use azure_core::credentials::TokenCredential;
use rdkafka::ClientConfig;

use crate::client::Context;
use crate::consumer::KafkaConsumer;
use crate::dead_letters::KafkaDeadLetters;
use crate::publisher::KafkaPublisher;
use crate::security::Security;
use crate::token::Tokens;

/// The port of Event Hubs' Kafka endpoint ("Use Azure Event Hubs from Apache Kafka applications").
const EVENT_HUBS_PORT: u16 = 9093;

/// A Kafka cluster, or the Kafka endpoint of an Event Hubs namespace. Cheap to clone; connects to nothing
/// yet. Each publisher and consumer has connections of its own.
#[derive(Clone)]
pub struct Kafka {
    servers: String,
    security: Security,
    settings: BTreeMap<String, String>,
}

impl Kafka {
    /// An Event Hubs namespace by its host name, `shop.servicebus.windows.net`, with a token credential
    /// (SASL OAUTHBEARER over TLS).
    pub fn event_hubs(host: impl Into<String>, credential: Arc<dyn TokenCredential>) -> Self {
        let host = host.into();
        let scope = format!("https://{host}/.default");
        Self::build(
            format!("{host}:{EVENT_HUBS_PORT}"),
            Security::OAuthBearer { credential, scope },
        )
    }

    /// An Event Hubs namespace by a connection string with a shared access key (SASL PLAIN over TLS).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](azevents_core::ErrorKind::InvalidInput) for what is no connection string.
    pub fn from_connection_string(text: &str) -> Result<Self> {
        let (host, security) = Security::from_connection_string(text)?;
        Ok(Self::build(format!("{host}:{EVENT_HUBS_PORT}"), security))
    }

    /// Any cluster by its bootstrap servers, `host:port` joined by commas, without TLS or credential. Others
    /// are set up with [`with_setting`](Self::with_setting).
    pub fn plaintext(servers: impl Into<String>) -> Self {
        Self::build(servers.into(), Security::Plaintext)
    }

    /// Any cluster by its bootstrap servers, with a token credential (SASL OAUTHBEARER over TLS) for `scope`.
    pub fn with_tokens(
        servers: impl Into<String>,
        credential: Arc<dyn TokenCredential>,
        scope: impl Into<String>,
    ) -> Self {
        let scope = scope.into();
        Self::build(servers.into(), Security::OAuthBearer { credential, scope })
    }

    fn build(servers: String, security: Security) -> Self {
        Self {
            servers,
            security,
            settings: BTreeMap::new(),
        }
    }

    /// Sets one of librdkafka's own settings (its `CONFIGURATION.md`) for all clients: `ssl.ca.location`,
    /// say, or a SASL mechanism. What this crate relies on it sets itself, whatever stands here.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// A publisher to `topic`, with the default options.
    pub fn publisher(&self, topic: impl Into<String>) -> KafkaPublisher {
        KafkaPublisher::new(self.clone(), topic.into())
    }

    /// A consumer of `topic` in the group `group`, with the default options. What cannot be handled goes to
    /// `parking`: Kafka has no dead-letter queue, so there is no consumer without it.
    pub fn consumer(
        &self,
        topic: impl Into<String>,
        group: impl Into<String>,
        parking: Arc<dyn DeadLetterSink>,
    ) -> KafkaConsumer {
        KafkaConsumer::new(self.clone(), topic.into(), group.into(), parking)
    }

    /// A place for dead letters: another topic.
    pub fn dead_letters(&self, topic: impl Into<String>) -> KafkaDeadLetters {
        KafkaDeadLetters::new(self.publisher(topic))
    }

    /// The settings that every client has.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Azure's load balancers drop connections that are idle for four minutes ("Apache Kafka client
        // configurations" of Event Hubs).
        config
            .set("client.id", "azevents")
            .set("socket.keepalive.enable", "true")
            .set("metadata.max.age.ms", "180000")
            .set("connections.max.idle.ms", "180000");
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.servers);
        self.security.apply(&mut config);
        config
    }

    /// What a client calls back into; with tokens, the first one is there already.
    pub(crate) async fn context(&self) -> Result<Context> {
        let tokens = match &self.security {
            Security::OAuthBearer { credential, scope } => Some(Tokens::start(credential.clone(), scope).await?),
            _ => None,
        };
        Ok(Context::new(self.servers.clone(), tokens))
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Settings may hold passwords.
        f.debug_struct("Kafka")
            .field("servers", &self.servers)
            .field("security", &self.security)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .finish()
    }
}
