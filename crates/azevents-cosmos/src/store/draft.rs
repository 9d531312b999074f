//! What an append sends: commit documents and the user's own, measured against the service's limits.

use azevents_core::{Commit, Error, ErrorKind, NewEvent, Result, StreamHead, StreamId, Version};
use serde_json::json;

use super::CosmosEventStore;
use super::request::Append;
use crate::doc::{CommitDocument, time};
use crate::documents::Operation;
use crate::{ids, wire};

/// A version as long as any will be.
const WIDE: Version = Version::new(1 << 62);
/// First part of the ids of the user's documents. Sorts after every commit's id.
const USER_PREFIX: &str = "u";

/// The id under which a document of the user's lies beside a stream.
pub(super) fn user_id(id: &str) -> String {
    format!("{USER_PREFIX}{}{}", ids::SEPARATOR, ids::escape(id))
}

/// An append at one version, ready to be sent.
pub(super) struct Draft {
    /// Where the stream must end.
    pub(super) head: Option<StreamHead>,
    /// All events, as one: what the caller gets.
    pub(super) commit: Commit,
    /// The commits as they are stored, with the sizes of their JSON.
    pub(super) commits: Vec<(CommitDocument, usize)>,
    /// The user's documents.
    pub(super) documents: Vec<Operation>,
}

impl Draft {
    /// Operations of the batch.
    pub(super) fn operations(&self) -> usize {
        usize::from(self.head.is_some()) + self.commits.len() + self.documents.len()
    }

    /// Bytes of all documents.
    pub(super) fn bytes(&self) -> usize {
        let commits: usize = self.commits.iter().map(|(_, bytes)| bytes).sum();
        commits + self.documents.iter().map(|document| document.bytes).sum::<usize>()
    }
}

impl CosmosEventStore {
    /// The user's documents as operations. They don't depend on the version.
    pub(super) fn operations(&self, append: &Append) -> Result<Vec<Operation>> {
        let wrap = |id: &str, content: &serde_json::Value| {
            let mut document = json!({ "id": id, "stream": append.stream, "content": content });
            if let Some(tenant) = self.tenant() {
                document["tenant"] = tenant.into();
            }
            Ok(document)
        };
        let documents = append.documents.iter();
        documents
            .map(|document| document.operation(user_id(document.id()), wrap))
            .collect()
    }

    /// Gives an append its place after `head`, in as many commits as it needs.
    pub(super) fn draft(&self, append: &Append, documents: &[Operation], head: Option<StreamHead>) -> Result<Draft> {
        let stream = &append.stream;
        let at = time::now();
        let mut next = head.map_or(Version::NONE, |head| head.version).next();
        let mut commits: Vec<(CommitDocument, usize)> = Vec::new();
        let mut whole: Option<Commit> = None;
        let last = append.commits.len() - 1;
        for (n, events) in append.commits.iter().enumerate() {
            let mut commit = Commit::record(stream, next, events.clone(), at);
            if n == last {
                commit.outbox.clone_from(&append.messages);
            }
            next = next.plus(events.len() as u64);
            for (part, document, bytes) in self.parts(commit, events)? {
                commits.push((document, bytes));
                match &mut whole {
                    None => whole = Some(part),
                    Some(whole) => {
                        whole.events.extend(part.events);
                        whole.outbox.extend(part.outbox);
                    }
                }
            }
        }
        let mut commit = whole.ok_or_else(|| invalid(stream, "no events to append"))?;
        commit.tenant = self.tenant().map(Into::into);
        let draft = Draft {
            head,
            commit,
            commits,
            documents: documents.to_vec(),
        };
        check(stream, &draft)?;
        Ok(draft)
    }

    /// The document of a commit, or of its parts where one document would be too large. Commits are split
    /// between events.
    fn parts(&self, commit: Commit, events: &[NewEvent]) -> Result<Vec<(Commit, CommitDocument, usize)>> {
        let extra = self.extra(&commit.stream);
        let measured = |commit: Commit| {
            let document = CommitDocument::new(&commit, extra);
            let bytes = measure(&document)?;
            Ok((commit, document, bytes))
        };
        let limit = self.options.commit_bytes.min(wire::MAX_BYTES - wire::ENVELOPE_BYTES);
        let whole = measured(commit)?;
        if whole.2 <= limit || events.len() < 2 {
            return Ok(vec![whole]);
        }
        let commit = whole.0;
        let record =
            |first, events: &[NewEvent]| Commit::record(&commit.stream, first, events.to_vec(), commit.committed_at);
        let mut ranges = Vec::new();
        let (mut begin, mut bytes) = (0, 0);
        for (n, event) in events.iter().enumerate() {
            // As if each event brought all that surrounds them: a little more than it will be.
            let size = measure(&CommitDocument::new(&record(WIDE, std::slice::from_ref(event)), extra))?;
            if n > begin && bytes + size > limit {
                ranges.push(begin..n);
                (begin, bytes) = (n, 0);
            }
            bytes += size;
        }
        ranges.push(begin..events.len());
        let last = ranges.len() - 1;
        let parts = ranges.into_iter().enumerate().map(|(n, range)| {
            let mut part = record(commit.first.plus(range.start as u64), &events[range]);
            if n == last {
                part.outbox.clone_from(&commit.outbox);
            }
            measured(part)
        });
        parts.collect()
    }
}

fn measure(document: &CommitDocument) -> Result<usize> {
    wire::json_len(document)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "append", &document.stream).with_source(error))
}

/// Refuses what the service would refuse.
fn check(stream: &StreamId, draft: &Draft) -> Result<()> {
    let refuse = |why: String| Err(Error::new(ErrorKind::TooLarge, "append", stream).with_message(why));
    let limit = wire::MAX_BYTES - wire::ENVELOPE_BYTES;
    let single = draft.operations() <= 1 + usize::from(draft.head.is_some());
    let events = draft.commit.events.len();
    if let Some((document, bytes)) = draft.commits.iter().find(|(_, bytes)| *bytes > limit) {
        return refuse(format!(
            "{} event(s) and {} message(s) make a document of {bytes} bytes, but Cosmos DB takes at most {limit}: \
             append fewer at once, or keep large data elsewhere and refer to it",
            document.events.len(),
            document.outbox.len(),
        ));
    }
    if draft.operations() > wire::MAX_BATCH_OPERATIONS {
        return refuse(format!(
            "{} operations ({} commit(s), {} document(s)), but a transaction takes at most {}",
            draft.operations(),
            draft.commits.len(),
            draft.documents.len(),
            wire::MAX_BATCH_OPERATIONS
        ));
    }
    let bytes = draft.bytes() + draft.operations() * wire::OPERATION_BYTES;
    if !single && bytes > limit {
        return refuse(format!(
            "{events} event(s) in {} commit(s) and {} document(s) make {bytes} bytes, but a transaction takes at most \
             {limit}: append fewer at once",
            draft.commits.len(),
            draft.documents.len(),
        ));
    }
    Ok(())
}

pub(super) fn invalid(stream: &StreamId, why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "append", stream).with_message(why.to_owned())
}
