//! Sending a draft, until it is known whether it was written.

use azevents_core::{Error, ErrorKind, Result};

use super::CosmosEventStore;
use super::draft::Draft;
use crate::doc::{Tail, commit_id};
use crate::error::{Access, from_sdk, kind_of_status};
use crate::wire;

/// What creating commits has come to.
pub(super) enum Attempt {
    /// Stored.
    Created,
    /// Something already begins at this version; perhaps this very commit.
    Taken,
    /// The commit that should end before this version doesn't exist.
    NoSuchBoundary,
}

impl CosmosEventStore {
    /// Writes a draft.
    ///
    /// An outcome that is unknown is found out by repeating: a commit that had been stored after all is
    /// in its own way. That is surer than reading, which may come to a replica that lags behind.
    pub(super) async fn create(&self, draft: &Draft) -> Result<Attempt> {
        wire::settled("append", || async {
            match (&draft.head, draft.commits.as_slice()) {
                (None, [(document, bytes)]) if draft.documents.is_empty() => {
                    let created = self
                        .on("append", &draft.commit.stream)
                        .create(&document.id, document, *bytes)
                        .await?;
                    Ok(if created { Attempt::Created } else { Attempt::Taken })
                }
                _ => self.create_together(draft).await,
            }
        })
        .await
    }

    /// One batch: the read that proves the boundary, the commits, and then the user's documents. The
    /// service reports the first that fails, so a repetition meets its own commit before anything else.
    async fn create_together(&self, draft: &Draft) -> Result<Attempt> {
        let stream = &draft.commit.stream;
        let on = self.on("append", stream);
        let mut batch = on.new_batch();
        if let Some(head) = draft.head {
            batch = batch.read_item(commit_id(head.last_commit), None);
        }
        for (document, _) in &draft.commits {
            batch = batch
                .create_item(document)
                .map_err(|error| from_sdk(error, Access::Read, "append", stream))?;
        }
        for document in &draft.documents {
            batch = document.add_to(batch)?;
        }
        let answer = on.batch(batch, draft.operations(), draft.bytes()).await?;
        let reads = usize::from(draft.head.is_some());
        match wire::failure(&answer) {
            None => {
                let Some(head) = draft.head else {
                    return Ok(Attempt::Created);
                };
                let before = answer.results().first().and_then(|read| read.resource_body());
                let before = before.and_then(|body| serde_json::from_str::<Tail>(body.get()).ok());
                if before.is_some_and(|before| before.head() == Some(head) && !before.is_closed()) {
                    Ok(Attempt::Created)
                } else {
                    self.take_back(draft).await
                }
            }
            Some((0, 404)) if reads == 1 => Ok(Attempt::NoSuchBoundary),
            Some((index, 409)) if index == reads => Ok(Attempt::Taken),
            Some((index, status)) => Err(match index.checked_sub(reads + draft.commits.len()) {
                Some(document) if document < draft.documents.len() => {
                    draft.documents[document].refused(status, "append")
                }
                _ => Error::new(kind_of_status(status, Access::Write), "append", stream)
                    .with_message(format!("operation {index} of the batch answered {status}")),
            }),
        }
    }

    /// Undoes an append after a head that is not the stream's: a commit begins where it says, but ends
    /// elsewhere. No stream that was ever at such a head gets here, unless all its events have expired and
    /// it was begun anew.
    async fn take_back(&self, draft: &Draft) -> Result<Attempt> {
        let stream = &draft.commit.stream;
        let on = self.on("append", stream);
        // The last first, so that no reader sees a gap that an appender could fill.
        for (document, _) in draft.commits.iter().rev() {
            if let Err(error) = wire::settled("append", || on.delete(&document.id)).await {
                return Err(Error::new(ErrorKind::Corrupt, "append", stream)
                    .with_message(format!("document {} could not be taken back: delete it", document.id))
                    .with_source(error));
            }
        }
        if draft.documents.is_empty() {
            return Ok(Attempt::NoSuchBoundary);
        }
        Err(Error::new(ErrorKind::Corrupt, "append", stream).with_message(format!(
            "the head was not the stream's; the events were taken back, but {} document(s) stay written",
            draft.documents.len()
        )))
    }
}
