//! Reading query results as a stream that fetches one page ahead.

use std::num::NonZeroU32;

use azevents_core::{CostOf, Result, error::Error};
use azure_data_cosmos::feed::QueryFeedPage;
use azure_data_cosmos::{ContainerClient, CosmosError, FeedScope, Query};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::costs::Costs;
use crate::error::{Access, from_sdk};
use crate::wire;

/// Who pays for a query.
pub(crate) struct Spending {
    costs: Costs,
    category: String,
}

impl Spending {
    pub(crate) fn new(costs: &Costs, category: &str) -> Self {
        Self {
            costs: costs.clone(),
            category: category.to_owned(),
        }
    }

    pub(crate) fn page(&self, operation: &'static str, page: &Result<QueryFeedPage<Box<RawValue>>, CosmosError>) {
        let of = CostOf::new(operation, &self.category);
        match page {
            Ok(page) => {
                let received = page.items().iter().map(|item| item.get().len()).sum();
                self.costs.observe(of, Some(&page.diagnostics()), 1, 0, received);
            }
            Err(error) => self.costs.observe(of, error.diagnostics().as_deref(), 1, 0, 0),
        }
    }
}

/// The documents of a query, page by page, each as the text the service sent.
///
/// Texts, because a document is parsed where it is known what it should be, so that one that can't be
/// parsed is named in the error.
pub(crate) fn query(
    container: ContainerClient,
    query: Query,
    scope: FeedScope,
    page: Option<NonZeroU32>,
    operation: &'static str,
    subject: String,
    spending: Spending,
) -> BoxStream<'static, Result<Vec<Box<RawValue>>>> {
    let failed = move |error, subject: &str| from_sdk(error, Access::Read, operation, subject);
    stream::once(async move {
        match container
            .query_items::<Box<RawValue>>(query, scope, Some(wire::query(page)))
            .await
        {
            Ok(items) => items
                .into_pages()
                .map(move |page| {
                    spending.page(operation, &page);
                    page.map(azure_data_cosmos::feed::QueryFeedPage::into_items)
                        .map_err(|error| failed(error, &subject))
                })
                .boxed(),
            Err(error) => stream::iter([Err(failed(error, &subject))]).boxed(),
        }
    })
    .flatten()
    .boxed()
}

/// Lets the next page be fetched while the last one is consumed. Dropping the stream stops it.
pub(crate) fn ahead<T: Send + 'static>(
    pages: impl Stream<Item = Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    // The task starts with the first poll: whoever makes a stream need not be inside a runtime yet.
    stream::once(async move {
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut pages = std::pin::pin!(pages);
            while let Some(page) = pages.next().await {
                let failed = page.is_err();
                if sender.send(page).await.is_err() || failed {
                    break;
                }
            }
        });
        let state = (receiver, AbortOnDropHandle::new(task));
        stream::unfold(state, |(mut receiver, task)| async move {
            let page: Result<T, Error> = receiver.recv().await?;
            Some((page, (receiver, task)))
        })
    })
    .flatten()
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn the_next_page_is_fetched_before_it_is_asked_for_and_no_more_than_that() {
        let fetched = Arc::new(AtomicUsize::new(0));
        let count = fetched.clone();
        let source = stream::iter(0..100).map(move |page| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(page)
        });
        let mut pages = ahead(source);
        assert_eq!(pages.next().await.unwrap().unwrap(), 0);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        // One is waiting in the channel, one in the hands of the task.
        assert_eq!(fetched.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn an_error_ends_the_stream() {
        let failed = || Error::new(azevents_core::ErrorKind::Unavailable, "read", "x");
        let pages = ahead(stream::iter(vec![Ok(1), Err(failed()), Ok(2)]));
        let seen: Vec<_> = pages.collect().await;
        assert_eq!(seen.len(), 2);
        assert!(seen[1].is_err());
    }
}
