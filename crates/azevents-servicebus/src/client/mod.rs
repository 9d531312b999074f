//! The client: one connection to one namespace, and what can be made on it.

mod options;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use azure_core::credentials::TokenCredential;

pub use self::options::{ClientOptions, Proxy, TransportType};
use crate::amqp::connection::AmqpConnection;
use crate::connection_string::{ConnectionString, Endpoint};
use crate::credential::Credential;
use crate::error::Result;
use crate::management::Management;
use crate::receiver::{Receiver, ReceiverOptions};
use crate::retry::RetryOptions;
use crate::rule::RuleManager;
use crate::sender::{Sender, SenderOptions};
use crate::session::{SessionReceiver, SessionReceiverOptions};
use crate::telemetry::Observer;
use crate::transaction::Transaction;

/// A client of one Service Bus namespace. Clones share its connection, which is opened by the first
/// operation and again after it was lost. Must be used within a Tokio runtime.
///
/// ```no_run
/// use azevents_servicebus::{ServiceBusClient, ServiceBusMessage};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ServiceBusClient::from_connection_string(&std::env::var("SERVICEBUS_CONNECTION_STRING")?)?;
/// client.create_sender("orders").send(&ServiceBusMessage::new("hello")).await?;
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServiceBusClient(Arc<Shared>);

/// What everything made by a client shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connection: Arc<AmqpConnection>,
    pub(crate) retry: RetryOptions,
    pub(crate) observer: Observer,
    /// One management node per entity, for as long as somebody uses it.
    management: Mutex<HashMap<String, Weak<Management>>>,
}

impl Shared {
    pub(crate) fn management(&self, entity: &str) -> Arc<Management> {
        let mut nodes = self.management.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(entity).and_then(Weak::upgrade) {
            return node;
        }
        nodes.retain(|_, node| node.strong_count() > 0);
        let (connection, observer) = (Arc::clone(&self.connection), self.observer.clone());
        let node = Arc::new(Management::new(connection, entity, self.retry, observer));
        nodes.insert(entity.to_owned(), Arc::downgrade(&node));
        node
    }
}

impl ServiceBusClient {
    /// A client with a shared access key.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), naming what is missing.
    pub fn from_connection_string(connection_string: &str) -> Result<Self> {
        Self::from_connection_string_with(connection_string, ClientOptions::default())
    }

    /// A client with a shared access key, and options.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), naming what is missing.
    pub fn from_connection_string_with(connection_string: &str, options: ClientOptions) -> Result<Self> {
        let parsed = ConnectionString::parse(connection_string)?;
        Self::build(&parsed.endpoint, Credential::SharedAccess(parsed.secret), options)
    }

    /// A client with a credential of Microsoft Entra ID, as from `azure_identity`. `namespace` is the
    /// host name, as in `shop.servicebus.windows.net`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for what is no host name.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use azevents_servicebus::{ClientOptions, ServiceBusClient};
    /// use azure_core::credentials::TokenCredential;
    ///
    /// # fn example(credential: Arc<dyn TokenCredential>) -> Result<(), azevents_servicebus::Error> {
    /// let client = ServiceBusClient::new("shop.servicebus.windows.net", credential, ClientOptions::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(namespace: &str, credential: Arc<dyn TokenCredential>, options: ClientOptions) -> Result<Self> {
        Self::build(&Endpoint::azure(namespace)?, Credential::Token(credential), options)
    }

    /// A client of an emulator on loopback, over plain TCP, that checks its token credential.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for a connection string that is not
    /// an emulator's: a token must never travel unencrypted to anything else.
    pub fn for_emulator(
        connection_string: &str,
        credential: Arc<dyn TokenCredential>,
        options: ClientOptions,
    ) -> Result<Self> {
        let parsed = ConnectionString::parse(connection_string)?;
        if !parsed.is_emulator() {
            return Err(crate::Error::configuration(
                "the connection string lacks UseDevelopmentEmulator=true",
            ));
        }
        Self::build(&parsed.endpoint, Credential::Token(credential), options)
    }

    fn build(endpoint: &Endpoint, credential: Credential, options: ClientOptions) -> Result<Self> {
        let route = options.route(endpoint)?;
        let retry = options.retry;
        let observer = Observer::new(&options, endpoint);
        let connection = AmqpConnection::new(endpoint.host.clone(), route, credential, options);
        Ok(Self(Arc::new(Shared {
            connection: Arc::new(connection),
            retry,
            observer,
            management: Mutex::default(),
        })))
    }

    /// A sender to a queue or topic. Nothing is opened before its first use.
    pub fn create_sender(&self, entity: &str) -> Sender {
        self.create_sender_with(entity, &SenderOptions::default())
    }

    /// A sender with options.
    pub fn create_sender_with(&self, entity: &str, options: &SenderOptions) -> Sender {
        Sender::new(Arc::clone(&self.0), entity, options)
    }

    /// A receiver from a queue, a subscription (see [`subscription`]) or a dead-letter queue (see
    /// [`dead_letter_queue`]), by peek-lock and without prefetch.
    pub fn create_receiver(&self, entity: &str) -> Receiver {
        self.create_receiver_with(entity, &ReceiverOptions::default())
    }

    /// A receiver with options.
    pub fn create_receiver_with(&self, entity: &str, options: &ReceiverOptions) -> Receiver {
        Receiver::new(&self.0, entity, options)
    }

    /// Locks a session and receives from it.
    ///
    /// # Errors
    /// [`ErrorKind::SessionCannotBeLocked`](crate::ErrorKind::SessionCannotBeLocked) where another
    /// receiver holds it.
    ///
    /// Cancellation: the session is released again.
    pub async fn accept_session(
        &self,
        entity: &str,
        session_id: &str,
        options: &SessionReceiverOptions,
    ) -> Result<SessionReceiver> {
        SessionReceiver::accept(&self.0, entity, session_id, options).await
    }

    /// Locks the next session that has messages and that nobody holds; `None` where there is none within
    /// [`SessionReceiverOptions::accept_timeout`].
    ///
    /// # Errors
    /// The entity does not exist, has no sessions, or cannot be reached.
    ///
    /// Many can be waited for at once. On one connection each costs a round trip in which no other link
    /// begins: who accepts thousands from far away does it with several clients.
    ///
    /// Cancellation: a session that was locked meanwhile is released again.
    pub async fn accept_next_session(
        &self,
        entity: &str,
        options: &SessionReceiverOptions,
    ) -> Result<Option<SessionReceiver>> {
        SessionReceiver::accept_next(&self.0, entity, options).await
    }

    /// Up to `max` ids of sessions of a queue or subscription that have messages or a state, behind the
    /// first `skip`.
    ///
    /// # Errors
    /// The entity does not exist, has no sessions, or cannot be reached.
    pub async fn list_sessions(&self, entity: &str, skip: u32, max: u32) -> Result<Vec<String>> {
        self.0.management(entity).session_ids(skip, max).await
    }

    /// The rules of a subscription.
    pub fn create_rule_manager(&self, topic: &str, name: &str) -> RuleManager {
        RuleManager::new(&self.0, &subscription(topic, name))
    }

    /// Begins a transaction, which senders and receivers of this client can take part in.
    ///
    /// # Errors
    /// The namespace cannot be reached.
    ///
    /// Cancellation: a transaction that was begun is rolled back.
    pub async fn begin_transaction(&self) -> Result<Transaction> {
        Transaction::begin(&self.0).await
    }

    pub(crate) fn retry(&self) -> RetryOptions {
        self.0.retry
    }

    /// How this client appears in the service's logs.
    pub fn identifier(&self) -> &str {
        self.0.connection.identifier()
    }

    /// Closes the connection and all links on it. What was made by this client, or by a clone, fails
    /// with [`ErrorKind::Closed`](crate::ErrorKind::Closed) from here on.
    pub async fn close(&self) {
        self.0.connection.close().await;
    }
}

/// The address of a subscription.
///
/// ```
/// assert_eq!(azevents_servicebus::subscription("orders", "billing"), "orders/Subscriptions/billing");
/// ```
pub fn subscription(topic: &str, name: &str) -> String {
    format!("{topic}/Subscriptions/{name}")
}

/// How the address of a dead-letter queue ends.
pub(crate) const DEAD_LETTERS: &str = "/$DeadLetterQueue";

/// The address of the dead-letter queue of a queue or subscription.
///
/// ```
/// use azevents_servicebus::{dead_letter_queue, subscription};
///
/// assert_eq!(
///     dead_letter_queue(&subscription("orders", "billing")),
///     "orders/Subscriptions/billing/$DeadLetterQueue",
/// );
/// ```
pub fn dead_letter_queue(entity: &str) -> String {
    format!("{entity}{DEAD_LETTERS}")
}

/// The address of the queue of messages that a queue or subscription could not forward, or that a
/// transaction could not send on.
///
/// ```
/// assert_eq!(
///     azevents_servicebus::transfer_dead_letter_queue("orders"),
///     "orders/$Transfer/$DeadLetterQueue",
/// );
/// ```
pub fn transfer_dead_letter_queue(entity: &str) -> String {
    format!("{entity}/$Transfer/$DeadLetterQueue")
}
