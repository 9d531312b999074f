//! Many updates to one batch: marks first, then each changed document once, in its final state.

use std::collections::{BTreeMap, BTreeSet};

use azevents_core::{Error, ErrorKind, Result};
use azure_data_cosmos::options::{BatchReplaceOptions, Precondition};
use azure_data_cosmos::{CosmosError, TransactionalBatch};
use serde_json::Value;

use super::cache::{Cache, Known};
use super::documents::{DOCUMENT, NewDocument};
use super::marks::NewMark;
use super::queue::Job;
use crate::{ids, wire};

/// A batch about to be sent. Operation `n` is the mark of job `n`; the documents follow.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) documents: Vec<StagedDocument>,
    /// Bytes of the request, near enough.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct StagedDocument {
    pub(super) id: String,
    pub(super) content: Value,
    pub(super) bytes: usize,
}

/// The stored ids of the documents that a job changes.
pub(super) fn documents(job: &Job) -> BTreeSet<String> {
    job.update
        .changes()
        .iter()
        .map(|change| ids::escape(change.document()))
        .collect()
}

/// How many of `jobs`, from the first, fit into one batch by the number of operations. At least one:
/// what doesn't fit alone is refused later, with a reason.
pub(super) fn fitting(jobs: &[Job]) -> usize {
    let mut changed = BTreeSet::new();
    for (count, job) in jobs.iter().enumerate() {
        changed.extend(documents(job));
        if count + 1 + changed.len() > wire::MAX_BATCH_OPERATIONS {
            return count.max(1);
        }
    }
    jobs.len()
}

/// What `jobs` make of the documents in the cache, applied in order. A job whose change fails is taken
/// out and told; it leaves no trace.
pub(super) fn stage(jobs: &mut Vec<Job>, cache: &Cache) -> Staged {
    let mut after: BTreeMap<String, Value> = BTreeMap::new();
    let mut staged = Vec::with_capacity(jobs.len());
    for job in jobs.drain(..) {
        match apply(&job, &after, cache) {
            Ok(changed) => {
                after.extend(changed);
                staged.push(job);
            }
            Err(error) => job.finish(Err(error)),
        }
    }
    *jobs = staged;
    let documents: Vec<_> = after
        .into_iter()
        .map(|(id, content)| {
            // A value always has a JSON form.
            let bytes = wire::json_len(&content).unwrap_or(usize::MAX) + id.len() + wire::ENVELOPE_BYTES;
            StagedDocument { id, content, bytes }
        })
        .collect();
    let marks: usize = jobs.iter().map(|job| job.mark.len() + wire::ENVELOPE_BYTES).sum();
    let bytes = documents.iter().map(|document| document.bytes).sum::<usize>() + marks;
    Staged { documents, bytes }
}

fn apply(job: &Job, after: &BTreeMap<String, Value>, cache: &Cache) -> Result<BTreeMap<String, Value>> {
    let mut changed: BTreeMap<String, Value> = BTreeMap::new();
    for change in job.update.changes() {
        let id = ids::escape(change.document());
        ids::check(&id, "apply update")?;
        let before = changed
            .get(&id)
            .or_else(|| after.get(&id))
            .or_else(|| cache.get(&id).map(|known| &known.content));
        let content = change.apply(before)?;
        changed.insert(id, content);
    }
    Ok(changed)
}

impl Staged {
    /// Why the service would refuse this batch, where it would.
    pub(super) fn refusal(&self, jobs: &[Job]) -> Option<Error> {
        let operations = jobs.len() + self.documents.len();
        if operations <= wire::MAX_BATCH_OPERATIONS && self.bytes <= wire::MAX_BYTES {
            return None;
        }
        let subject = jobs.first().map(|job| job.update.key().to_string()).unwrap_or_default();
        Some(
            Error::new(ErrorKind::TooLarge, "apply update", subject).with_message(format!(
                "{operations} operations and about {} bytes, but one transaction takes at most {} and {}",
                self.bytes,
                wire::MAX_BATCH_OPERATIONS,
                wire::MAX_BYTES
            )),
        )
    }

    /// The batch. Marks go first, so that a repeated batch always fails at its own first mark.
    pub(super) fn batch(
        &self,
        partition: &str,
        jobs: &[Job],
        cache: &Cache,
        ttl: Option<u64>,
    ) -> Result<TransactionalBatch, CosmosError> {
        let mut batch = TransactionalBatch::new(partition.to_owned());
        for job in jobs {
            batch = batch.create_item(NewMark::new(&job.mark, partition, job.nonce, ttl))?;
        }
        for document in &self.documents {
            let item = NewDocument {
                id: &document.id,
                partition,
                kind: DOCUMENT,
                content: &document.content,
            };
            batch = match cache.get(&document.id) {
                None => batch.create_item(item)?,
                Some(Known { etag, .. }) => {
                    let unchanged = Precondition::IfMatch(etag.clone());
                    let options = BatchReplaceOptions::default().with_precondition(unchanged);
                    batch.replace_item(document.id.clone(), item, Some(options))?
                }
            };
        }
        Ok(batch)
    }
}
