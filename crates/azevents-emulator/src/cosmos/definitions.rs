//! Containers come, change and go; what is remembered about them follows.

use azure_core::http::{Method, Request, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::{
    account::Account,
    charge,
    charge::IndexingPolicy,
    containers::ContainerState,
    engine::Answer,
    expiry::{DefaultTtl, Expiry},
    target::ContainerName,
    throughput::Units,
    writes::{body, id_in},
};

impl Account {
    /// What is about no container's items.
    pub(super) async fn metadata(&self, request: &Request) -> Answer {
        let mut answer = match self.throughput.answer(request) {
            Some(answer) => answer,
            None => self.engine.execute(request).await,
        };
        self.keeper.metadata(request, &answer);
        charge::set(&mut answer, charge::METADATA);
        answer
    }

    pub(super) async fn create_database(&self, request: &Request) -> Answer {
        if let Err(what) = Units::of_headers(request) {
            return Answer::error(StatusCode::BadRequest, "BadRequest", &what);
        }
        let answer = self.metadata(request).await;
        if answer.status == StatusCode::Created
            && let Some(name) = id_in(&body(request))
        {
            let shown = self.shown(&answer, &["dbs", &name]).await;
            self.throughput.created(&name, None, request, &shown);
        }
        answer
    }

    /// Deletes a container, or the database of all of these.
    pub(super) async fn delete_containers(&self, names: &[ContainerName], request: &Request) -> Answer {
        // Nobody writes to one of them meanwhile: it would be written down behind the deletion.
        let mut locked = Vec::new();
        for container in names.iter().filter_map(|name| self.containers.get(name)) {
            locked.push(container.write_owned().await);
        }
        let answer = self.metadata(request).await;
        if answer.status.is_success() {
            for name in names {
                self.containers.remove(name);
                self.throughput.container_deleted(name);
            }
            if let Some(budgets) = &self.budgets {
                budgets.forget(|name| names.contains(name));
            }
        }
        answer
    }

    pub(super) async fn create_container(&self, database: String, request: &Request) -> Answer {
        #[derive(Default, Deserialize)]
        struct Created {
            #[serde(rename = "_rid")]
            rid: String,
            #[serde(rename = "partitionKey")]
            partition_key: PartitionKey,
        }
        #[derive(Default, Deserialize)]
        struct PartitionKey {
            paths: Vec<String>,
        }
        if let Err(what) = Units::of_headers(request) {
            return Answer::error(StatusCode::BadRequest, "BadRequest", &what);
        }
        let definition = body(request);
        let Some(container) = id_in(&definition) else {
            return self.metadata(request).await;
        };
        let name = ContainerName { database, container };
        // Locked before it exists: another client may know the name and write to it at once.
        let container = self.containers.get_or_insert(name.clone());
        let mut state = container.write().await;
        let answer = self.metadata(request).await;
        if answer.status == StatusCode::Created {
            let told = self
                .shown(&answer, &["dbs", &name.database, "colls", &name.container])
                .await;
            let created: Created = serde_json::from_slice(&told).unwrap_or_default();
            let definition: Value = serde_json::from_slice(&definition).unwrap_or_default();
            self.throughput
                .created(&name.database, Some(&name.container), request, &told);
            *state = ContainerState::empty(created.rid, created.partition_key.paths, &definition);
            state.pending = self.keeper.pending();
            if self.engine.endpoints().nth(1).is_some() {
                // Each region counts its changes itself; the emulator knows all of them.
                state.changes = None;
            }
        } else if answer.status != StatusCode::Conflict {
            self.containers.remove(&name);
        }
        answer
    }

    /// What was created, also to a client that didn't want to be shown.
    async fn shown(&self, answer: &Answer, path: &[&str]) -> Bytes {
        if !answer.body.is_empty() {
            return answer.body.clone();
        }
        let mut url = self.endpoint().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.engine.execute(&Request::new(url, Method::Get)).await.body
    }

    pub(super) async fn replace_container(&self, name: &ContainerName, request: &Request) -> Answer {
        let Some(container) = self.containers.get(name) else {
            return self.metadata(request).await;
        };
        let mut state = container.write().await;
        let answer = self.metadata(request).await;
        if answer.status.is_success() {
            let definition: Value = serde_json::from_slice(&body(request)).unwrap_or_default();
            state.indexing = IndexingPolicy::of_container(&definition);
            let default = DefaultTtl::of_container(&definition);
            if state.expiry.default != default {
                self.time_anew(&mut state, name, default).await;
            }
        }
        answer
    }

    /// Items that are there already live by the container's new setting, counted from their last
    /// write.
    async fn time_anew(&self, state: &mut ContainerState, name: &ContainerName, default: DefaultTtl) {
        #[derive(Deserialize)]
        struct Written {
            #[serde(rename = "_ts")]
            at: i64,
        }
        state.expiry = Expiry::new(default);
        let items: Vec<_> = state.changes.iter().flat_map(|log| log.items().cloned()).collect();
        for item in items {
            let text = self.text_of(name, &item).await;
            if let Ok(Written { at }) = serde_json::from_slice(&text) {
                state.expiry.written(&item, &text, self.stored_at(at));
            }
        }
    }
}
