//! What a record says: which entities there are, and what has changed in their queues.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::image::Entity;
use crate::{
    servicebus::{
        clock::Timestamp,
        engine::{Contents, KeptEntry, Place},
        message::{Message, MessageHead},
        usage::Times,
    },
    state::{Journal, Sink},
};

/// Messages that a log written anew has in one record.
const CHUNK: usize = 256;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Change {
    /// It is there, with these settings.
    Entity(u64, Box<Entity>),
    /// It is gone, and what is below it.
    Deleted(u64),
    Contents(Box<Changed>),
    /// It was created or changed then. The namespace itself has the number 0.
    Times(u64, Times),
    /// It was used; Unix time in milliseconds.
    Used(u64, i64),
}

/// A change of a queue. Bytes of messages and states lie in the record in the order of this.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Changed {
    /// The entity it belongs to.
    pub(super) of: u64,
    /// In lower case.
    pub(super) path: String,
    last: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    put: Vec<Put>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<i64>,
    /// The length of the state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<(String, Option<usize>)>,
    /// Times are Unix times in milliseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seen: Vec<(String, i64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Put {
    n: i64,
    place: Place,
    #[serde(default, skip_serializing_if = "is_zero")]
    count: u32,
    enqueued: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    /// Absent where the message is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<MessageHead>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde has it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Changes, and the bytes that go with them.
#[derive(Debug, Default)]
pub(in super::super) struct Record {
    changes: Vec<Change>,
    bytes: Vec<Bytes>,
}

impl Record {
    pub(super) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(super) fn entity(&mut self, id: u64, entity: Entity) {
        self.push(Change::Entity(id, Box::new(entity)));
    }

    pub(super) fn contents(&mut self, of: u64, path: &str, contents: Contents) {
        let mut changed = Changed {
            of,
            path: path.to_lowercase(),
            last: contents.last_sequence,
            gone: contents.gone,
            ..Changed::default()
        };
        for (n, entry) in contents.entries {
            let message = entry.message.map(|message| {
                let (head, bytes) = message.to_kept();
                self.bytes.extend(bytes);
                head
            });
            changed.put.push(Put {
                n,
                place: entry.place,
                count: entry.delivery_count,
                enqueued: entry.enqueued_at.as_millis(),
                expires: entry.expires_at.map(Timestamp::as_millis),
                message,
            });
        }
        for (id, state) in contents.sessions {
            changed.sessions.push((id.to_string(), state.as_ref().map(Bytes::len)));
            self.bytes.extend(state);
        }
        let seen = contents.seen.into_iter();
        changed.seen = seen.map(|(id, until)| (id.to_string(), until.as_millis())).collect();
        self.push(Change::Contents(Box::new(changed)));
    }

    /// All of a queue, in records of bearable size.
    pub(super) fn describe(records: &mut Vec<Self>, of: u64, path: &str, mut contents: Contents) {
        let entries = std::mem::take(&mut contents.entries);
        let mut rest = Self::default();
        let last_sequence = contents.last_sequence;
        rest.contents(of, path, contents);
        records.push(rest);
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut record = Self::default();
            let chunk = Contents {
                last_sequence,
                entries: entries.by_ref().take(CHUNK).collect(),
                ..Contents::default()
            };
            record.contents(of, path, chunk);
            records.push(record);
        }
    }

    fn parts(&self) -> Vec<&[u8]> {
        self.bytes.iter().map(|bytes| &bytes[..]).collect()
    }

    pub(super) fn append(&self, journal: &Journal) {
        if !self.changes.is_empty() {
            journal.append(&self.changes, &self.parts(), |_| {});
        }
    }

    pub(super) fn write(&self, sink: &mut Sink) {
        sink.record(&self.changes, &self.parts());
    }
}

impl Changed {
    /// The change, with its bytes from the front of `bytes`.
    pub(super) fn read(self, bytes: &mut Bytes) -> Result<Contents, String> {
        let mut take = |length: usize| {
            (length <= bytes.len())
                .then(|| bytes.split_to(length))
                .ok_or_else(|| "a message is cut short".to_owned())
        };
        let mut contents = Contents {
            last_sequence: self.last,
            gone: self.gone,
            ..Contents::default()
        };
        for put in self.put {
            let message = put
                .message
                .map(|head| Message::from_kept(head, &mut take))
                .transpose()?;
            let entry = KeptEntry {
                message,
                place: put.place,
                delivery_count: put.count,
                enqueued_at: Timestamp::from_millis(put.enqueued),
                expires_at: put.expires.map(Timestamp::from_millis),
            };
            contents.entries.insert(put.n, entry);
        }
        for (id, length) in self.sessions {
            let state = length.map(&mut take).transpose()?;
            contents.sessions.insert(id.into(), state);
        }
        let seen = self.seen.into_iter();
        contents.seen = seen
            .map(|(id, until)| (id.into(), Timestamp::from_millis(until)))
            .collect();
        Ok(contents)
    }
}
