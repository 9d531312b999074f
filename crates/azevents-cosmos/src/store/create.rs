//! Creating a commit document, until it is known whether it was created.

use azevents_core::{Commit, Error, ErrorKind, Result, StreamHead, StreamId};
use azure_data_cosmos::TransactionalBatch;

use super::CosmosEventStore;
use crate::doc::{CommitDocument, Tail, commit_id};
use crate::error::{Access, from_sdk, is_conflict, kind_of_status};
use crate::wire;

/// What creating a commit has come to.
pub(super) enum Attempt {
    /// Stored.
    Created,
    /// Something already begins at this version; perhaps this very commit.
    Taken,
    /// The commit that should end before this version doesn't exist.
    NoSuchBoundary,
}

impl CosmosEventStore {
    /// Creates `commit` in a stream that must end at `head`.
    ///
    /// An outcome that is unknown is found out by repeating: a commit that had been stored after all is
    /// in its own way. That is surer than reading, which may come to a replica that lags behind.
    pub(super) async fn create(&self, commit: &Commit, head: Option<StreamHead>) -> Result<Attempt> {
        let document = CommitDocument::new(commit, self.writer.as_deref());
        check_size(&document)?;
        wire::settled("append", || async {
            match head {
                Some(head) => self.create_after(&document, head).await,
                None => self.create_first(&document).await,
            }
        })
        .await
    }

    async fn create_first(&self, document: &CommitDocument) -> Result<Attempt> {
        let stream = &document.stream;
        let created = self
            .container
            .create_item(stream.as_str().to_owned(), &document.id, document, Some(wire::write()))
            .await;
        match created {
            Ok(_) => Ok(Attempt::Created),
            Err(error) if is_conflict(&error) => Ok(Attempt::Taken),
            Err(error) => Err(from_sdk(error, Access::Write, "append", stream)),
        }
    }

    async fn create_after(&self, document: &CommitDocument, head: StreamHead) -> Result<Attempt> {
        let stream = &document.stream;
        let batch = TransactionalBatch::new(stream.as_str().to_owned())
            .read_item(commit_id(head.last_commit), None)
            .create_item(document)
            .map_err(|error| from_sdk(error, Access::Read, "append", stream))?;
        let answer = wire::execute(&self.container, batch, "append", stream).await?;
        match wire::failure(&answer) {
            None => {
                let before = answer.results().first().and_then(|read| read.resource_body());
                let before = before.and_then(|body| serde_json::from_str::<Tail>(body.get()).ok());
                if before.map(Tail::head) == Some(head) {
                    Ok(Attempt::Created)
                } else {
                    Err(self.take_back(document, head).await)
                }
            }
            Some((0, 404)) => Ok(Attempt::NoSuchBoundary),
            Some((1, 409)) => Ok(Attempt::Taken),
            Some((index, status)) => Err(Error::new(kind_of_status(status, Access::Write), "append", stream)
                .with_message(format!("operation {index} of the batch answered {status}"))),
        }
    }

    /// Undoes an append after a head that was made up: a commit begins where it says, but ends
    /// elsewhere. No head that came from this store gets here.
    async fn take_back(&self, document: &CommitDocument, head: StreamHead) -> Error {
        let stream = &document.stream;
        let what = format!(
            "the commit at {} does not end at {}: pass the head that a load or an append returned",
            head.last_commit, head.version
        );
        let key = stream.as_str().to_owned();
        match self.container.delete_item(key, &document.id, Some(wire::write())).await {
            Ok(_) => invalid(stream, &what),
            Err(error) => Error::new(ErrorKind::Corrupt, "append", stream)
                .with_message(format!("{what}; document {} could not be taken back", document.id))
                .with_source(error),
        }
    }
}

/// Refuses a commit that the service would refuse.
fn check_size(document: &CommitDocument) -> Result<()> {
    let bytes = wire::json_len(document)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "append", &document.stream).with_source(error))?;
    let limit = wire::MAX_BYTES - wire::ENVELOPE_BYTES;
    if bytes <= limit {
        return Ok(());
    }
    let count = document.events.len();
    Err(
        Error::new(ErrorKind::TooLarge, "append", &document.stream).with_message(format!(
            "{count} event(s) make a document of {bytes} bytes, but a commit takes at most {limit}: \
         append them in several commits, or keep large data elsewhere and refer to it"
        )),
    )
}

pub(super) fn invalid(stream: &StreamId, why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "append", stream).with_message(why.to_owned())
}
