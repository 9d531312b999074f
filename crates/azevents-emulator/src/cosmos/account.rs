//! Executes requests: who may run beside whom.

use std::{future::Future, sync::Arc};

use azure_core::http::{Method, Request, StatusCode};
use bytes::Bytes;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};
use tracing::{debug, warn};
use url::Url;

use super::{
    batch, bulk,
    changes::{self, FeedRequest, ItemKey},
    charge,
    containers::{ContainerState, Containers},
    engine::{Answer, Engine, Region},
    item::item_request,
    kept::Keeper,
    responses,
    target::{ContainerName, Target},
    throughput::{Budgets, Throughput},
};
use crate::clock::{Clock, Timestamp};

/// What requests are refused for that could be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Limits {
    #[default]
    None,
    /// More request units than were provisioned.
    Provisioned,
}

/// The account that all connections share.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) engine: Engine,
    pub(super) containers: Containers,
    pub(super) clock: Clock,
    pub(super) keeper: Keeper,
    pub(super) throughput: Throughput,
    /// Where throughput is enforced.
    pub(super) budgets: Option<Arc<Budgets>>,
}

impl Account {
    /// An empty account.
    pub(super) fn new(
        regions: Vec<Region>,
        clock: Clock,
        limits: Limits,
    ) -> azure_data_cosmos_driver::error::Result<Arc<Self>> {
        let engine = Engine::new(regions)?;
        Ok(Arc::new(Self {
            throughput: Throughput::default(),
            budgets: match limits {
                Limits::None => None,
                Limits::Provisioned => Some(Arc::new(Budgets::new(clock.clone()))),
            },
            engine,
            containers: Containers::default(),
            clock,
            keeper: Keeper::default(),
        }))
    }

    /// Where writes go.
    pub(super) fn endpoint(&self) -> &Url {
        self.engine.write_endpoint()
    }

    /// Executes a request. A write, once begun, runs to its end even if the client goes away and
    /// the future is dropped: half a batch, or a change that is not noted, must not be left behind.
    pub(super) async fn execute(self: &Arc<Self>, request: Request, target: Target) -> Answer {
        let answer = self.perform(request, target).await;
        // Also what was only read: nobody may have seen what a kill takes back.
        match self.keeper.written().await {
            Ok(()) => answer,
            Err(error) => {
                let status = StatusCode::InternalServerError;
                Answer::error(status, "InternalServerError", &error.to_string())
            }
        }
    }

    async fn perform(self: &Arc<Self>, request: Request, target: Target) -> Answer {
        match (&self.budgets, target.items_of().cloned()) {
            (Some(budgets), Some(name)) if !self.keeper.is_replaying() => {
                let (this, budgets) = (Arc::clone(self), Arc::clone(budgets));
                // To the end, so that who goes away pays, too.
                detached(async move { this.within_budget(&budgets, &name, request, target).await }).await
            }
            _ => self.unlimited(request, target).await,
        }
    }

    pub(super) async fn unlimited(self: &Arc<Self>, request: Request, target: Target) -> Answer {
        let this = Arc::clone(self);
        match target {
            Target::Other => self.metadata(&request).await,
            Target::ReadItems(name) => self.read(&name, &request).await,
            Target::ReadChanges(name) => self.read_changes(&name, &request).await,
            Target::WriteNewItem(name) => detached(async move { this.write(&name, None, &request).await }).await,
            Target::WriteItem(name, id) => detached(async move { this.write(&name, Some(id), &request).await }).await,
            Target::Batch(name) => detached(async move { this.batch(&name, &request).await }).await,
            Target::CreateDatabase => detached(async move { this.create_database(&request).await }).await,
            Target::CreateContainer { database } => {
                detached(async move { this.create_container(database, &request).await }).await
            }
            Target::ReplaceContainer(name) => {
                detached(async move { this.replace_container(&name, &request).await }).await
            }
            Target::DeleteContainer(name) => {
                detached(async move {
                    let names = [name];
                    this.delete_containers(&names, &request).await
                })
                .await
            }
            Target::DeleteDatabase(database) => {
                detached(async move {
                    let names = this.containers.of_database(&database);
                    let answer = this.delete_containers(&names, &request).await;
                    if answer.status.is_success() {
                        this.throughput.database_deleted(&database);
                    }
                    answer
                })
                .await
            }
        }
    }

    async fn read(self: &Arc<Self>, name: &ContainerName, request: &Request) -> Answer {
        let _shared = self.shared(name).await;
        self.read_locked(request).await
    }

    /// Reads one item or many. The caller holds the container's lock.
    pub(super) async fn read_locked(&self, request: &Request) -> Answer {
        let mut answer = self.engine.execute(request).await;
        let charge = match u16::from(answer.status) {
            200 if is_one_item(request) => charge::point_read(answer.body.len()),
            200 => charge::query(answer.body.len()),
            _ => charge::NOTHING_READ,
        };
        charge::set(&mut answer, charge);
        answer
    }

    async fn read_changes(self: &Arc<Self>, name: &ContainerName, request: &Request) -> Answer {
        let Some(state) = self.shared(name).await else {
            return self.engine.execute(request).await;
        };
        let mut answer = self.changes_of(&state, name, request).await;
        let charge = charge::changes(answer.body.len());
        charge::set(&mut answer, charge);
        answer
    }

    async fn changes_of(&self, state: &ContainerState, name: &ContainerName, request: &Request) -> Answer {
        if changes::is_of_all_versions(request) {
            return responses::no_all_versions();
        }
        if let (Some(log), Some(feed)) = (&state.changes, FeedRequest::parse(request))
            && let Some(answer) = changes::answer(log, &state.rid, &feed, request, &self.engine).await
        {
            return answer;
        }
        debug!(container = name.container, "change feed read from the emulator");
        changes::translated(&state.lineage, request, &self.engine).await
    }

    async fn batch(&self, name: &ContainerName, request: &Request) -> Answer {
        let Some(mut state) = self.alone(name).await else {
            return self.engine.execute(request).await;
        };
        let answer = if bulk::is_bulk(request) {
            bulk::execute(self, &mut state, request).await
        } else {
            batch::execute(&self.engine, &mut state, self.clock.now(), request).await
        };
        self.keeper.items(name, &mut state.pending);
        answer
    }

    /// The container to read from, without what has expired. `None` if there is no such container.
    async fn shared(self: &Arc<Self>, name: &ContainerName) -> Option<OwnedRwLockReadGuard<ContainerState>> {
        let state = self.containers.get(name)?.read_owned().await;
        if self.keeper.is_replaying() || state.expiry.due(self.clock.now()).is_none() {
            return Some(state);
        }
        drop(state);
        let (this, name) = (Arc::clone(self), name.clone());
        let expired = tokio::spawn(async move { this.alone(&name).await });
        expired.await.ok().flatten().map(OwnedRwLockWriteGuard::downgrade)
    }

    /// The container to write to, without what has expired. The caller doesn't drop the future.
    pub(super) async fn alone(&self, name: &ContainerName) -> Option<OwnedRwLockWriteGuard<ContainerState>> {
        let mut state = loop {
            let container = self.containers.get(name)?;
            let state = Arc::clone(&container).write_owned().await;
            // It may have been deleted, and created anew, while this waited.
            if self
                .containers
                .get(name)
                .is_some_and(|known| Arc::ptr_eq(&known, &container))
            {
                break state;
            }
        };
        if self.keeper.is_replaying() {
            return Some(state);
        }
        let now = self.clock.now();
        while let Some(item) = state.expiry.due(now) {
            let answer = self
                .engine
                .execute(&item_request(&self.items(name), Method::Delete, &item))
                .await;
            if !answer.status.is_success() {
                warn!(status = ?answer.status, id = %item.id, "an item that has expired stays");
            }
            state.note_gone(&item, &answer);
        }
        self.keeper.items(name, &mut state.pending);
        Some(state)
    }

    /// An item as it is now, in JSON; nothing if it isn't there.
    pub(super) async fn text_of(&self, name: &ContainerName, item: &ItemKey) -> Bytes {
        let read = self
            .engine
            .execute(&item_request(&self.items(name), Method::Get, item))
            .await;
        if read.status.is_success() {
            read.body
        } else {
            Bytes::new()
        }
    }

    /// The address of a container's items.
    pub(super) fn items(&self, name: &ContainerName) -> Url {
        let mut url = self.endpoint().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["dbs", &name.database, "colls", &name.container, "docs"]);
        }
        url
    }

    /// The time of an item's `_ts`. The emulator inside goes by the system's clock: where ours has
    /// jumped, how much of that was before the write isn't known, and it counts as written now.
    pub(super) fn stored_at(&self, seconds: i64) -> Timestamp {
        if self.clock.advanced().is_zero() {
            Timestamp::from_millis(seconds.saturating_mul(1000))
        } else {
            self.clock.now()
        }
    }
}

/// Whether a read is of one item by its id.
fn is_one_item(request: &Request) -> bool {
    request.method() == Method::Get && !request.url().path().trim_end_matches('/').ends_with("/docs")
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
