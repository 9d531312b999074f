//! Categories of a store in memory, ordered by version and then by stream.

use async_trait::async_trait;

use super::{MemoryStore, lock};
use crate::category::{CategoryPage, CategoryReader};
use crate::error::{Error, ErrorKind, Result};
use crate::feed::Continuation;
use crate::stream::StreamId;
use crate::version::Version;

#[async_trait]
impl CategoryReader for MemoryStore {
    async fn read_category(&self, category: &str, after: Option<&Continuation>, limit: u32) -> Result<CategoryPage> {
        let after: Option<(Version, StreamId)> = after
            .map(|continuation| serde_json::from_str(&continuation.0))
            .transpose()
            .map_err(|error| {
                Error::new(ErrorKind::InvalidInput, "read category", category)
                    .with_message("the continuation was given by another store")
                    .with_source(error)
            })?;
        let state = lock(&self.state);
        let mut commits: Vec<_> = state
            .streams
            .iter()
            .filter(|(stream, _)| stream.category() == category)
            .flat_map(|(_, commits)| commits)
            .map(|commit| ((commit.first, commit.stream.clone()), commit))
            .filter(|(place, _)| after.as_ref().is_none_or(|after| place > after))
            .collect();
        commits.sort_by(|(one, _), (other, _)| one.cmp(other));
        let more = commits.len() > limit as usize;
        commits.truncate(limit as usize);
        let last = commits.last().filter(|_| more).map(|(place, _)| place);
        let next = last
            .map(|place| serde_json::to_string(place).map(Continuation))
            .transpose()
            .map_err(|error| Error::new(ErrorKind::Other, "read category", category).with_source(error))?;
        Ok(CategoryPage {
            commits: commits.into_iter().map(|(_, commit)| commit.as_ref().clone()).collect(),
            next,
        })
    }
}
