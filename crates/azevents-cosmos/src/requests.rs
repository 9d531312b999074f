//! The requests of the event store: each says whose it is, and what it has cost.

use std::fmt::Display;

use azevents_core::{CostOf, Error, ErrorKind, Result};
use azure_core::http::Etag;
use azure_data_cosmos::models::{ItemResponse, TransactionalBatchResponse};
use azure_data_cosmos::options::{BatchOptions, ItemWriteOptions};
use azure_data_cosmos::{ContainerClient, CosmosError, FeedScope, PartitionKey, Query, TransactionalBatch};
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::costs::Costs;
use crate::error::{Access, from_sdk, is_conflict, is_not_found};
use crate::{pages, wire};

/// A container, and who is told what its requests cost.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) container: ContainerClient,
    pub(crate) costs: Costs,
}

/// One logical partition, and what is being done there.
pub(crate) struct On<'a> {
    requests: &'a Requests,
    key: PartitionKey,
    operation: &'static str,
    category: &'a str,
    subject: &'a (dyn Display + Sync),
}

/// A document as it was read.
pub(crate) struct Read {
    pub(crate) body: Bytes,
    pub(crate) etag: Option<Etag>,
}

impl Requests {
    pub(crate) fn new(container: ContainerClient) -> Self {
        Self {
            container,
            costs: Costs::default(),
        }
    }

    /// What follows is done in the partition `key`; errors name `operation` and `subject`.
    pub(crate) fn on<'a>(
        &'a self,
        key: PartitionKey,
        operation: &'static str,
        category: &'a str,
        subject: &'a (dyn Display + Sync),
    ) -> On<'a> {
        On {
            requests: self,
            key,
            operation,
            category,
            subject,
        }
    }
}

impl On<'_> {
    /// Creates an item of `bytes` bytes; `false` where the id is taken.
    pub(crate) async fn create<T: Serialize>(&self, id: &str, item: &T, bytes: usize) -> Result<bool> {
        let options = Some(wire::write());
        let answer = self
            .requests
            .container
            .create_item(self.key.clone(), id, item, options)
            .await;
        match self.paid(answer, bytes) {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(self.failed(error, Access::Write)),
        }
    }

    /// Writes an item of `bytes` bytes over whatever is there.
    pub(crate) async fn upsert<T: Serialize>(&self, id: &str, item: &T, bytes: usize) -> Result<()> {
        let options = Some(wire::write());
        let answer = self
            .requests
            .container
            .upsert_item(self.key.clone(), id, item, options)
            .await;
        match self.paid(answer, bytes) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error, Access::Write)),
        }
    }

    /// A point read; `None` where there is nothing.
    pub(crate) async fn read(&self, id: &str) -> Result<Option<Read>> {
        let answer = self
            .requests
            .container
            .read_item(self.key.clone(), id, Some(wire::read()))
            .await;
        match answer {
            Ok(answer) => {
                let diagnostics = answer.diagnostics();
                let etag = answer.headers().etag().cloned();
                let body = answer
                    .into_body()
                    .single()
                    .map_err(|error| self.failed(error, Access::Read))?;
                self.spent(Some(&diagnostics), 1, 0, body.len());
                Ok(Some(Read { body, etag }))
            }
            Err(error) => {
                self.spent(error.diagnostics().as_deref(), 1, 0, 0);
                if is_not_found(&error) {
                    return Ok(None);
                }
                Err(self.failed(error, Access::Read))
            }
        }
    }

    /// Deletes an item; `false` where there was nothing.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool> {
        let options: Option<ItemWriteOptions> = Some(wire::write());
        let answer = self.requests.container.delete_item(self.key.clone(), id, options).await;
        match self.paid(answer, 0) {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(self.failed(error, Access::Write)),
        }
    }

    /// A batch of the partition. `Ok` also means that the service has refused it: look at the results.
    pub(crate) async fn batch(
        &self,
        batch: TransactionalBatch,
        operations: usize,
        bytes: usize,
    ) -> Result<TransactionalBatchResponse> {
        let options = BatchOptions::default().with_operation_options(wire::operation());
        let answer = self
            .requests
            .container
            .execute_transactional_batch(batch, Some(options))
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.spent(error.diagnostics().as_deref(), operations, bytes, 0);
                return Err(self.failed(error, Access::Write));
            }
        };
        let diagnostics = answer.diagnostics();
        let answer = answer.into_model().map_err(|error| self.failed(error, Access::Write))?;
        let bodies = answer.results().iter().filter_map(|result| result.resource_body());
        let received = bodies.map(|body| body.get().len()).sum();
        self.spent(Some(&diagnostics), operations, bytes, received);
        Ok(answer)
    }

    /// A batch that hasn't been begun yet.
    pub(crate) fn new_batch(&self) -> TransactionalBatch {
        TransactionalBatch::new(self.key.clone())
    }

    /// The documents of a query of the partition, page by page.
    pub(crate) fn query(
        &self,
        query: Result<Query, CosmosError>,
        page: Option<std::num::NonZeroU32>,
    ) -> BoxStream<'static, Result<Vec<Box<RawValue>>>> {
        match query {
            Ok(query) => pages::query(
                self.requests.container.clone(),
                query,
                FeedScope::partition(self.key.clone()),
                page,
                self.operation,
                self.subject.to_string(),
                pages::Spending::new(&self.requests.costs, self.category),
            ),
            Err(error) => {
                let error = self.failed(error, Access::Read);
                Box::pin(futures::stream::iter([Err(error)]))
            }
        }
    }

    /// An error of this operation.
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.operation, self.subject)
    }

    fn failed(&self, error: CosmosError, access: Access) -> Error {
        from_sdk(error, access, self.operation, self.subject)
    }

    fn paid(&self, answer: Result<ItemResponse, CosmosError>, sent: usize) -> Result<ItemResponse, CosmosError> {
        match &answer {
            Ok(answer) => self.spent(Some(&answer.diagnostics()), 1, sent, 0),
            Err(error) => self.spent(error.diagnostics().as_deref(), 1, sent, 0),
        }
        answer
    }

    fn spent(
        &self,
        diagnostics: Option<&azure_data_cosmos::diagnostics::DiagnosticsContext>,
        operations: usize,
        sent: usize,
        received: usize,
    ) {
        let of = CostOf::new(self.operation, self.category);
        self.requests.costs.observe(of, diagnostics, operations, sent, received);
    }
}
