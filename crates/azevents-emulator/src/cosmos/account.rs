//! Executes requests: who may run beside whom, and what is noted about writes.

use std::{future::Future, sync::Arc};

use azure_core::http::{Method, Request, StatusCode, request::Body};
use bytes::Bytes;
use serde::Deserialize;
use tracing::debug;
use url::Url;

use super::{
    batch,
    changes::{self, FeedRequest, ItemKey},
    charge::{self, IndexingPolicy, Weight},
    containers::{ContainerState, Containers},
    engine::{Answer, Engine},
    item::item_request,
    target::{ContainerName, Target, header},
};

/// Asks for written items to be sent back, or not to be.
pub(super) const RESPONSE_ON_WRITE: &str = "x-ms-cosmos-populate-content-response-on-write";

/// The account that all connections share.
#[derive(Debug)]
pub(super) struct Account {
    engine: Engine,
    containers: Containers,
}

impl Account {
    /// An empty account that clients reach at `endpoint`.
    pub(super) fn new(endpoint: Url) -> azure_data_cosmos_driver::error::Result<Arc<Self>> {
        let engine = Engine::new(endpoint)?;
        Ok(Arc::new(Self {
            engine,
            containers: Containers::default(),
        }))
    }

    /// Where clients connect.
    pub(super) fn endpoint(&self) -> &Url {
        self.engine.endpoint()
    }

    /// Executes a request. A write, once begun, runs to its end even if the client goes away and
    /// the future is dropped: half a batch, or a change that is not noted, must not be left behind.
    pub(super) async fn execute(self: &Arc<Self>, request: Request, target: Target) -> Answer {
        let this = Arc::clone(self);
        match target {
            Target::Other => self.metadata(&request).await,
            Target::ReadItems(name) => self.read(&name, &request).await,
            Target::ReadChanges(name) => self.read_changes(&name, &request).await,
            Target::WriteNewItem(name) => detached(async move { this.write(&name, None, &request).await }).await,
            Target::WriteItem(name, id) => detached(async move { this.write(&name, Some(id), &request).await }).await,
            Target::Batch(name) => detached(async move { this.batch(&name, &request).await }).await,
            Target::CreateContainer { database } => {
                detached(async move { this.create_container(database, &request).await }).await
            }
            Target::ReplaceContainer(name) => {
                detached(async move { this.replace_container(&name, &request).await }).await
            }
            Target::DeleteContainer(name) => {
                let answer = self.metadata(&request).await;
                if answer.status.is_success() {
                    self.containers.remove(&name);
                }
                answer
            }
            Target::DeleteDatabase(database) => {
                let answer = self.metadata(&request).await;
                if answer.status.is_success() {
                    self.containers.remove_database(&database);
                }
                answer
            }
        }
    }

    async fn metadata(&self, request: &Request) -> Answer {
        let mut answer = self.engine.execute(request).await;
        charge::set(&mut answer, charge::METADATA);
        answer
    }

    async fn read(&self, name: &ContainerName, request: &Request) -> Answer {
        let container = self.containers.get(name);
        let _shared = match &container {
            Some(container) => Some(container.read().await),
            None => None,
        };
        let mut answer = self.engine.execute(request).await;
        let charge = match u16::from(answer.status) {
            200 if is_one_item(request) => charge::point_read(answer.body.len()),
            200 => charge::query(answer.body.len()),
            _ => charge::NOTHING_READ,
        };
        charge::set(&mut answer, charge);
        answer
    }

    async fn read_changes(&self, name: &ContainerName, request: &Request) -> Answer {
        let Some(container) = self.containers.get(name) else {
            return self.engine.execute(request).await;
        };
        let state = container.read().await;
        let mut answer = self.changes_of(&state, name, request).await;
        let charge = charge::changes(answer.body.len());
        charge::set(&mut answer, charge);
        answer
    }

    async fn changes_of(&self, state: &ContainerState, name: &ContainerName, request: &Request) -> Answer {
        if let (Some(log), Some(feed)) = (&state.changes, FeedRequest::parse(request))
            && let Some(answer) = changes::answer(log, &state.rid, &feed, request, &self.engine).await
        {
            return answer;
        }
        debug!(container = name.container, "change feed read from the emulator");
        self.engine.execute(request).await
    }

    async fn write(&self, name: &ContainerName, id: Option<String>, request: &Request) -> Answer {
        let Some(container) = self.containers.get(name) else {
            return self.engine.execute(request).await;
        };
        let partition_key = header(request, "x-ms-documentdb-partitionkey");
        let key = |id: &str| ItemKey::new(partition_key?, id);
        let mut state = container.write().await;
        let text = body(request);
        let method = request.method();
        let (item, mut answer, written) = match (id, method) {
            // What it weighs can only be seen before it is gone.
            (Some(id), Method::Delete) => {
                let item = key(&id);
                let before = self.text_of(item.as_ref(), request).await;
                (item, self.engine.execute(request).await, before)
            }
            (Some(id), Method::Patch) => {
                let item = key(&id);
                let answer = self.engine.execute(request).await;
                let after = self.text_of(item.as_ref(), request).await;
                (item, answer, after)
            }
            (id, _) if is_text(&text) => {
                let id = id.or_else(|| id_in(&text));
                (id.and_then(|id| key(&id)), self.engine.execute(request).await, text)
            }
            (id, _) => {
                let (written_id, answer, written) = self.write_unread(request).await;
                (id.or(written_id).and_then(|id| key(&id)), answer, written)
            }
        };
        note(&mut state, method, item, &answer);
        let weight = Weight::of(&written, &state.indexing);
        let charge = charge::write(method, answer.status.into(), weight);
        charge::set(&mut answer, charge);
        answer
    }

    /// Writes an item in Cosmos DB's binary form of JSON, which only the emulator can read: it is
    /// asked to send back as text what was written, and that tells the id.
    async fn write_unread(&self, request: &Request) -> (Option<String>, Answer, Bytes) {
        let mut telling = request.clone();
        telling.insert_header(RESPONSE_ON_WRITE, "true");
        telling
            .headers_mut()
            .remove("x-ms-cosmos-supported-serialization-formats");
        let mut answer = self.engine.execute(&telling).await;
        let written = answer.body.clone();
        if answer.status.is_success() && !wants_content(request) {
            answer.body = Bytes::new();
        }
        (id_in(&written), answer, written)
    }

    /// An item as it is now, in JSON; nothing if it isn't there.
    async fn text_of(&self, item: Option<&ItemKey>, request: &Request) -> Bytes {
        let Some(item) = item else { return Bytes::new() };
        let mut items = request.url().clone();
        if let Ok(mut segments) = items.path_segments_mut() {
            segments.pop();
        }
        let read = self.engine.execute(&item_request(&items, Method::Get, item)).await;
        if read.status.is_success() {
            read.body
        } else {
            Bytes::new()
        }
    }

    async fn batch(&self, name: &ContainerName, request: &Request) -> Answer {
        let Some(container) = self.containers.get(name) else {
            return self.engine.execute(request).await;
        };
        let mut state = container.write().await;
        batch::execute(&self.engine, &mut state, request).await
    }

    async fn create_container(&self, database: String, request: &Request) -> Answer {
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
            let created: Created = serde_json::from_slice(&answer.body).unwrap_or_default();
            *state = ContainerState::empty(created.rid, created.partition_key.paths, indexing(&definition));
        } else if answer.status != StatusCode::Conflict {
            self.containers.remove(&name);
        }
        answer
    }

    async fn replace_container(&self, name: &ContainerName, request: &Request) -> Answer {
        let Some(container) = self.containers.get(name) else {
            return self.metadata(request).await;
        };
        let mut state = container.write().await;
        let answer = self.metadata(request).await;
        if answer.status.is_success() {
            state.indexing = indexing(&body(request));
        }
        answer
    }
}

/// The indexing policy in a container's definition.
fn indexing(definition: &[u8]) -> IndexingPolicy {
    serde_json::from_slice(definition)
        .map(|definition| IndexingPolicy::of_container(&definition))
        .unwrap_or_default()
}

/// Whether a read is of one item by its id.
fn is_one_item(request: &Request) -> bool {
    request.method() == Method::Get && !request.url().path().trim_end_matches('/').ends_with("/docs")
}

/// Notes a successful write of one item, so that the change feed has it.
pub(super) fn note(state: &mut ContainerState, method: Method, item: Option<ItemKey>, answer: &Answer) {
    let Some(log) = &mut state.changes else { return };
    if !answer.status.is_success() {
        return;
    }
    let noted = match (item, method) {
        (Some(item), Method::Delete) => {
            log.deleted(&item);
            true
        }
        (Some(item), _) => {
            let partition = answer.header("x-ms-documentdb-partitionkeyrangeid");
            let lsn = answer.header("x-ms-item-lsn").and_then(|lsn| lsn.parse().ok());
            let session = answer.header("x-ms-session-token").unwrap_or_default();
            match (partition, lsn) {
                (Some(partition), Some(lsn)) => {
                    log.written(partition, lsn, item, session);
                    true
                }
                _ => false,
            }
        }
        (None, _) => false,
    };
    if !noted {
        debug!("a write could not be noted; the change feed comes from the emulator from now on");
        state.changes = None;
    }
}

/// Runs to the end whether or not somebody waits for it.
async fn detached(work: impl Future<Output = Answer> + Send + 'static) -> Answer {
    match tokio::spawn(work).await {
        Ok(answer) => answer,
        Err(error) => Answer::error(
            StatusCode::InternalServerError,
            "InternalServerError",
            &format!("The in-memory emulator failed: {error}"),
        ),
    }
}

/// Whether the client wants a written item sent back.
pub(super) fn wants_content(request: &Request) -> bool {
    match header(request, RESPONSE_ON_WRITE) {
        Some(value) => value.eq_ignore_ascii_case("true"),
        None => !header(request, "prefer").is_some_and(|prefer| prefer.contains("return=minimal")),
    }
}

/// Whether an item is in JSON and not in Cosmos DB's binary form of it, which begins with 0x80.
fn is_text(item: &[u8]) -> bool {
    item.first().is_some_and(u8::is_ascii)
}

/// The `id` of an item or a container in JSON. `None` for the binary form of JSON.
fn id_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct HasId {
        id: String,
    }
    serde_json::from_slice(body).ok().map(|HasId { id }| id)
}

/// A request's body, which is read to its end before it is executed.
pub(super) fn body(request: &Request) -> Bytes {
    match request.body() {
        Body::Bytes(bytes) => bytes.clone(),
        Body::SeekableStream(_) => Bytes::new(),
    }
}
