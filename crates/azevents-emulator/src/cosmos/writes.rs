//! Writes of one item.

use azure_core::http::{Method, Request, request::Body};
use bytes::Bytes;
use serde::Deserialize;
use url::Url;

use super::{
    account::Account,
    changes::ItemKey,
    charge::{self, Weight},
    containers::{ContainerState, Write},
    engine::Answer,
    item::item_request,
    patch,
    target::{ContainerName, header},
};

/// Asks for written items to be sent back, or not to be.
pub(super) const RESPONSE_ON_WRITE: &str = "x-ms-cosmos-populate-content-response-on-write";

/// What a write has come to.
struct Done {
    item: Option<ItemKey>,
    answer: Answer,
    /// The item as it is now, or was before it was deleted.
    text: Bytes,
}

impl Account {
    pub(super) async fn write(&self, name: &ContainerName, id: Option<String>, request: &Request) -> Answer {
        match self.alone(name).await {
            Some(mut state) => {
                let answer = self.write_locked(&mut state, id, request).await;
                self.keeper.items(name, &mut state.pending);
                answer
            }
            None => self.engine.execute(request).await,
        }
    }

    /// Writes an item; `id` is the one in the address, if there is one. The caller holds the
    /// container's lock alone and doesn't drop the future.
    pub(super) async fn write_locked(
        &self,
        state: &mut ContainerState,
        id: Option<String>,
        request: &Request,
    ) -> Answer {
        let method = request.method();
        let text = body(request);
        let done = match (id, method) {
            (Some(id), Method::Delete) => self.delete(&id, request).await,
            (Some(id), Method::Patch) => self.patch(&id, &text, request).await,
            (id, _) if is_text(&text) => Done {
                item: id.or_else(|| id_in(&text)).and_then(|id| key(request, &id)),
                answer: self.engine.execute(request).await,
                text,
            },
            (id, _) => self.write_unread(id, request).await,
        };
        let Done { item, mut answer, text } = done;
        if item.is_none() && answer.status.is_success() {
            state.pending.request(request);
        }
        let write = Write {
            method,
            item,
            text: &text,
            at: self.clock.now(),
        };
        state.note(write, &answer);
        let charge = charge::write(method, answer.status.into(), Weight::of(&text, &state.indexing));
        charge::set(&mut answer, charge);
        answer
    }

    async fn delete(&self, id: &str, request: &Request) -> Done {
        let item = key(request, id);
        // What it weighs can only be seen before it is gone.
        let text = self.read_back(item.as_ref(), request).await;
        Done {
            item,
            answer: self.engine.execute(request).await,
            text,
        }
    }

    async fn patch(&self, id: &str, patch: &[u8], request: &Request) -> Done {
        let item = key(request, id);
        if let (Some(item), Some(condition)) = (&item, patch::condition(patch))
            && let Err(answer) = patch::check(&self.engine, &items(request), item, &condition).await
        {
            return Done {
                item: None,
                answer,
                text: Bytes::new(),
            };
        }
        let answer = self.engine.execute(request).await;
        let text = self.read_back(item.as_ref(), request).await;
        Done { item, answer, text }
    }

    /// Writes an item in Cosmos DB's binary form of JSON, which only the emulator can read: it is
    /// asked to send back as text what was written, and that tells the id.
    async fn write_unread(&self, id: Option<String>, request: &Request) -> Done {
        let mut telling = request.clone();
        telling.insert_header(RESPONSE_ON_WRITE, "true");
        telling
            .headers_mut()
            .remove("x-ms-cosmos-supported-serialization-formats");
        let mut answer = self.engine.execute(&telling).await;
        let text = answer.body.clone();
        if answer.status.is_success() && !wants_content(request) {
            answer.body = Bytes::new();
        }
        Done {
            item: id.or_else(|| id_in(&text)).and_then(|id| key(request, &id)),
            answer,
            text,
        }
    }

    /// An item as it is now, in JSON; nothing if it isn't there.
    async fn read_back(&self, item: Option<&ItemKey>, request: &Request) -> Bytes {
        let Some(item) = item else { return Bytes::new() };
        let read = self
            .engine
            .execute(&item_request(&items(request), Method::Get, item))
            .await;
        if read.status.is_success() {
            read.body
        } else {
            Bytes::new()
        }
    }
}

fn key(request: &Request, id: &str) -> Option<ItemKey> {
    ItemKey::new(header(request, "x-ms-documentdb-partitionkey")?, id)
}

/// The address of all items, from that of one.
fn items(request: &Request) -> Url {
    let mut items = request.url().clone();
    if let Ok(mut segments) = items.path_segments_mut() {
        segments.pop();
    }
    items
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
pub(super) fn id_in(body: &[u8]) -> Option<String> {
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
