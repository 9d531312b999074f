//! Appending: the rules of versions, in as few requests as they allow.
//!
//! A commit's id is the version of its first event, so of two appends at one version exactly one is
//! created. The batch also reads the commit before it: a version that is not the end of a commit has
//! none there, the read fails and with it the batch, so that a wrong number leaves neither a gap nor an
//! overlap. A closed stream has a mark where its next commit would be, and is found out the same way.

use std::time::Duration;

use azevents_core::{
    AppendOutcome, Commit, Conflict, Error, ErrorKind, EventId, ExpectedVersion, Result, StreamHead, StreamId, Version,
};

use super::CosmosEventStore;
use super::create::Attempt;
use super::draft::invalid;
use super::request::Append;
use crate::doc::{CommitDocument, Tail, commit_id};
use crate::documents::Operation;
use crate::wire;

/// Longest pause of an appender that has lost its turn to another.
pub(super) const LOST_TURN: Duration = Duration::from_millis(20);

/// An append, and what of it stays the same at every attempt.
struct Work {
    append: Append,
    documents: Vec<Operation>,
    ids: Vec<EventId>,
}

impl CosmosEventStore {
    pub(super) async fn run(&self, mut append: Append) -> Result<AppendOutcome> {
        append.commits.retain(|events| !events.is_empty());
        if append.commits.is_empty() {
            return Err(invalid(&append.stream, "no events to append"));
        }
        self.check_key(&append.stream)?;
        let work = Work {
            documents: self.operations(&append)?,
            ids: append.commits.iter().flatten().map(|event| event.id).collect(),
            append,
        };
        let stream = &work.append.stream;
        let outcome = match work.append.expected {
            // Where commits expire the first may be gone and later ones not, and its id would be free.
            ExpectedVersion::NoStream | ExpectedVersion::Exact(Version::NONE) if self.extra(stream).ttl.is_some() => {
                match self.tail(stream).await? {
                    None => self.append_after(&work, None).await?,
                    tail => self.elsewhere(&work, Version::NONE, tail).await?,
                }
            }
            ExpectedVersion::NoStream | ExpectedVersion::Exact(Version::NONE) => self.append_after(&work, None).await?,
            ExpectedVersion::Head(head) if head.last_commit == Version::NONE || head.last_commit > head.version => {
                return Err(invalid(stream, "a head whose last commit begins after its last event"));
            }
            ExpectedVersion::Head(head) => self.append_after(&work, Some(head)).await?,
            ExpectedVersion::Exact(version) => {
                let tail = self.tail(stream).await?;
                match tail.and_then(Tail::head) {
                    Some(head) if head.version == version => self.append_after(&work, Some(head)).await?,
                    _ => self.elsewhere(&work, version, tail).await?,
                }
            }
            ExpectedVersion::Any => self.append_at_end(&work, false).await?,
            ExpectedVersion::StreamExists => self.append_at_end(&work, true).await?,
        };
        if let (AppendOutcome::Committed(_), Some(nudge)) = (&outcome, &self.options.nudge) {
            nudge.ring();
        }
        Ok(outcome)
    }

    /// Appends where the stream must end at `head`.
    async fn append_after(&self, work: &Work, head: Option<StreamHead>) -> Result<AppendOutcome> {
        let version = head.map_or(Version::NONE, |head| head.version);
        let draft = self.draft(&work.append, &work.documents, head)?;
        match self.create(&draft).await? {
            Attempt::Created => Ok(AppendOutcome::Committed(draft.commit)),
            Attempt::Taken => self.taken(work, version).await,
            Attempt::NoSuchBoundary => {
                let tail = self.tail(&work.append.stream).await?;
                self.elsewhere(work, version, tail).await
            }
        }
    }

    /// Appends wherever the stream ends.
    async fn append_at_end(&self, work: &Work, must_exist: bool) -> Result<AppendOutcome> {
        let stream = &work.append.stream;
        let last = self.commit_at(stream, None).await?;
        let tail = last.as_ref().map(Tail::from);
        let mut head = tail.and_then(Tail::head);
        let is_closed = tail.is_some_and(Tail::is_closed);
        // Behind the mark that closes a stream is the commit that may be a repetition's.
        let last = match (last, head) {
            (Some(_), Some(head)) if is_closed => {
                let before = self.following(stream, head.last_commit).await?;
                before.commits.into_iter().next()
            }
            (last, _) => last.map(CommitDocument::into_commit).transpose()?.flatten(),
        };
        if let Some(last) = last
            && let Some(commit) = self.repeated(work, last).await?
        {
            return Ok(AppendOutcome::Committed(commit));
        }
        if is_closed {
            return Err(closed(stream));
        }
        // A turn that is lost was won by somebody else, so all appenders together make progress.
        loop {
            if head.is_none() && must_exist {
                return Ok(conflict(None));
            }
            match self.append_after(work, head).await? {
                AppendOutcome::Conflict(lost) => head = lost.head,
                committed @ AppendOutcome::Committed(_) => return Ok(committed),
            }
            tokio::time::sleep(wire::jittered(LOST_TURN)).await;
        }
    }

    /// The commits of an earlier attempt at the same append, where the stream ends with them.
    async fn repeated(&self, work: &Work, last: Commit) -> Result<Option<Commit>> {
        let ids: Vec<_> = last.events.iter().map(|event| event.id).collect();
        if !work.ids.ends_with(&ids) {
            return Ok(None);
        }
        let before = work.ids.len() - ids.len();
        if before == 0 {
            return Ok(Some(last));
        }
        let Some(first) = last.first.get().checked_sub(before as u64) else {
            return Ok(None);
        };
        Ok(self
            .following(&work.append.stream, Version::new(first))
            .await?
            .held(&work.ids))
    }

    /// Something begins where the commit should have: the commit itself, stored by an earlier attempt,
    /// somebody else's, or the mark of a closed stream.
    async fn taken(&self, work: &Work, version: Version) -> Result<AppendOutcome> {
        let stream = &work.append.stream;
        let following = self.following(stream, version.next()).await?;
        if let Some(commit) = following.held(&work.ids) {
            return Ok(AppendOutcome::Committed(commit));
        }
        if following.commits.is_empty() {
            return Err(if following.closed {
                closed(stream)
            } else {
                Error::new(ErrorKind::Unavailable, "append", stream).with_message(format!(
                    "{} exists, but this region doesn't show it yet",
                    commit_id(version.next())
                ))
            });
        }
        Ok(unseen(following.commits, version))
    }

    /// No commit ends at `version`: the stream, which ends with `tail`, is behind or has gone past it.
    async fn elsewhere(&self, work: &Work, version: Version, tail: Option<Tail>) -> Result<AppendOutcome> {
        let stream = &work.append.stream;
        let head = tail.and_then(Tail::head);
        if head.is_none_or(|head| head.version <= version) {
            if tail.is_some_and(Tail::is_closed) {
                return Err(closed(stream));
            }
            return Ok(conflict(head));
        }
        let next = self.commit_at(stream, Some(version.next())).await?;
        let next = next.map(CommitDocument::into_commit).transpose()?.flatten();
        let rest = next
            .as_ref()
            .map_or(version, |next| next.head().version)
            .max(version)
            .next();
        let mut following = self.following(stream, rest).await?;
        let begins = next.as_ref().map(|next| next.first);
        following.commits.splice(0..0, next);
        if begins == Some(version.next())
            && let Some(commit) = following.held(&work.ids)
        {
            return Ok(AppendOutcome::Committed(commit));
        }
        if following.commits.is_empty() {
            return Ok(conflict(head));
        }
        Ok(unseen(following.commits, version))
    }
}

/// What appending to a closed stream fails with.
pub(super) fn closed(stream: &StreamId) -> Error {
    Error::new(ErrorKind::Closed, "append", stream).with_message("the stream was closed and takes nothing any more")
}

fn conflict(head: Option<StreamHead>) -> AppendOutcome {
    AppendOutcome::Conflict(Conflict {
        head,
        unseen: Vec::new(),
    })
}

fn unseen(commits: Vec<Commit>, version: Version) -> AppendOutcome {
    AppendOutcome::Conflict(Conflict {
        head: commits.last().map(Commit::head),
        unseen: commits
            .into_iter()
            .flat_map(|commit| commit.events)
            .filter(|event| event.version > version)
            .collect(),
    })
}
