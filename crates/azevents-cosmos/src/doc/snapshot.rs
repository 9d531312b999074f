//! The snapshot document: a state beside the commits it was folded from.

use azevents_core::{Error, ErrorKind, Result, Snapshot, StreamHead, StreamId, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::content::Content;
use crate::ids;

/// First part of a snapshot's id. Sorts after every commit's id.
const SNAPSHOT_PREFIX: &str = "s";

/// The id of the snapshot under a schema.
pub(crate) fn snapshot_id(schema: &str) -> String {
    format!("{SNAPSHOT_PREFIX}{}{}", ids::SEPARATOR, ids::escape(schema))
}

/// A snapshot. All fields are written by whoever took it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotDocument {
    /// [`snapshot_id`] of `schema`: one snapshot per schema.
    pub(crate) id: String,
    /// The tenant: the first level of the partition key, where there are tenants.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    tenant: Option<String>,
    /// The stream: the partition key.
    stream: StreamId,
    /// The aggregate and the version of its state.
    schema: String,
    /// Version of the last event in the state.
    version: Version,
    /// Version of the first event of that event's commit.
    last_commit: Version,
    /// When it was taken, by the writer's clock, RFC 3339.
    #[serde(with = "super::time")]
    taken_at: OffsetDateTime,
    /// Media type of the state.
    content_type: String,
    /// JSON state: see [`Content::data`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    data: Option<Box<RawValue>>,
    /// Other state: see [`Content::base64`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
    /// Seconds after which the service removes it, where the category has a time to live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ttl: Option<u32>,
}

impl SnapshotDocument {
    pub(crate) fn new(snapshot: &Snapshot, tenant: Option<&str>, ttl: Option<u32>) -> Self {
        let Content { data, base64 } = Content::new(&snapshot.content_type, &snapshot.state);
        Self {
            id: snapshot_id(&snapshot.schema),
            tenant: tenant.map(str::to_owned),
            stream: snapshot.stream.clone(),
            schema: snapshot.schema.clone(),
            version: snapshot.head.version,
            last_commit: snapshot.head.last_commit,
            taken_at: snapshot.taken_at,
            content_type: snapshot.content_type.clone(),
            data,
            base64,
            ttl,
        }
    }

    pub(crate) fn parse(json: &[u8], subject: &str) -> Result<Snapshot> {
        let document: Self = serde_json::from_slice(json)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "read snapshot", subject).with_source(error))?;
        let content = Content {
            data: document.data,
            base64: document.base64,
        };
        Ok(Snapshot {
            stream: document.stream,
            schema: document.schema,
            head: StreamHead {
                version: document.version,
                last_commit: document.last_commit,
            },
            taken_at: document.taken_at,
            content_type: document.content_type,
            state: content.into_bytes(subject)?,
        })
    }
}
