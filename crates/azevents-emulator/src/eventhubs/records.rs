//! What is kept of the hubs, as records of their journal.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    broker::Hubs,
    hub::Hub,
    log::{End, Stored},
    producers::{Identity, Numbers, Producer},
};
use crate::{
    EventHub,
    state::{Journal, NotWritten, Record, Sink},
};

/// Events that a log written anew has in one record.
const CHUNK: usize = 256;

/// One record. Hubs are named in lower case.
#[derive(Debug, Serialize, Deserialize)]
enum Change<'a> {
    Hub {
        name: String,
        /// Unix time in milliseconds.
        created: i64,
        partitions: u32,
        groups: Vec<String>,
        retention_ms: u64,
        max_partition_bytes: usize,
        opaque_offsets: bool,
    },
    /// Events of one publication; their bytes lie one behind the other in the record.
    Events {
        hub: Cow<'a, str>,
        partition: usize,
        first: i64,
        events: Vec<Placed>,
        /// The idempotent publisher they are from, and its numbers for them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<(Identity, Numbers)>,
    },
    /// An idempotent publisher, of which older epochs are out.
    Fence {
        hub: Cow<'a, str>,
        partition: usize,
        identity: Identity,
    },
    /// An idempotent publisher as it was when the log was written anew.
    Producer {
        hub: Cow<'a, str>,
        partition: usize,
        producer: Producer,
    },
    /// Where a partition is whose events may all be gone.
    End {
        hub: Cow<'a, str>,
        partition: usize,
        sequence: i64,
        offset: u64,
        last: Option<(u64, i64)>,
    },
}

/// Offset, time, and the lengths of the two parts of the message.
#[derive(Debug, Serialize, Deserialize)]
struct Placed(u64, i64, usize, usize);

/// Writes events and gives them back once they are written.
pub(super) fn append(
    journal: &Journal,
    hub: &str,
    partition: usize,
    events: Vec<Stored>,
    from: Option<(Identity, Numbers)>,
    done: impl FnOnce(Result<Vec<Stored>, NotWritten>) + Send + 'static,
) {
    if !journal.keeps() || events.is_empty() {
        return done(Ok(events));
    }
    let (change, parts) = describe(hub, partition, &events, from);
    let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
    let kept = events.clone();
    journal.append(&change, &parts, move |written| done(written.map(|()| kept)));
}

fn describe<'a>(
    hub: &'a str,
    partition: usize,
    events: &[Stored],
    from: Option<(Identity, Numbers)>,
) -> (Change<'a>, Vec<Bytes>) {
    let placed = events.iter().map(|event| {
        let [annotations, bare] = &event.message;
        Placed(event.offset, event.enqueued_millis, annotations.len(), bare.len())
    });
    let change = Change::Events {
        hub: Cow::Borrowed(hub),
        partition,
        first: events.first().map_or(0, |event| event.sequence),
        events: placed.collect(),
        from,
    };
    (change, events.iter().flat_map(|event| event.message.clone()).collect())
}

/// Writes that an idempotent publisher keeps older ones of its id out.
pub(super) fn fenced(journal: &Journal, hub: &str, partition: usize, identity: Identity) {
    let change = Change::Fence {
        hub: Cow::Borrowed(hub),
        partition,
        identity,
    };
    journal.append(&change, &[], |_| {});
}

/// Writes that a hub was created, or got a consumer group.
pub(super) fn created(journal: &Journal, hub: &Hub) {
    if journal.keeps() {
        journal.append(&hub_change(hub), &[], |_| {});
    }
}

fn hub_change(hub: &Hub) -> Change<'static> {
    let config = hub.config();
    Change::Hub {
        name: config.name,
        created: (hub.created_at.unix_timestamp_nanos() / 1_000_000) as i64,
        partitions: config.partition_count,
        groups: config.consumer_groups,
        retention_ms: u64::try_from(config.retention.as_millis()).unwrap_or(u64::MAX),
        max_partition_bytes: config.max_partition_bytes,
        opaque_offsets: config.opaque_offsets,
    }
}

/// Does once more what a record says.
pub(super) fn replay(hubs: &Hubs, record: Record<'_>) -> Result<(), String> {
    let partition_of = |hub: &str, id: usize| {
        let hub = hubs.get(hub).map_err(|error| error.description.unwrap_or_default())?;
        hub.partitions
            .get(id)
            .cloned()
            .ok_or_else(|| format!("there is no partition {id} of '{}'", hub.name))
    };
    match record.read::<Change<'static>>()? {
        Change::Hub {
            name,
            created,
            partitions,
            groups,
            retention_ms,
            max_partition_bytes,
            opaque_offsets,
        } => {
            let config = EventHub {
                partition_count: partitions,
                consumer_groups: groups,
                retention: Duration::from_millis(retention_ms),
                max_partition_bytes,
                opaque_offsets,
                ..EventHub::new(name)
            };
            let created = OffsetDateTime::from_unix_timestamp_nanos(i128::from(created) * 1_000_000);
            hubs.restore(&config, created.map_err(|error| error.to_string())?);
        }
        Change::Events {
            hub,
            partition,
            first,
            events,
            from,
        } => {
            let mut bytes = Bytes::copy_from_slice(record.bytes);
            let mut take = |length: usize| {
                (length <= bytes.len())
                    .then(|| bytes.split_to(length))
                    .ok_or_else(|| "an event is cut short".to_owned())
            };
            let mut restored = Vec::with_capacity(events.len());
            for (sequence, Placed(offset, enqueued_millis, annotations, bare)) in (first..).zip(events) {
                restored.push(Stored {
                    sequence,
                    message: [take(annotations)?, take(bare)?],
                    offset,
                    enqueued_millis,
                });
            }
            partition_of(&hub, partition)?.restore(restored, from);
        }
        Change::Fence {
            hub,
            partition,
            identity,
        } => partition_of(&hub, partition)?.restore_fence(&identity),
        Change::Producer {
            hub,
            partition,
            producer,
        } => partition_of(&hub, partition)?.restore_producer(producer),
        Change::End {
            hub,
            partition,
            sequence,
            offset,
            last,
        } => partition_of(&hub, partition)?.continue_at(End {
            next_sequence: sequence,
            next_offset: offset,
            last,
        }),
    }
    Ok(())
}

/// Writes all there is.
pub(super) fn snapshot(hubs: &Hubs, sink: &mut Sink) {
    for hub in hubs.all() {
        sink.record(&hub_change(&hub), &[]);
        let name = hub.name.to_lowercase();
        for (id, partition) in hub.partitions.iter().enumerate() {
            let (events, end, producers) = partition.contents();
            // Before the events: they must follow it without a gap.
            if let Some(first) = events.first() {
                let begin = End {
                    next_sequence: first.sequence,
                    next_offset: first.offset,
                    last: None,
                };
                record_end(sink, &name, id, begin);
            }
            for chunk in events.chunks(CHUNK) {
                let (change, parts) = describe(&name, id, chunk, None);
                let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
                sink.record(&change, &parts);
            }
            if events.is_empty() && end != End::default() {
                record_end(sink, &name, id, end);
            }
            for producer in producers {
                let change = Change::Producer {
                    hub: Cow::Borrowed(&name),
                    partition: id,
                    producer,
                };
                sink.record(&change, &[]);
            }
        }
    }
}

fn record_end(sink: &mut Sink, hub: &str, partition: usize, end: End) {
    let change = Change::End {
        hub: Cow::Borrowed(hub),
        partition,
        sequence: end.next_sequence,
        offset: end.next_offset,
        last: end.last,
    };
    sink.record(&change, &[]);
}
