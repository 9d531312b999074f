//! Documents that are changed by compare-and-swap: leases and inbox marks.

use std::sync::Arc;

use azevents_core::{CostObserver, CostOf, Error, ErrorKind, Result};
use azure_core::http::Etag;
use azure_data_cosmos::diagnostics::DiagnosticsContext;
use azure_data_cosmos::models::ItemResponse;
use azure_data_cosmos::{ContainerClient, FeedScope, Query};
use futures::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Access, from_sdk, is_conflict, is_not_found};
use crate::requests::Requests;
use crate::{pages, wire};

const NO_ETAG: &str = "the service sent no etag";

/// A document as it was read.
pub(crate) struct Stored<T> {
    pub(crate) document: T,
    pub(crate) etag: Etag,
}

/// What came of a write that depends on what is stored.
pub(crate) enum Swap {
    /// Written; the document's new etag.
    Written(Etag),
    /// Somebody else was first, or an earlier attempt of the same write: read to find out.
    Lost,
}

/// One container, and who is told what its requests cost.
#[derive(Clone)]
pub(crate) struct Items {
    requests: Requests,
}

impl Items {
    pub(crate) fn new(container: ContainerClient) -> Self {
        Self {
            requests: Requests::new(container),
        }
    }

    /// Tells one more observer.
    pub(crate) fn with_costs(mut self, observer: Arc<dyn CostObserver>) -> Self {
        self.requests.costs = self.requests.costs.with(observer);
        self
    }

    /// For whoever sends batches.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Who pays for a query.
    pub(crate) fn spending(&self) -> pages::Spending {
        pages::Spending::new(&self.requests.costs, "")
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        partition: &str,
        id: &str,
        operation: &'static str,
    ) -> Result<Option<Stored<T>>> {
        let on = self.requests.on(partition.to_owned().into(), operation, "", &id);
        let Some(read) = on.read(id).await? else {
            return Ok(None);
        };
        let document =
            serde_json::from_slice(&read.body).map_err(|error| on.error(ErrorKind::Corrupt).with_source(error))?;
        let etag = read
            .etag
            .ok_or_else(|| on.error(ErrorKind::Other).with_message(NO_ETAG))?;
        Ok(Some(Stored { document, etag }))
    }

    pub(crate) fn container(&self) -> ContainerClient {
        self.requests.container.clone()
    }

    /// All documents of a partition.
    pub(crate) async fn all(&self, partition: &str, operation: &'static str) -> Result<Vec<Box<RawValue>>> {
        let query = Query::from("SELECT * FROM c");
        let scope = FeedScope::partition(partition.to_owned());
        pages::query(
            self.requests.container.clone(),
            query,
            scope,
            None,
            operation,
            partition.to_owned(),
            self.spending(),
        )
        .try_concat()
        .await
    }

    pub(crate) async fn create<T: Serialize>(
        &self,
        partition: &str,
        id: &str,
        document: &T,
        operation: &'static str,
    ) -> Result<Swap> {
        let container = &self.requests.container;
        let created = container
            .create_item(partition.to_owned(), id, document, Some(wire::write()))
            .await;
        self.swapped(created, document, operation, id)
    }

    /// Replaces a document that still has this etag.
    pub(crate) async fn replace<T: Serialize>(
        &self,
        partition: &str,
        id: &str,
        document: &T,
        if_match: &Etag,
        operation: &'static str,
    ) -> Result<Swap> {
        let options = Some(wire::write_if(if_match));
        let container = &self.requests.container;
        let replaced = container
            .replace_item(partition.to_owned(), id, document, options)
            .await;
        match replaced {
            // It expired by its time to live.
            Err(error) if is_not_found(&error) => {
                self.observe(operation, error.diagnostics().as_deref(), document);
                Ok(Swap::Lost)
            }
            replaced => self.swapped(replaced, document, operation, id),
        }
    }

    fn swapped<T: Serialize>(
        &self,
        answer: azure_data_cosmos::Result<ItemResponse>,
        document: &T,
        operation: &'static str,
        id: &str,
    ) -> Result<Swap> {
        match answer {
            Ok(answer) => {
                self.observe(operation, Some(&answer.diagnostics()), document);
                Ok(Swap::Written(etag(&answer, operation, id)?))
            }
            Err(error) => {
                self.observe(operation, error.diagnostics().as_deref(), document);
                if is_conflict(&error) {
                    return Ok(Swap::Lost);
                }
                Err(from_sdk(error, Access::Write, operation, id))
            }
        }
    }

    fn observe<T: Serialize>(&self, operation: &'static str, diagnostics: Option<&DiagnosticsContext>, document: &T) {
        let costs = &self.requests.costs;
        if costs.is_watched() {
            let bytes = wire::json_len(document).unwrap_or_default();
            costs.observe(CostOf::new(operation, ""), diagnostics, 1, bytes, 0);
        }
    }
}

fn etag(answer: &ItemResponse, operation: &'static str, id: &str) -> Result<Etag> {
    answer
        .headers()
        .etag()
        .cloned()
        .ok_or_else(|| Error::new(ErrorKind::Other, operation, id).with_message(NO_ETAG))
}
