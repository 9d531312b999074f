//! What a record says.

use azure_core::http::{Method, Request};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::lane::Write;
use crate::cosmos::{target::Target, writes::body};

/// One record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Change {
    /// Databases, containers, throughput.
    Metadata(Raw),
    /// Items of a container; their texts lie in the record one behind the other.
    Items {
        database: String,
        container: String,
        entries: Vec<Entry>,
    },
    /// One partition was split, or two were merged.
    Partitions {
        database: String,
        container: String,
        partitions: Vec<u32>,
        /// Partition keys and ids of the merged partition's items, in the order of their numbers.
        #[serde(default)]
        order: Vec<(String, String)>,
    },
}

/// A write. `pk` is the partition key as the header has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cosmos) enum Entry {
    Put {
        pk: String,
        id: String,
        /// The physical partition, and the number it gave the item.
        partition: u32,
        lsn: u64,
        /// Unix time in milliseconds, by the emulator's clock.
        at: i64,
        /// Of the text.
        length: usize,
    },
    Delete {
        pk: String,
        id: String,
        partition: u32,
        /// The number it gave the deletion.
        lsn: u64,
    },
    Request(Raw),
}

impl Entry {
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Put { length, .. } => *length,
            Self::Delete { .. } => 0,
            Self::Request(raw) => raw.length,
        }
    }

    /// The partition and what is written there, or the request.
    pub(super) fn into_write(self) -> Result<(u32, Write), Raw> {
        let (partition, write) = match self {
            Self::Put {
                pk,
                id,
                partition,
                lsn,
                at,
                ..
            } => {
                let at = Some(at);
                (partition, Write { pk, id, lsn, at })
            }
            Self::Delete { pk, id, partition, lsn } => {
                let at = None;
                (partition, Write { pk, id, lsn, at })
            }
            Self::Request(raw) => return Err(raw),
        };
        Ok((partition, write))
    }
}

/// A request without its body, and without what it was conditional on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cosmos) struct Raw {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    pub(super) length: usize,
}

/// Headers that were for that one time.
const ONCE: [&str; 12] = [
    "authorization",
    "if-match",
    "if-none-match",
    "x-ms-date",
    "x-ms-session-token",
    "x-ms-consistency-level",
    "x-ms-activity-id",
    "x-ms-client-request-id",
    "user-agent",
    "host",
    "traceparent",
    "content-length",
];

impl Raw {
    /// The request with its body.
    pub(super) fn of(request: &Request) -> (Self, Bytes) {
        let body = without_conditions(body(request));
        let headers = request.headers().iter();
        let raw = Self {
            method: request.method().as_str().to_owned(),
            path: request.url().path().to_owned(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
                .filter(|(name, _)| !ONCE.contains(&name.as_str()))
                .collect(),
            length: body.len(),
        };
        (raw, body)
    }

    /// What it is about.
    pub(super) fn target(&self) -> Option<Target> {
        let endpoint = Url::parse("http://localhost/").ok()?;
        let request = self.clone().request(&endpoint, Bytes::new()).ok()?;
        Some(Target::of(&request))
    }

    /// The inverse, at the account's endpoint.
    pub(super) fn request(self, endpoint: &Url, body: Bytes) -> Result<Request, String> {
        let method = match self.method.as_str() {
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            other => return Err(format!("{other} changes nothing")),
        };
        let mut url = endpoint.clone();
        url.set_path(&self.path);
        let mut request = Request::new(url, method);
        for (name, value) in self.headers {
            request.insert_header(name, value);
        }
        request.set_body(body);
        Ok(request)
    }
}

/// A batch's operations have conditions, too.
fn without_conditions(body: Bytes) -> Bytes {
    let Ok(Value::Array(mut operations)) = serde_json::from_slice(&body) else {
        return body;
    };
    for operation in operations.iter_mut().filter_map(Value::as_object_mut) {
        operation.retain(|name, _| name != "ifMatch" && name != "ifNoneMatch");
    }
    Value::Array(operations).to_string().into()
}
