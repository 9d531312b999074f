//! What the account holds, and the one way it changes: a [`Change`] that is written down before it
//! is done.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::lease::Lease;

/// `x-ms-meta-…` by name in lower case.
pub(super) type Metadata = BTreeMap<String, String>;

/// When something was last written, and the etag it got then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// As in the header, without quotes.
    pub(super) etag: String,
    /// Unix seconds; the protocol has no more.
    pub(super) modified: i64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Container {
    pub(super) about: ContainerProperties,
    pub(super) lease: Option<Lease>,
    pub(super) blobs: BTreeMap<String, Blob>,
    /// Blocks put and not committed yet, by blob and id.
    pub(super) staged: BTreeMap<String, BTreeMap<String, Bytes>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContainerProperties {
    pub(super) stamp: Stamp,
    pub(super) metadata: Metadata,
}

/// A block blob.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) about: BlobProperties,
    pub(super) lease: Option<Lease>,
    pub(super) content: Bytes,
}

/// All of a blob but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlobProperties {
    pub(super) stamp: Stamp,
    /// Unix seconds.
    pub(super) created: i64,
    pub(super) metadata: Metadata,
    pub(super) headers: ContentHeaders,
    /// Id and length of the blocks it was committed from; none if it was put at once.
    pub(super) blocks: Vec<(String, u64)>,
}

/// Headers that are kept with a blob and sent with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContentHeaders {
    pub(super) content_type: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) language: Option<String>,
    pub(super) disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    /// Base64.
    pub(super) md5: Option<String>,
}

/// One change of the account. Content that goes with it is kept beside, not inside: it is bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    Container {
        container: String,
        about: ContainerProperties,
    },
    DropContainer {
        container: String,
    },
    Blob {
        container: String,
        blob: String,
        about: BlobProperties,
    },
    Describe {
        container: String,
        blob: String,
        about: BlobProperties,
    },
    DropBlob {
        container: String,
        blob: String,
    },
    Block {
        container: String,
        blob: String,
        id: String,
    },
    /// Of the container, where there is no blob.
    Lease {
        container: String,
        blob: Option<String>,
        lease: Option<Lease>,
    },
}

impl Default for ContainerProperties {
    fn default() -> Self {
        Self {
            stamp: Stamp {
                etag: String::new(),
                modified: 0,
            },
            metadata: Metadata::new(),
        }
    }
}

/// Stamps that never come twice, whatever the clock does.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    last: u64,
}

impl Stamps {
    /// Etags look like the service's: 100 ns since the year 1, in hex.
    pub(super) fn next(&mut self, now: OffsetDateTime) -> Stamp {
        const UNIX_EPOCH_TICKS: i128 = 621_355_968_000_000_000;
        let ticks = now.unix_timestamp_nanos() / 100 + UNIX_EPOCH_TICKS;
        self.last = u64::try_from(ticks).unwrap_or_default().max(self.last + 1);
        Stamp {
            etag: format!("0x{:X}", self.last),
            modified: now.unix_timestamp(),
        }
    }

    /// Takes note of a stamp given in an earlier life.
    pub(super) fn given(&mut self, stamp: &Stamp) {
        let ticks = stamp
            .etag
            .strip_prefix("0x")
            .and_then(|hex| u64::from_str_radix(hex, 16).ok());
        self.last = self.last.max(ticks.unwrap_or_default());
    }
}
