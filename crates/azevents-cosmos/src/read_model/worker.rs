//! One partition's worker: stages what has gathered, sends it, and finds out what happened.
//!
//! What an answer means, given that the SDK may have sent the batch more than once:
//!
//! | answer | meaning | then |
//! | --- | --- | --- |
//! | all done | the updates happened now | tell them, keep the new etags |
//! | a mark is taken | a copy, or our own earlier attempt | read the marks: whoever wrote each knows |
//! | a document has changed | another worker was first | read it again, apply again |
//! | too large | (limits are checked before) | halve the batch |
//! | no answer, or "later" | perhaps done | send it again: it then finds its own marks |

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use azevents_core::{Error, ErrorKind, Handled, Result};
use azure_core::http::Etag;
use azure_data_cosmos::models::{TransactionalBatchOperationResult, TransactionalBatchResponse};
use futures::{StreamExt, TryStreamExt, stream};

use super::cache::{Cache, Known};
use super::documents::StoredDocument;
use super::queue::Job;
use super::recent::Recent;
use super::stage::{self, Staged};
use super::{Options, marks};
use crate::error::{Access, from_sdk, kind_of_status};
use crate::items::{Items, Stored};
use crate::wire;

/// Most marks and documents read at once.
const READS_AT_ONCE: usize = 16;
/// Longest pause after another worker was first.
const LOST_TURN: Duration = Duration::from_millis(20);

const APPLY: &str = "apply update";

pub(super) struct Worker {
    items: Items,
    options: Options,
    partition: String,
    cache: Cache,
    recent: Recent,
}

/// What became of a batch.
enum Outcome {
    Done,
    /// At least one of its marks exists.
    MarkTaken,
    /// A document is not as it was when it was read.
    Stale,
}

impl Worker {
    pub(super) fn new(items: Items, options: Options, partition: String) -> Self {
        Self {
            items,
            options,
            partition,
            cache: Cache::default(),
            recent: Recent::default(),
        }
    }

    pub(super) fn partition(&self) -> &str {
        &self.partition
    }

    /// Applies updates in order, and tells each what became of it.
    pub(super) async fn apply(&mut self, waiting: VecDeque<Job>) {
        let mut waiting: Vec<Job> = waiting.into_iter().filter(|job| !job.is_abandoned()).collect();
        loop {
            let (copies, new): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|job| self.recent.contains(&job.mark));
            for copy in copies {
                copy.finish(Ok(Handled::Duplicate));
            }
            if new.is_empty() {
                return;
            }
            let (mut group, later) = without_copies(new);
            waiting = group.split_off(stage::fitting(&group));
            // Their turn comes when it is known what became of the first of their kind.
            waiting.extend(later);
            self.apply_group(group).await;
        }
    }

    /// Applies updates that go in one batch, or in several where one is too large.
    async fn apply_group(&mut self, group: Vec<Job>) {
        let mut groups = vec![group];
        while let Some(mut jobs) = groups.pop() {
            if let Err(error) = self.commit(&mut jobs).await {
                // One update must not fail for another's fault: look for it by halving.
                if jobs.len() > 1 && !error.is_transient() {
                    let second = jobs.split_off(jobs.len() / 2);
                    groups.push(second);
                    groups.push(jobs);
                } else {
                    for job in jobs {
                        job.fail(&error);
                    }
                }
            }
        }
    }

    /// Sends `jobs` until each has been told what became of it; on an error, those that are left.
    async fn commit(&mut self, jobs: &mut Vec<Job>) -> Result<()> {
        let mut delays = self.options.retry.delays();
        while !jobs.is_empty() {
            match self.attempt(jobs).await {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    let Some(delay) = delays.next() else { return Err(error) };
                    let delay = error.retry_after().unwrap_or(delay);
                    tracing::debug!(partition = self.partition, %error, ?delay, updates = jobs.len(), "retried");
                    tokio::time::sleep(delay).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One turn: read what isn't known, stage, send. Jobs that have been told are gone from `jobs`
    /// afterwards; the others have to try again.
    async fn attempt(&mut self, jobs: &mut Vec<Job>) -> Result<()> {
        self.load(jobs).await?;
        let staged = stage::stage(jobs, &self.cache);
        if jobs.is_empty() {
            return Ok(());
        }
        if let Some(refusal) = staged.refusal(jobs) {
            return Err(refusal);
        }
        match self.send(jobs, staged).await? {
            Outcome::Done => {
                for job in jobs.drain(..) {
                    self.recent.insert(job.mark.clone());
                    job.finish(Ok(Handled::Done));
                }
            }
            Outcome::MarkTaken => self.settle_marked(jobs).await?,
            Outcome::Stale => tokio::time::sleep(wire::jittered(LOST_TURN)).await,
        }
        Ok(())
    }

    /// Reads the documents that `jobs` change and that aren't known yet.
    async fn load(&mut self, jobs: &[Job]) -> Result<()> {
        let mut missing: Vec<String> = jobs.iter().flat_map(stage::documents).collect();
        missing.retain(|id| !self.cache.contains(id));
        missing.sort_unstable();
        missing.dedup();
        let (items, partition) = (&self.items, &self.partition);
        let loaded: Vec<_> = stream::iter(missing)
            .map(|id| async move {
                let stored = items.read::<StoredDocument>(partition, &id, APPLY).await?;
                Ok::<_, Error>((id, stored))
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        for (id, stored) in loaded {
            let known = stored.map(|Stored { document, etag }| {
                let bytes = wire::json_len(&document.content).unwrap_or(usize::MAX);
                Known {
                    content: document.content,
                    etag,
                    bytes,
                }
            });
            self.cache.insert(id, known);
        }
        Ok(())
    }

    async fn send(&mut self, jobs: &[Job], staged: Staged) -> Result<Outcome> {
        let batch = staged
            .batch(&self.partition, jobs, &self.cache, self.options.mark_ttl)
            .map_err(|error| from_sdk(error, Access::Read, APPLY, &self.partition))?;
        let on = self
            .items
            .requests()
            .on(self.partition.clone().into(), APPLY, "", &self.partition);
        let operations = jobs.len() + staged.documents.len();
        let answer = on.batch(batch, operations, staged.bytes).await?;
        match wire::failure(&answer) {
            None => {
                self.remember(jobs.len(), staged, &answer);
                Ok(Outcome::Done)
            }
            Some((index, 409)) if index < jobs.len() => Ok(Outcome::MarkTaken),
            // Taken, gone or changed since it was read.
            Some((_, 404 | 409 | 412)) => {
                self.forget(&staged);
                Ok(Outcome::Stale)
            }
            Some((index, status)) => {
                let error = Error::new(kind_of_status(status, Access::Write), APPLY, &self.partition)
                    .with_message(format!("operation {index} of the batch answered {status}"));
                Err(
                    match answer
                        .results()
                        .get(index)
                        .and_then(TransactionalBatchOperationResult::retry_after)
                    {
                        Some(delay) => error.with_retry_after(delay),
                        None => error,
                    },
                )
            }
        }
    }

    /// Tells the jobs whose marks exist; the others stay.
    async fn settle_marked(&mut self, jobs: &mut Vec<Job>) -> Result<()> {
        let ids: Vec<_> = jobs.iter().map(|job| job.mark.as_str()).collect();
        let existing = marks::existing(&self.items, &self.partition, &ids).await?;
        if existing.is_empty() {
            return Err(Error::new(ErrorKind::Unavailable, APPLY, &self.partition)
                .with_message("a mark exists, but this region doesn't show it yet"));
        }
        // An earlier attempt of ours has changed the documents as well.
        if jobs.iter().any(|job| existing.get(&job.mark) == Some(&job.nonce)) {
            for id in jobs.iter().flat_map(stage::documents) {
                self.cache.forget(&id);
            }
        }
        for job in std::mem::take(jobs) {
            match existing.get(&job.mark) {
                None => jobs.push(job),
                Some(write) => {
                    let outcome = if *write == job.nonce {
                        Handled::Done
                    } else {
                        Handled::Duplicate
                    };
                    self.recent.insert(job.mark.clone());
                    job.finish(Ok(outcome));
                }
            }
        }
        Ok(())
    }

    /// Keeps the documents as they were written, with their new etags.
    fn remember(&mut self, marks: usize, staged: Staged, answer: &TransactionalBatchResponse) {
        let used: Vec<String> = staged.documents.iter().map(|document| document.id.clone()).collect();
        for (document, result) in staged.documents.into_iter().zip(&answer.results()[marks..]) {
            match result.etag() {
                Some(etag) => {
                    let etag = Etag::from(etag.to_owned());
                    let known = Known {
                        content: document.content,
                        etag,
                        bytes: document.bytes,
                    };
                    self.cache.insert(document.id, Some(known));
                }
                None => self.cache.forget(&document.id),
            }
        }
        self.cache.shrink(&used.iter().map(String::as_str).collect());
    }

    fn forget(&mut self, staged: &Staged) {
        for document in &staged.documents {
            self.cache.forget(&document.id);
        }
    }
}

/// Sets copies of a message that wait together aside: only the first goes into a batch.
fn without_copies(waiting: Vec<Job>) -> (Vec<Job>, Vec<Job>) {
    let mut seen = HashSet::with_capacity(waiting.len());
    waiting.into_iter().partition(|job| seen.insert(job.mark.clone()))
}
