//! Messages set aside in a container, with the reason, to be looked at and sent again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{CostObserver, DeadLetter, DeadLetterSink, Error, ErrorKind, Failures, Message, Parked, Result};
use azure_data_cosmos::ContainerClient;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::connection::Cosmos;
use crate::doc::Content;
use crate::items::Items;
use crate::{ids, wire};

/// A [`DeadLetterSink`] on a container made by
/// [`ContainerSpec::dead_letters`](crate::ContainerSpec::dead_letters). Clones share the connection.
///
/// A message is kept once per source, with the reason it was set aside for first.
#[derive(Clone)]
pub struct CosmosDeadLetters {
    items: Items,
    source: String,
}

/// A message set aside. All fields are written by whoever set it aside.
#[derive(Debug, Serialize, Deserialize)]
struct DeadLetterDocument {
    /// The message's id, escaped.
    id: String,
    /// Which consumer or relay could not handle it: the partition key.
    source: String,
    /// Why, as a short name; indexed.
    reason: String,
    /// Why, in a sentence.
    description: String,
    /// When, by the clock of whoever set it aside. RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    set_aside_at: OffsetDateTime,
    /// The message's own id.
    message_id: String,
    /// The message's key: the stream.
    key: String,
    /// What happened; indexed.
    event_type: String,
    /// Media type of the body.
    content_type: String,
    /// The body, where it is JSON.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    data: Option<Box<RawValue>>,
    /// The body, where it isn't.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
    /// The message's headers, and the story of how it failed.
    headers: BTreeMap<String, String>,
}

impl CosmosDeadLetters {
    /// Opens a container that exists. `source` is who sets messages aside: a consumer's name, a relay's.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the container doesn't exist.
    pub async fn open(cosmos: &Cosmos, container: &str, source: impl Into<String>) -> Result<Self> {
        Ok(Self::new(cosmos.container(container).await?, source))
    }

    /// A sink in a container that was opened elsewhere.
    pub fn new(container: ContainerClient, source: impl Into<String>) -> Self {
        Self {
            items: Items::new(container),
            source: source.into(),
        }
    }

    /// Everything of this source, in the order in which it can be sent again: that of [`Parked::sort`].
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a document that is no dead letter; else the service's.
    pub async fn list(&self) -> Result<Vec<Parked>> {
        let documents = self.items.all(&self.source, "list dead letters").await?;
        let mut letters = documents
            .iter()
            .map(|document| parked(document))
            .collect::<Result<Vec<_>>>()?;
        Parked::sort(&mut letters);
        Ok(letters)
    }

    /// Forgets a message, by its id: once it was sent again. `false` where there is none.
    ///
    /// # Errors
    /// The service's.
    pub async fn remove(&self, message_id: &str) -> Result<bool> {
        let id = ids::escape(message_id);
        let requests = self.items.requests();
        let on = requests.on(self.source.clone().into(), "remove dead letter", "", &id);
        on.delete(&id).await
    }

    /// Tells `observer` what every request costs.
    #[must_use]
    pub fn with_costs(mut self, observer: Arc<dyn CostObserver>) -> Self {
        self.items = self.items.with_costs(observer);
        self
    }
}

fn parked(document: &RawValue) -> Result<Parked> {
    let document: DeadLetterDocument = serde_json::from_str(document.get())
        .map_err(|error| Error::new(ErrorKind::Corrupt, "list dead letters", "a document").with_source(error))?;
    let content = Content {
        data: document.data,
        base64: document.base64,
    };
    let message = Message {
        body: content.into_bytes(&document.message_id)?,
        id: document.message_id,
        key: document.key,
        event_type: document.event_type,
        content_type: document.content_type,
        headers: document.headers,
    };
    let why = DeadLetter::new(document.reason, document.description)
        .after(Failures::of(&message.headers).unwrap_or_default());
    Ok(Parked {
        message,
        why,
        at: Some(document.set_aside_at),
    })
}

impl fmt::Debug for CosmosDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosDeadLetters")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl DeadLetterSink for CosmosDeadLetters {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> Result<()> {
        let what = "set aside";
        let id = ids::escape(&message.id);
        ids::check(&id, what)?;
        let Content { data, base64 } = Content::new(&message.content_type, &message.body);
        let document = DeadLetterDocument {
            id,
            source: self.source.clone(),
            reason: why.reason.clone(),
            description: why.description.clone(),
            set_aside_at: OffsetDateTime::now_utc(),
            message_id: message.id.clone(),
            key: message.key.clone(),
            event_type: message.event_type.clone(),
            content_type: message.content_type.clone(),
            data,
            base64,
            headers: message
                .headers
                .clone()
                .into_iter()
                .chain(why.failures.headers())
                .collect(),
        };
        let bytes = wire::json_len(&document)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, what, &message.id).with_source(error))?;
        if bytes > wire::MAX_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, what, &message.id).with_message(format!(
                "a document of {bytes} bytes, but Cosmos DB takes at most {}",
                wire::MAX_BYTES
            )));
        }
        let document = &document;
        // One that is there already is this message: kept by an earlier attempt, or earlier.
        wire::settled(what, || self.items.create(&self.source, &document.id, document, what)).await?;
        Ok(())
    }
}
