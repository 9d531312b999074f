//! Categories by query: an index on `category` finds them, the order of ids keeps each stream's own.

use async_trait::async_trait;
use azevents_core::{CategoryPage, CategoryReader, Continuation, CostOf, ErrorKind, Result};
use azure_data_cosmos::Query;
use azure_data_cosmos::feed::ContinuationToken;
use futures::TryStreamExt;
use serde_json::value::RawValue;

use super::CosmosEventStore;
use crate::doc::{COMMIT_PREFIX, CommitDocument, END_OF_COMMITS};
use crate::error::{Access, from_sdk};
use crate::wire;

const WHAT: &str = "read category";
/// Commits by the version they begin with, so each stream's in order. `id` alone, for an order by two
/// properties would need a composite index, which every write pays for.
const QUERY: &str = "SELECT * FROM c WHERE c.category = @category AND c.id >= @from AND c.id < @to ORDER BY c.id ASC";

/// All streams' first commits come first, then what follows each. The query goes to every physical
/// partition that a category's streams may lie in, which is all of them.
#[async_trait]
impl CategoryReader for CosmosEventStore {
    async fn read_category(&self, category: &str, after: Option<&Continuation>, limit: u32) -> Result<CategoryPage> {
        let failed = |error| match (after, from_sdk(error, Access::Read, WHAT, category)) {
            (Some(_), error) if error.kind() == ErrorKind::InvalidInput => {
                error.with_message("the continuation is not accepted: it is of another container, category or query")
            }
            (_, error) => error,
        };
        let query = Query::from(QUERY)
            .with_parameter("@category", category)
            .and_then(|query| query.with_parameter("@from", COMMIT_PREFIX))
            .and_then(|query| query.with_parameter("@to", END_OF_COMMITS))
            .map_err(failed)?;
        let page = std::num::NonZeroU32::new(limit.max(1));
        let mut options = wire::query(page);
        if let Some(after) = after {
            options = options.with_continuation_token(ContinuationToken::from_string(after.0.clone()));
        }
        let items = self
            .requests
            .container
            .query_items::<Box<RawValue>>(query, self.scope(), Some(options))
            .await
            .map_err(failed)?;
        let mut pages = items.into_pages();
        let mut commits = Vec::new();
        while commits.is_empty() {
            let page = match pages.try_next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(CategoryPage { commits, next: None }),
                Err(error) => {
                    let of = CostOf::new(WHAT, category);
                    self.requests.costs.observe(of, error.diagnostics().as_deref(), 1, 0, 0);
                    return Err(failed(error));
                }
            };
            let received = page.items().iter().map(|json| json.get().len()).sum();
            let of = CostOf::new(WHAT, category);
            self.requests
                .costs
                .observe(of, Some(&page.diagnostics()), 1, 0, received);
            for json in page.items() {
                commits.extend(CommitDocument::parse(json.get(), category)?.into_commit()?);
            }
        }
        let token = pages.to_continuation_token().map_err(failed)?;
        Ok(CategoryPage {
            commits,
            next: Some(Continuation(token.as_str().to_owned())),
        })
    }
}
