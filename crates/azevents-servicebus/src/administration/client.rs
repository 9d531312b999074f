//! The client, and what all its calls have in common.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::atom::{self, Described};
use super::errors;
use super::http::{Answer, Call, Http};
use super::runtime::NamespaceProperties;
use super::xml::Writer;
use crate::client::{ClientOptions, TransportType};
use crate::connection_string::{ConnectionString, Endpoint};
use crate::credential::Credential;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryOptions;

/// The version of the API whose descriptions these are.
const API_VERSION: &str = "2021-05";
/// Entries on a page: the most that the service gives.
const PAGE: usize = 100;
/// What stays as it is in a part of a path. `$` is in the names of default rules.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$');

/// Creates, changes, lists and deletes the entities of one namespace. Clones share a connection, which is
/// opened by the first call. Must be used within a Tokio runtime.
///
/// Of [`ClientOptions`] it minds the retries, `open_timeout` (for one connection), the proxy (by default the
/// environment's), the custom endpoint and the trusted authority; its transport is always HTTPS on port
/// 443, and plain HTTP to an emulator.
///
/// # Retries
/// A call is repeated after a lost answer like after any other transient failure. As the first try may
/// have happened, a creation can then end with [`ErrorKind::AlreadyExists`], and a deletion with
/// [`ErrorKind::EntityNotFound`].
///
/// # Cancellation
/// A call that is dropped may or may not have happened.
///
/// ```no_run
/// use std::time::Duration;
/// use azevents_servicebus::administration::{QueueProperties, ServiceBusAdministrationClient, SubscriptionProperties};
/// use azevents_servicebus::{Rule, RuleFilter};
/// use futures::TryStreamExt;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let text = std::env::var("SERVICEBUS_CONNECTION_STRING")?;
/// let admin = ServiceBusAdministrationClient::from_connection_string(&text)?;
/// if !admin.queue_exists("invoices").await? {
///     let queue = QueueProperties::new("invoices").with_sessions().with_lock_duration(Duration::from_secs(30));
///     admin.create_queue(&queue).await?;
/// }
///
/// let large = Rule::new("large", RuleFilter::Sql("total > 1000".into()));
/// admin.create_subscription_with_rule(&SubscriptionProperties::new("orders", "audit"), &large).await?;
///
/// let mut queue = admin.get_queue("invoices").await?;
/// queue.max_delivery_count = 5;
/// admin.update_queue(&queue).await?;
///
/// let mut queues = admin.list_queues_runtime_properties();
/// while let Some(queue) = queues.try_next().await? {
///     println!("{}: {} dead letters", queue.name, queue.counts.dead_letter);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServiceBusAdministrationClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    retry: RetryOptions,
}

impl ServiceBusAdministrationClient {
    /// A client with a shared access key (or a signature) that has the right Manage.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], naming what is missing.
    pub fn from_connection_string(connection_string: &str) -> Result<Self> {
        Self::from_connection_string_with(connection_string, ClientOptions::default())
    }

    /// A client with a shared access key (or a signature), and options.
    ///
    /// The port of an emulator's administration is in its connection string: an emulator has another
    /// one for AMQP.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], naming what is missing.
    pub fn from_connection_string_with(connection_string: &str, options: ClientOptions) -> Result<Self> {
        let parsed = ConnectionString::parse(connection_string)?;
        Self::build(&parsed.endpoint, Credential::SharedAccess(parsed.secret), options)
    }

    /// A client with a credential of Microsoft Entra ID, as from `azure_identity`, that has the role Azure
    /// Service Bus Data Owner. `namespace` is the host name, as in `shop.servicebus.windows.net`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for what is no host name.
    pub fn new(namespace: &str, credential: Arc<dyn TokenCredential>, options: ClientOptions) -> Result<Self> {
        Self::build(&Endpoint::azure(namespace)?, Credential::Token(credential), options)
    }

    /// A client of an emulator on loopback, over plain HTTP, that checks its token credential.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a connection string that is not an emulator's: a token must never
    /// travel unencrypted to anything else.
    pub fn for_emulator(
        connection_string: &str,
        credential: Arc<dyn TokenCredential>,
        options: ClientOptions,
    ) -> Result<Self> {
        let parsed = ConnectionString::parse(connection_string)?;
        if !parsed.is_emulator() {
            return Err(Error::configuration(
                "the connection string lacks UseDevelopmentEmulator=true",
            ));
        }
        Self::build(&parsed.endpoint, Credential::Token(credential), options)
    }

    fn build(endpoint: &Endpoint, credential: Credential, options: ClientOptions) -> Result<Self> {
        let (retry, open_timeout) = (options.retry, options.open_timeout);
        // HTTPS goes the way of WebSockets: the same port, the same proxies.
        let mut route = options.with_transport(TransportType::WebSockets).route(endpoint)?;
        route.web_socket = false;
        let http = Http::new(&endpoint.host, route, credential, open_timeout)?;
        Ok(Self(Arc::new(Inner { http, retry })))
    }

    /// What the namespace is.
    ///
    /// # Errors
    /// It cannot be reached, or the credential may not ask.
    pub async fn get_namespace_properties(&self) -> Result<NamespaceProperties> {
        self.get("get namespace", "$namespaceinfo").await
    }

    /// The host name of the namespace.
    pub(super) fn namespace(&self) -> &str {
        self.0.http.namespace()
    }

    pub(super) async fn get<T: Described>(&self, operation: &'static str, path: &str) -> Result<T> {
        let read = |answer: Answer| atom::read_entry(&answer.body);
        self.perform(operation, path, Write::default(), Method::GET, "", read)
            .await
    }

    /// Whether a `get` finds something.
    pub(super) async fn exists<T: Described>(&self, operation: &'static str, path: &str) -> Result<bool> {
        match self.get::<T>(operation, path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::EntityNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn put<T: Described>(
        &self,
        operation: &'static str,
        path: &str,
        fields: Writer,
        write: Write,
    ) -> Result<T> {
        let body = atom::entry(T::KIND, fields);
        let read = |answer: Answer| atom::read_entry(&answer.body);
        self.perform(operation, path, write, Method::PUT, &body, read).await
    }

    pub(super) async fn delete(&self, operation: &'static str, path: &str) -> Result<()> {
        self.perform(operation, path, Write::default(), Method::DELETE, "", |_| Ok(()))
            .await
    }

    /// All entries, a page at a time as they are asked for. What is created or deleted meanwhile can make
    /// an entry be missed or come twice, as pages are counted from the start.
    pub(super) fn list<T>(&self, operation: &'static str, path: String) -> BoxStream<'static, Result<T>>
    where
        T: Described + Send + 'static,
    {
        let client = self.clone();
        let pages = stream::try_unfold(Some(0), move |skip| {
            let (client, path) = (client.clone(), path.clone());
            async move {
                let Some(skip) = skip else {
                    return Ok::<_, Error>(None);
                };
                let query = format!("&$skip={skip}&$top={PAGE}");
                let read = |answer: Answer| atom::read_page::<T>(&answer.body, skip);
                let page = client
                    .perform(operation, &path, Write::paged(query), Method::GET, "", read)
                    .await?;
                Ok(Some((stream::iter(page.entries).map(Ok), page.next)))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn perform<T>(
        &self,
        operation: &'static str,
        path: &str,
        write: Write,
        method: Method,
        body: &str,
        read: impl Fn(Answer) -> Result<T>,
    ) -> Result<T> {
        let call = Call {
            path: format!("/{}?api-version={API_VERSION}{}", escaped(path)?, write.query),
            method,
            update: write.update,
            body: body.to_owned(),
            supplements: write.supplements,
        };
        let retry = self.0.retry;
        retry
            .run(operation, path, || async {
                let answer = self.0.http.call(&call).await?;
                if answer.status.is_success() {
                    read(answer)
                } else {
                    Err(errors::refused(&call.method, call.update, &answer))
                }
            })
            .await
    }
}

/// What sets a request apart beside its path and body.
#[derive(Default)]
pub(super) struct Write {
    /// What exists is changed, and nothing is created.
    pub(super) update: bool,
    /// Headers that carry a further token, as forwarding needs one.
    pub(super) supplements: Vec<&'static str>,
    query: String,
}

impl Write {
    fn paged(query: String) -> Self {
        Self {
            query,
            ..Self::default()
        }
    }

    /// The service wants to see for each entity that is forwarded to that we may.
    pub(super) fn forwarding(update: bool, forward_to: bool, dead_letters: bool) -> Self {
        let mut supplements = Vec::new();
        if forward_to {
            supplements.push("ServiceBusSupplementaryAuthorization");
        }
        if dead_letters {
            supplements.push("ServiceBusDlqSupplementaryAuthorization");
        }
        Self {
            update,
            supplements,
            query: String::new(),
        }
    }
}

/// A path made of names, of which those of queues and topics may have slashes.
fn escaped(path: &str) -> Result<String> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("`{path}` is not the name of an entity"),
        ));
    }
    let parts = path.split('/').map(|part| utf8_percent_encode(part, PART).to_string());
    Ok(parts.collect::<Vec<_>>().join("/"))
}
