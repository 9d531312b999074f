//! Documents and marks in maps.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::Value;

use super::lock;
use crate::error::Result;
use crate::handler::Handled;
use crate::inbox::InboxKey;
use crate::read_model::{Document, ReadModel, Update};

/// A read model. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryReadModel(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    documents: BTreeMap<(String, String), Value>,
    marks: HashSet<(String, InboxKey)>,
}

impl MemoryReadModel {
    /// An empty read model.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl ReadModel for MemoryReadModel {
    async fn apply(&self, update: Update) -> Result<Handled> {
        let mut state = lock(&self.0);
        let mark = (update.partition().to_owned(), update.key().clone());
        if state.marks.contains(&mark) {
            return Ok(Handled::Duplicate);
        }
        // All changes are computed before the first is kept: an update that fails changes nothing.
        let mut changed: BTreeMap<(String, String), Value> = BTreeMap::new();
        for change in update.changes() {
            let place = (update.partition().to_owned(), change.document().to_owned());
            let current = changed.get(&place).or_else(|| state.documents.get(&place));
            let next = change.apply(current)?;
            changed.insert(place, next);
        }
        state.documents.extend(changed);
        state.marks.insert(mark);
        Ok(Handled::Done)
    }

    async fn get(&self, partition: &str, id: &str) -> Result<Option<Document>> {
        let state = lock(&self.0);
        let content = state.documents.get(&(partition.to_owned(), id.to_owned())).cloned();
        Ok(content.map(|content| Document {
            partition: partition.to_owned(),
            id: id.to_owned(),
            content,
        }))
    }

    fn documents(&self, partition: Option<&str>) -> BoxStream<'static, Result<Document>> {
        let documents: Vec<_> = lock(&self.0)
            .documents
            .iter()
            .filter(|((place, _), _)| partition.is_none_or(|wanted| wanted == place))
            .map(|((partition, id), content)| {
                Ok(Document {
                    partition: partition.clone(),
                    id: id.clone(),
                    content: content.clone(),
                })
            })
            .collect();
        stream::iter(documents).boxed()
    }
}
