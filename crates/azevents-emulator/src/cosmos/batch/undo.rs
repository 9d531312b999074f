//! Takes back the writes of a batch that fails half-way.

use azure_core::http::{Method, Request};
use tracing::warn;
use url::Url;

use crate::{
    clock::Timestamp,
    cosmos::{
        changes::ItemKey,
        containers::{ContainerState, Write},
        engine::{Answer, Engine},
        item::item_request,
    },
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
    pub(super) async fn run(self, engine: &Engine, state: &mut ContainerState, at: Timestamp) {
        for (item, before) in self.written.into_iter().rev() {
            let text = before.as_ref().map(|before| before.body.clone()).unwrap_or_default();
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
            let write = Write {
                method: request.method(),
                item: Some(item),
                text: &text,
                at,
            };
            state.note(write, &answer);
        }
    }
}
