//! The commit document: all events of one append.

use std::collections::BTreeMap;

use azevents_core::{Commit, Error, ErrorKind, EventId, RecordedEvent, Result, StreamHead, StreamId, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::content::Content;
use super::message::MessageDocument;

/// First character of a commit's id. Snapshots begin with `s`, documents of the appender's own with `u`.
pub(crate) const COMMIT_PREFIX: &str = "c";
/// Sorts after every commit's id and before whatever else a stream may hold.
pub(crate) const END_OF_COMMITS: &str = "d";

/// The id of the commit whose first event has this version: `c` and 20 digits, so that ids sort as
/// versions do.
pub(crate) fn commit_id(first: Version) -> String {
    format!("{COMMIT_PREFIX}{:020}", first.get())
}

/// Whether an id is a commit's.
pub(crate) fn is_commit(id: &str) -> bool {
    id.strip_prefix(COMMIT_PREFIX)
        .is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// One append. Written once, never changed. All fields are written by the appender.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CommitDocument {
    /// [`commit_id`] of `first`: that it can exist only once is what makes versions unique.
    pub(crate) id: String,
    /// The tenant: the first level of the partition key, where there are tenants.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) tenant: Option<String>,
    /// The stream: the partition key, or its second level.
    pub(crate) stream: StreamId,
    /// The stream's category, indexed.
    pub(crate) category: String,
    /// Version of the first event.
    pub(crate) first: Version,
    /// How many events.
    pub(crate) count: u64,
    /// When the append was made, by the appender's clock, RFC 3339.
    #[serde(with = "super::time")]
    pub(crate) committed_at: OffsetDateTime,
    /// Which program made it; for people who look for it in logs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) writer: Option<String>,
    /// The events, in order.
    pub(crate) events: Vec<EventDocument>,
    /// Messages that the relay publishes after the events; absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) outbox: Vec<MessageDocument>,
    /// Only in the document that closes a stream, and is none of its commits: it stands where the next
    /// one would, and holds no events.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) closes: Option<Closes>,
    /// Only in what is left of a truncated stream's first commit: it keeps version 1 from being given
    /// again, and holds no events.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) truncated: bool,
    /// Seconds after which the service removes it, where the category has a time to live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) ttl: Option<u32>,
}

/// What is left to know of a closed stream when its commits are gone.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Closes {
    /// Version of the first event of the last commit; absent for a stream that had none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    last_commit: Option<Version>,
}

/// What a store adds to every commit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra<'a> {
    pub(crate) tenant: Option<&'a str>,
    pub(crate) writer: Option<&'a str>,
    pub(crate) ttl: Option<u32>,
}

/// One event of a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventDocument {
    /// Chosen by the event's author; the message id at brokers.
    id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    event_type: String,
    /// Media type of the data.
    content_type: String,
    /// JSON data: see [`Content::data`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    data: Option<Box<RawValue>>,
    /// Other data: see [`Content::base64`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
    /// Correlation, causation and the like; absent where there is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    metadata: BTreeMap<String, String>,
}

impl CommitDocument {
    /// The document of `commit`.
    pub(crate) fn new(commit: &Commit, extra: Extra<'_>) -> Self {
        Self {
            id: commit_id(commit.first),
            tenant: extra.tenant.map(str::to_owned),
            stream: commit.stream.clone(),
            category: commit.stream.category().to_owned(),
            first: commit.first,
            count: commit.events.len() as u64,
            committed_at: commit.committed_at,
            writer: extra.writer.map(str::to_owned),
            events: commit.events.iter().map(EventDocument::new).collect(),
            outbox: commit.outbox.iter().map(MessageDocument::new).collect(),
            closes: None,
            truncated: false,
            ttl: extra.ttl,
        }
    }

    /// The document that closes a stream which ends at `head`.
    pub(crate) fn closing(stream: &StreamId, head: Option<StreamHead>, at: OffsetDateTime, extra: Extra<'_>) -> Self {
        let first = head.map_or(Version::NONE, |head| head.version).next();
        let empty = Commit::record(stream, first, Vec::new(), at);
        Self {
            closes: Some(Closes {
                last_commit: head.map(|head| head.last_commit),
            }),
            ..Self::new(&empty, Extra { ttl: None, ..extra })
        }
    }

    /// What is left of the first commit of a truncated stream.
    pub(crate) fn stub(stream: &StreamId, at: OffsetDateTime, extra: Extra<'_>) -> Self {
        let empty = Commit::record(stream, Version::FIRST, Vec::new(), at);
        Self {
            truncated: true,
            ..Self::new(&empty, Extra { ttl: None, ..extra })
        }
    }

    /// Reads a document of the container, refusing one that contradicts itself.
    pub(crate) fn parse(json: &str, subject: &str) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "read commit", subject);
        let document: Self = serde_json::from_str(json).map_err(|error| corrupt().with_source(error))?;
        if document.id != commit_id(document.first)
            || document.count != document.events.len() as u64
            || document.events.is_empty() != (document.closes.is_some() || document.truncated)
        {
            return Err(corrupt().with_message(format!(
                "document {} of stream {} says first {} and count {}, and holds {} events",
                document.id,
                document.stream,
                document.first,
                document.count,
                document.events.len()
            )));
        }
        Ok(document)
    }

    /// The commit, or `None` for a document that only keeps its place: it closes a stream, or is what is
    /// left of a truncated one's first commit.
    pub(crate) fn into_commit(self) -> Result<Option<Commit>> {
        if self.closes.is_some() || self.truncated {
            return Ok(None);
        }
        let (stream, first, committed_at) = (self.stream, self.first, self.committed_at);
        let events = (first.get()..)
            .zip(self.events)
            .map(|(version, event)| {
                let version = Version::new(version);
                let data = Content {
                    data: event.data,
                    base64: event.base64,
                }
                .into_bytes(format_args!("{stream}@{version}"))?;
                Ok(RecordedEvent {
                    id: event.id,
                    stream: stream.clone(),
                    version,
                    commit: first,
                    event_type: event.event_type,
                    content_type: event.content_type,
                    data,
                    metadata: event.metadata,
                    committed_at,
                })
            })
            .collect::<Result<_>>()?;
        let outbox = self.outbox.into_iter().map(MessageDocument::into_message);
        Ok(Some(Commit {
            tenant: self.tenant.map(Into::into),
            stream,
            first,
            events,
            outbox: outbox.collect::<Result<_>>()?,
            committed_at,
        }))
    }
}

impl EventDocument {
    fn new(event: &RecordedEvent) -> Self {
        let Content { data, base64 } = Content::new(&event.content_type, &event.data);
        Self {
            id: event.id,
            event_type: event.event_type.clone(),
            content_type: event.content_type.clone(),
            data,
            base64,
            metadata: event.metadata.clone(),
        }
    }
}

/// What is needed of a stream's last commit to append after it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Tail {
    first: Version,
    count: u64,
    #[serde(default)]
    closes: Option<Closes>,
}

impl Tail {
    /// The end of the stream that has this document last; `None` for one that was closed before it began.
    pub(crate) fn head(self) -> Option<StreamHead> {
        let version = Version::new((self.first.get() + self.count).saturating_sub(1));
        let last_commit = match self.closes {
            None if self.count == 0 => return None,
            None => self.first,
            Some(closes) => closes.last_commit?,
        };
        Some(StreamHead { version, last_commit })
    }

    /// Whether the stream takes nothing any more.
    pub(crate) fn is_closed(self) -> bool {
        self.closes.is_some()
    }
}

impl From<&CommitDocument> for Tail {
    fn from(document: &CommitDocument) -> Self {
        Self {
            first: document.first,
            count: document.count,
            closes: document.closes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azevents_core::NewEvent;

    fn commit(first: u64) -> Commit {
        let stream = StreamId::new("order-536365").unwrap();
        let events = vec![
            NewEvent::json("LineAdded", &serde_json::json!({"stock_code": "85123A", "price": 2.55}))
                .unwrap()
                .with_metadata("user", "17850"),
            NewEvent::new("Scanned", "image/png", b"\x89PNG".as_slice()),
        ];
        let at = OffsetDateTime::from_unix_timestamp(1_291_191_960).unwrap();
        Commit::record(&stream, Version::new(first), events, at)
    }

    #[test]
    fn a_commit_comes_back_as_it_was_written() {
        let mut commit = commit(7);
        commit.outbox.push(azevents_core::Message::from(&commit.events[1]));
        let json = serde_json::to_string(&CommitDocument::new(&commit, Extra::default())).unwrap();
        assert_eq!(
            CommitDocument::parse(&json, "x")
                .unwrap()
                .into_commit()
                .unwrap()
                .as_ref(),
            Some(&commit)
        );
        let tail: Tail = serde_json::from_str(&json).unwrap();
        assert_eq!(tail.head(), Some(commit.head()));
    }

    #[test]
    fn the_stored_form_is_what_the_storage_model_describes() {
        let document = serde_json::to_value(CommitDocument::new(&commit(1), Extra::default())).unwrap();
        assert_eq!(document["id"], "c00000000000000000001");
        assert_eq!(document["stream"], "order-536365");
        assert_eq!(document["category"], "order");
        assert_eq!(document["first"], 1);
        assert_eq!(document["count"], 2);
        assert_eq!(document["committed_at"], "2010-12-01T08:26:00.000000Z");
        assert_eq!(document["events"][0]["type"], "LineAdded");
        assert_eq!(document["events"][0]["data"]["price"], 2.55);
        assert_eq!(document["events"][0]["metadata"]["user"], "17850");
        assert_eq!(document["events"][1]["base64"], "iVBORw==");
        assert!(document.get("writer").is_none());
    }

    #[test]
    fn ids_sort_as_versions_do_and_apart_from_other_documents() {
        let ids: Vec<_> = [1, 9, 10, 99, u64::MAX].map(|v| commit_id(Version::new(v))).into();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| is_commit(id) && id.as_str() < END_OF_COMMITS));
        for other in ["meta", "s1", "c1", "c0000000000000000000x", END_OF_COMMITS] {
            assert!(!is_commit(other), "{other}");
        }
    }

    #[test]
    fn what_closes_a_stream_is_no_commit_and_knows_where_the_stream_ended() {
        let head = commit(7).head();
        let document = CommitDocument::closing(
            &commit(7).stream,
            Some(head),
            OffsetDateTime::UNIX_EPOCH,
            Extra::default(),
        );
        let json = serde_json::to_string(&document).unwrap();
        assert_eq!(document.id, commit_id(Version::new(9)));
        assert_eq!(CommitDocument::parse(&json, "x").unwrap().into_commit().unwrap(), None);
        let tail: Tail = serde_json::from_str(&json).unwrap();
        assert!(tail.is_closed());
        assert_eq!(tail.head(), Some(head));
    }

    #[test]
    fn a_document_that_contradicts_itself_is_refused() {
        let mut document = serde_json::to_value(CommitDocument::new(&commit(1), Extra::default())).unwrap();
        document["count"] = 3.into();
        let error = CommitDocument::parse(&document.to_string(), "order-536365").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("count 3, and holds 2 events"), "{error}");
    }
}
