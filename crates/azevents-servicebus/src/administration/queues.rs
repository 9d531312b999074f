//! Queues: what can be set on one, and the calls about them.

use std::time::Duration;

use futures::stream::BoxStream;

use super::access::AccessRule;
use super::atom::{Described, Fields};
use super::client::{ServiceBusAdministrationClient, Write};
use super::duration;
use super::runtime::QueueRuntimeProperties;
use super::status::EntityStatus;
use super::xml::Writer;
use crate::error::Result;

/// Settings of a queue. What [`new`](Self::new) leaves alone has the default of the service.
///
/// Name, sessions, duplicate detection and partitioning are settled when it is created; the rest can be
/// changed: [`get_queue`](ServiceBusAdministrationClient::get_queue), set, and
/// [`update_queue`](ServiceBusAdministrationClient::update_queue).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueProperties {
    /// Its name, which may have slashes; at most 260 characters.
    pub name: String,
    /// How long a receiver has a message for itself, at most 5 minutes. Default: 1 minute.
    pub lock_duration: Duration,
    /// How much fits in, in MB. Default: 1024.
    pub max_size_in_megabytes: u64,
    /// Whether a message id that was seen within the window is taken and dropped. Default: no.
    pub requires_duplicate_detection: bool,
    /// How long message ids are remembered, 20 seconds to 7 days. Default: 10 minutes.
    pub duplicate_detection_history_time_window: Duration,
    /// Whether all messages have a session. Default: no.
    pub requires_session: bool,
    /// How long messages live that do not say so themselves, or longer. Default: `None`, for ever.
    pub default_message_time_to_live: Option<Duration>,
    /// Whether expired messages become dead letters. Default: no, they vanish.
    pub dead_lettering_on_message_expiration: bool,
    /// How often a message is delivered before it becomes a dead letter. Default: 10.
    pub max_delivery_count: u32,
    /// Whether the service may gather writes. Default: yes.
    pub enable_batched_operations: bool,
    /// Keys for this queue alone.
    pub authorization_rules: Vec<AccessRule>,
    /// Whether it is switched on.
    pub status: EntityStatus,
    /// The queue or topic, in the same namespace, to which all messages go on.
    pub forward_to: Option<String>,
    /// The queue or topic, in the same namespace, to which dead letters go on.
    pub forward_dead_lettered_messages_to: Option<String>,
    /// What users note about it, at most 1024 characters.
    pub user_metadata: Option<String>,
    /// Time without any use after which it is deleted, 5 minutes at least. Default: `None`, never.
    pub auto_delete_on_idle: Option<Duration>,
    /// Whether it is spread over several brokers (not in the Premium tier). Default: no.
    pub enable_partitioning: bool,
    /// The largest message, in KB. Premium only; the service chooses where it is `None`.
    pub max_message_size_in_kilobytes: Option<u64>,
}

impl QueueProperties {
    /// A queue with the default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            lock_duration: Duration::from_secs(60),
            max_size_in_megabytes: 1024,
            requires_duplicate_detection: false,
            duplicate_detection_history_time_window: Duration::from_secs(600),
            requires_session: false,
            default_message_time_to_live: None,
            dead_lettering_on_message_expiration: false,
            max_delivery_count: 10,
            enable_batched_operations: true,
            authorization_rules: Vec::new(),
            status: EntityStatus::Active,
            forward_to: None,
            forward_dead_lettered_messages_to: None,
            user_metadata: None,
            auto_delete_on_idle: None,
            enable_partitioning: false,
            max_message_size_in_kilobytes: None,
        }
    }

    /// Sets how long a receiver has a message for itself.
    #[must_use]
    pub fn with_lock_duration(mut self, duration: Duration) -> Self {
        self.lock_duration = duration;
        self
    }

    /// Asks for a session on every message.
    #[must_use]
    pub fn with_sessions(mut self) -> Self {
        self.requires_session = true;
        self
    }

    /// Drops messages whose id was seen within `window`.
    #[must_use]
    pub fn with_duplicate_detection(mut self, window: Duration) -> Self {
        self.requires_duplicate_detection = true;
        self.duplicate_detection_history_time_window = window;
        self
    }

    /// Sets how long messages live that do not say so themselves.
    #[must_use]
    pub fn with_time_to_live(mut self, ttl: Duration) -> Self {
        self.default_message_time_to_live = Some(ttl);
        self
    }

    /// Keeps expired messages as dead letters.
    #[must_use]
    pub fn with_dead_lettering_on_expiration(mut self) -> Self {
        self.dead_lettering_on_message_expiration = true;
        self
    }

    /// Sets how often a message is delivered before it becomes a dead letter.
    #[must_use]
    pub fn with_max_delivery_count(mut self, count: u32) -> Self {
        self.max_delivery_count = count;
        self
    }

    /// Sends all messages on to another queue or topic.
    #[must_use]
    pub fn with_forward_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_to = Some(entity.into());
        self
    }

    /// Sends dead letters on to another queue or topic.
    #[must_use]
    pub fn with_forward_dead_letters_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_dead_lettered_messages_to = Some(entity.into());
        self
    }

    /// In the order of the service's data contract, which passes over what comes out of order. What is left out
    /// is the service's default, which is "for ever" only where the tier has that.
    fn write(&self, namespace: &str) -> Writer {
        let mut out = Writer::default();
        out.text("LockDuration", &duration::write(self.lock_duration));
        out.value("MaxSizeInMegabytes", &self.max_size_in_megabytes);
        out.value("RequiresDuplicateDetection", &self.requires_duplicate_detection);
        out.value("RequiresSession", &self.requires_session);
        let ttl = self.default_message_time_to_live;
        out.optional("DefaultMessageTimeToLive", ttl.map(duration::write));
        out.value(
            "DeadLetteringOnMessageExpiration",
            &self.dead_lettering_on_message_expiration,
        );
        let window = self.duplicate_detection_history_time_window;
        let window = self.requires_duplicate_detection.then(|| duration::write(window));
        out.optional("DuplicateDetectionHistoryTimeWindow", window);
        out.value("MaxDeliveryCount", &self.max_delivery_count);
        out.value("EnableBatchedOperations", &self.enable_batched_operations);
        AccessRule::write_all(&self.authorization_rules, &mut out);
        out.text("Status", self.status.as_str());
        out.optional("ForwardTo", address(namespace, self.forward_to.as_deref()));
        out.optional("UserMetadata", self.user_metadata.as_deref());
        out.optional("AutoDeleteOnIdle", self.auto_delete_on_idle.map(duration::write));
        out.value("EnablePartitioning", &self.enable_partitioning);
        let dead_letters = self.forward_dead_lettered_messages_to.as_deref();
        out.optional("ForwardDeadLetteredMessagesTo", address(namespace, dead_letters));
        out.optional("MaxMessageSizeInKilobytes", self.max_message_size_in_kilobytes.as_ref());
        out
    }
}

/// The service wants to know entities that are forwarded to by their full address.
pub(super) fn address(namespace: &str, entity: Option<&str>) -> Option<String> {
    entity.map(|entity| {
        if entity.contains("://") {
            entity.to_owned()
        } else {
            format!("sb://{namespace}/{entity}")
        }
    })
}

impl Described for QueueProperties {
    const KIND: &'static str = "QueueDescription";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        let usual = Self::new(name);
        let window = "DuplicateDetectionHistoryTimeWindow";
        Ok(Self {
            lock_duration: fields.duration("LockDuration", usual.lock_duration)?,
            max_size_in_megabytes: fields.number("MaxSizeInMegabytes", usual.max_size_in_megabytes)?,
            requires_duplicate_detection: fields.flag("RequiresDuplicateDetection", false),
            duplicate_detection_history_time_window: fields
                .duration(window, usual.duplicate_detection_history_time_window)?,
            requires_session: fields.flag("RequiresSession", false),
            default_message_time_to_live: fields.open_duration("DefaultMessageTimeToLive")?,
            dead_lettering_on_message_expiration: fields.flag("DeadLetteringOnMessageExpiration", false),
            max_delivery_count: fields.number("MaxDeliveryCount", usual.max_delivery_count)?,
            enable_batched_operations: fields.flag("EnableBatchedOperations", true),
            authorization_rules: AccessRule::read_all(fields.0),
            status: EntityStatus::read(fields),
            forward_to: fields.entity("ForwardTo"),
            forward_dead_lettered_messages_to: fields.entity("ForwardDeadLetteredMessagesTo"),
            user_metadata: fields.owned("UserMetadata"),
            auto_delete_on_idle: fields.open_duration("AutoDeleteOnIdle")?,
            enable_partitioning: fields.flag("EnablePartitioning", false),
            max_message_size_in_kilobytes: fields.optional_number("MaxMessageSizeInKilobytes")?,
            name: usual.name,
        })
    }
}

impl ServiceBusAdministrationClient {
    /// Creates a queue, and gives it as the service has it.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists): a queue or topic of that name;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a setting the service does not take;
    /// [`QuotaExceeded`](crate::ErrorKind::QuotaExceeded): the namespace is full.
    pub async fn create_queue(&self, queue: &QueueProperties) -> Result<QueueProperties> {
        self.put_queue("create queue", queue, false).await
    }

    /// Changes a queue, and gives it as the service has it. Every setting is written: start from
    /// [`get_queue`](Self::get_queue). Of changes at the same time the last one wins.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound);
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a setting that cannot be changed.
    pub async fn update_queue(&self, queue: &QueueProperties) -> Result<QueueProperties> {
        self.put_queue("update queue", queue, true).await
    }

    async fn put_queue(
        &self,
        operation: &'static str,
        queue: &QueueProperties,
        update: bool,
    ) -> Result<QueueProperties> {
        let dead_letters = queue.forward_dead_lettered_messages_to.is_some();
        let write = Write::forwarding(update, queue.forward_to.is_some(), dead_letters);
        let fields = queue.write(self.namespace());
        self.put(operation, &queue.name, fields, write).await
    }

    /// The settings of a queue.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound), also where it is a topic.
    pub async fn get_queue(&self, name: &str) -> Result<QueueProperties> {
        self.get("get queue", name).await
    }

    /// What lies in a queue.
    ///
    /// # Errors
    /// As of [`get_queue`](Self::get_queue).
    pub async fn get_queue_runtime_properties(&self, name: &str) -> Result<QueueRuntimeProperties> {
        self.get("get queue", name).await
    }

    /// Whether there is a queue of that name.
    ///
    /// # Errors
    /// It cannot be told: the namespace cannot be reached, or the credential may not ask.
    pub async fn queue_exists(&self, name: &str) -> Result<bool> {
        self.exists::<QueueProperties>("get queue", name).await
    }

    /// Deletes a queue and all that is in it.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound).
    pub async fn delete_queue(&self, name: &str) -> Result<()> {
        self.delete("delete queue", name).await
    }

    /// All queues, a page at a time as they are asked for. What is created or deleted meanwhile can make
    /// one be missed or come twice.
    pub fn list_queues(&self) -> BoxStream<'static, Result<QueueProperties>> {
        self.list("list queues", "$Resources/queues".to_owned())
    }

    /// What lies in each queue, listed as [`list_queues`](Self::list_queues) does.
    pub fn list_queues_runtime_properties(&self) -> BoxStream<'static, Result<QueueRuntimeProperties>> {
        self.list("list queues", "$Resources/queues".to_owned())
    }
}
