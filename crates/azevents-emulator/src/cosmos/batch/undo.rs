//! Takes back the writes of a batch that fails half-way.

use azure_core::http::{Method, Request};
use tracing::warn;
use url::Url;

use crate::cosmos::{
    account::note,
    changes::ItemKey,
    containers::ContainerState,
    engine::{Answer, Engine},
    item::item_request,
};

/// What was written, latest last, with the items as they were before.
pub(super) struct Undo<'a> {
    items: &'a Url,
    written: Vec<(ItemKey, Option<Answer>)>,
}

impl<'a> Undo<'a> {
    pub(super) fn new(items: &'a Url) -> Self {
        Self {
            items,
            written: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, item: ItemKey, before: Option<Answer>) {
        self.written.push((item, before));
    }

    /// Deletes what was created; writes back what was replaced or deleted, under a new etag.
    pub(super) async fn run(self, engine: &Engine, state: &mut ContainerState) {
        for (item, before) in self.written.into_iter().rev() {
            let request = match before {
                None => item_request(self.items, Method::Delete, &item),
                Some(before) => {
                    let mut request = Request::new(self.items.clone(), Method::Post);
                    request.insert_header("x-ms-documentdb-partitionkey", item.partition_key.to_string());
                    request.insert_header("x-ms-documentdb-is-upsert", "true");
                    request.set_body(before.body);
                    request
                }
            };
            let answer = engine.execute(&request).await;
            if !answer.status.is_success() {
                warn!(status = ?answer.status, id = %item.id, "half a batch stays behind");
            }
            note(state, request.method(), Some(item), &answer);
        }
    }
}
