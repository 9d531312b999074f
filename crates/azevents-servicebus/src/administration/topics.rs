//! Topics: what can be set on one, and the calls about them.

use std::time::Duration;

use futures::stream::BoxStream;

use super::access::AccessRule;
use super::atom::{Described, Fields};
use super::client::{ServiceBusAdministrationClient, Write};
use super::duration;
use super::runtime::TopicRuntimeProperties;
use super::status::EntityStatus;
use super::xml::Writer;
use crate::error::Result;

/// Settings of a topic. What [`new`](Self::new) leaves alone has the default of the service.
///
/// Name, duplicate detection and partitioning are settled when it is created; the rest can be changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TopicProperties {
    /// Its name, which may have slashes; at most 260 characters.
    pub name: String,
    /// How long messages live that do not say so themselves, or longer. Default: `None`, for ever.
    pub default_message_time_to_live: Option<Duration>,
    /// How much fits in, in MB. Default: 1024.
    pub max_size_in_megabytes: u64,
    /// Whether a message id that was seen within the window is taken and dropped. Default: no.
    pub requires_duplicate_detection: bool,
    /// How long message ids are remembered, 20 seconds to 7 days. Default: 10 minutes.
    pub duplicate_detection_history_time_window: Duration,
    /// Whether the service may gather writes. Default: yes.
    pub enable_batched_operations: bool,
    /// Keys for this topic alone.
    pub authorization_rules: Vec<AccessRule>,
    /// Whether it is switched on.
    pub status: EntityStatus,
    /// What users note about it, at most 1024 characters.
    pub user_metadata: Option<String>,
    /// Whether subscriptions get messages in the order in which the topic did. Default: no.
    pub support_ordering: bool,
    /// Time without any use after which it is deleted, 5 minutes at least. Default: `None`, never.
    pub auto_delete_on_idle: Option<Duration>,
    /// Whether it is spread over several brokers (not in the Premium tier). Default: no.
    pub enable_partitioning: bool,
    /// The largest message, in KB. Premium only; the service chooses where it is `None`.
    pub max_message_size_in_kilobytes: Option<u64>,
}

impl TopicProperties {
    /// A topic with the default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            default_message_time_to_live: None,
            max_size_in_megabytes: 1024,
            requires_duplicate_detection: false,
            duplicate_detection_history_time_window: Duration::from_secs(600),
            enable_batched_operations: true,
            authorization_rules: Vec::new(),
            status: EntityStatus::Active,
            user_metadata: None,
            support_ordering: false,
            auto_delete_on_idle: None,
            enable_partitioning: false,
            max_message_size_in_kilobytes: None,
        }
    }

    /// Sets how long messages live that do not say so themselves.
    #[must_use]
    pub fn with_time_to_live(mut self, ttl: Duration) -> Self {
        self.default_message_time_to_live = Some(ttl);
        self
    }

    /// Drops messages whose id was seen within `window`.
    #[must_use]
    pub fn with_duplicate_detection(mut self, window: Duration) -> Self {
        self.requires_duplicate_detection = true;
        self.duplicate_detection_history_time_window = window;
        self
    }

    /// In the order of the service's data contract, which passes over what comes out of order. What is left out
    /// is the service's default, which is "for ever" only where the tier has that.
    fn write(&self) -> Writer {
        let mut out = Writer::default();
        let ttl = self.default_message_time_to_live;
        out.optional("DefaultMessageTimeToLive", ttl.map(duration::write));
        out.value("MaxSizeInMegabytes", &self.max_size_in_megabytes);
        out.value("RequiresDuplicateDetection", &self.requires_duplicate_detection);
        let window = self.duplicate_detection_history_time_window;
        let window = self.requires_duplicate_detection.then(|| duration::write(window));
        out.optional("DuplicateDetectionHistoryTimeWindow", window);
        out.value("EnableBatchedOperations", &self.enable_batched_operations);
        AccessRule::write_all(&self.authorization_rules, &mut out);
        out.text("Status", self.status.as_str());
        out.optional("UserMetadata", self.user_metadata.as_deref());
        out.value("SupportOrdering", &self.support_ordering);
        out.optional("AutoDeleteOnIdle", self.auto_delete_on_idle.map(duration::write));
        out.value("EnablePartitioning", &self.enable_partitioning);
        out.optional("MaxMessageSizeInKilobytes", self.max_message_size_in_kilobytes.as_ref());
        out
    }
}

impl Described for TopicProperties {
    const KIND: &'static str = "TopicDescription";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        let usual = Self::new(name);
        let window = "DuplicateDetectionHistoryTimeWindow";
        Ok(Self {
            default_message_time_to_live: fields.open_duration("DefaultMessageTimeToLive")?,
            max_size_in_megabytes: fields.number("MaxSizeInMegabytes", usual.max_size_in_megabytes)?,
            requires_duplicate_detection: fields.flag("RequiresDuplicateDetection", false),
            duplicate_detection_history_time_window: fields
                .duration(window, usual.duplicate_detection_history_time_window)?,
            enable_batched_operations: fields.flag("EnableBatchedOperations", true),
            authorization_rules: AccessRule::read_all(fields.0),
            status: EntityStatus::read(fields),
            user_metadata: fields.owned("UserMetadata"),
            support_ordering: fields.flag("SupportOrdering", false),
            auto_delete_on_idle: fields.open_duration("AutoDeleteOnIdle")?,
            enable_partitioning: fields.flag("EnablePartitioning", false),
            max_message_size_in_kilobytes: fields.optional_number("MaxMessageSizeInKilobytes")?,
            name: usual.name,
        })
    }
}

impl ServiceBusAdministrationClient {
    /// Creates a topic, and gives it as the service has it.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists): a queue or topic of that name;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a setting the service does not take;
    /// [`QuotaExceeded`](crate::ErrorKind::QuotaExceeded): the namespace is full.
    pub async fn create_topic(&self, topic: &TopicProperties) -> Result<TopicProperties> {
        self.put("create topic", &topic.name, topic.write(), Write::default())
            .await
    }

    /// Changes a topic, and gives it as the service has it. Every setting is written: start from
    /// [`get_topic`](Self::get_topic). Of changes at the same time the last one wins.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound);
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a setting that cannot be changed.
    pub async fn update_topic(&self, topic: &TopicProperties) -> Result<TopicProperties> {
        let write = Write::forwarding(true, false, false);
        self.put("update topic", &topic.name, topic.write(), write).await
    }

    /// The settings of a topic.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound), also where it is a queue.
    pub async fn get_topic(&self, name: &str) -> Result<TopicProperties> {
        self.get("get topic", name).await
    }

    /// How much lies in a topic, and how many subscriptions it has.
    ///
    /// # Errors
    /// As of [`get_topic`](Self::get_topic).
    pub async fn get_topic_runtime_properties(&self, name: &str) -> Result<TopicRuntimeProperties> {
        self.get("get topic", name).await
    }

    /// Whether there is a topic of that name.
    ///
    /// # Errors
    /// It cannot be told: the namespace cannot be reached, or the credential may not ask.
    pub async fn topic_exists(&self, name: &str) -> Result<bool> {
        self.exists::<TopicProperties>("get topic", name).await
    }

    /// Deletes a topic, its subscriptions and all that is in them.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound).
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        self.delete("delete topic", name).await
    }

    /// All topics, a page at a time as they are asked for. What is created or deleted meanwhile can make
    /// one be missed or come twice.
    pub fn list_topics(&self) -> BoxStream<'static, Result<TopicProperties>> {
        self.list("list topics", "$Resources/topics".to_owned())
    }

    /// How much lies in each topic, listed as [`list_topics`](Self::list_topics) does.
    pub fn list_topics_runtime_properties(&self) -> BoxStream<'static, Result<TopicRuntimeProperties>> {
        self.list("list topics", "$Resources/topics".to_owned())
    }
}
