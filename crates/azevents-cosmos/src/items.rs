//! Documents that are changed by compare-and-swap: leases and inbox marks.

use azevents_core::{Error, ErrorKind, Result};
use azure_core::http::Etag;
use azure_data_cosmos::models::ItemResponse;
use azure_data_cosmos::{ContainerClient, FeedScope, Query};
use futures::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Access, from_sdk, is_conflict, is_not_found};
use crate::{pages, wire};

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

/// One container, and the operation that error messages name.
#[derive(Clone)]
pub(crate) struct Items {
    container: ContainerClient,
}

impl Items {
    pub(crate) fn new(container: ContainerClient) -> Self {
        Self { container }
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        partition: &str,
        id: &str,
        operation: &'static str,
    ) -> Result<Option<Stored<T>>> {
        match self
            .container
            .read_item(partition.to_owned(), id, Some(wire::read()))
            .await
        {
            Ok(answer) => {
                let etag = etag(&answer, operation, id)?;
                let document = answer
                    .into_model()
                    .map_err(|error| Error::new(ErrorKind::Corrupt, operation, id).with_source(error))?;
                Ok(Some(Stored { document, etag }))
            }
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(from_sdk(error, Access::Read, operation, id)),
        }
    }

    pub(crate) fn container(&self) -> ContainerClient {
        self.container.clone()
    }

    pub(crate) fn container_ref(&self) -> &ContainerClient {
        &self.container
    }

    /// All documents of a partition.
    pub(crate) async fn all(&self, partition: &str, operation: &'static str) -> Result<Vec<Box<RawValue>>> {
        let query = Query::from("SELECT * FROM c");
        let scope = FeedScope::partition(partition.to_owned());
        pages::query(
            self.container.clone(),
            query,
            scope,
            None,
            operation,
            partition.to_owned(),
            pages::Spending::default(),
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
        let created = self
            .container
            .create_item(partition.to_owned(), id, document, Some(wire::write()))
            .await;
        swapped(created, operation, id)
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
        let replaced = self
            .container
            .replace_item(partition.to_owned(), id, document, options)
            .await;
        match replaced {
            // It expired by its time to live.
            Err(error) if is_not_found(&error) => Ok(Swap::Lost),
            replaced => swapped(replaced, operation, id),
        }
    }
}

fn swapped(answer: azure_data_cosmos::Result<ItemResponse>, operation: &'static str, id: &str) -> Result<Swap> {
    match answer {
        Ok(answer) => Ok(Swap::Written(etag(&answer, operation, id)?)),
        Err(error) if is_conflict(&error) => Ok(Swap::Lost),
        Err(error) => Err(from_sdk(error, Access::Write, operation, id)),
    }
}

fn etag(answer: &ItemResponse, operation: &'static str, id: &str) -> Result<Etag> {
    answer
        .headers()
        .etag()
        .cloned()
        .ok_or_else(|| Error::new(ErrorKind::Other, operation, id).with_message("the service sent no etag"))
}
