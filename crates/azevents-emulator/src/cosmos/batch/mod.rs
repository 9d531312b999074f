//! Transactional batches.
//!
//! Microsoft's emulator works on a copy of every item in the physical partition, for each batch
//! anew, which makes a service that appends in batches slower with every append. Here a batch is
//! single writes under the container's lock, taken back if one of them fails. Nobody sees them in
//! between. What a batch may contain and how it is refused is still the emulator's to say: whatever
//! is not plainly a batch that succeeds or conflicts is handed to it whole.

mod operation;
mod results;
mod undo;

use std::collections::HashSet;

use azure_core::http::{Method, Request};
use bytes::Bytes;

use super::{
    changes::ItemKey,
    charge::{self, Weight},
    containers::{ContainerState, Write},
    engine::{Answer, Engine},
    item::item_request,
    patch,
    target::header,
    writes::{RESPONSE_ON_WRITE, body, wants_content},
};
use crate::clock::Timestamp;
use operation::{Kind, Operation};
use results::{Outcome, failed};
use undo::Undo;

/// Executes a batch. The caller holds the container's lock alone and doesn't drop the future.
pub(super) async fn execute(engine: &Engine, state: &mut ContainerState, at: Timestamp, request: &Request) -> Answer {
    let text = body(request);
    let batch = Batch::parse(&text, request);
    if let Some(batch) = &batch
        && let Ok(answer) = if batch.repeats {
            batch.run_in_order(engine, state, at).await
        } else {
            batch.run(engine, state, at).await
        }
    {
        return answer;
    }
    let mut answer = engine.execute(request).await;
    results::charge_each(&mut answer, &text, &state.indexing);
    // What it wrote is not known item by item.
    if answer.status.is_success() {
        state.changes = None;
        state.pending.request(request);
        note_times(state, &text, at, request);
    }
    answer
}

/// Begins the time anew of what a batch has written that was handed to the emulator whole.
fn note_times(state: &mut ContainerState, text: &[u8], at: Timestamp, request: &Request) {
    let partition_key = header(request, "x-ms-documentdb-partitionkey");
    for operation in operation::parse(text).unwrap_or_default() {
        let item = operation.item_id().and_then(|id| ItemKey::new(partition_key?, &id));
        match (item, operation.kind) {
            // Patches aren't in what Microsoft's emulator takes.
            (None, _) | (_, Kind::Read | Kind::Patch) => {}
            (Some(item), Kind::Delete) => state.expiry.deleted(&item),
            (Some(item), _) => state.expiry.written(&item, operation.body(), at),
        }
    }
}

/// The emulator is to say what becomes of this batch. Nothing of it has been done.
struct Refer;

struct Batch<'a> {
    request: &'a Request,
    operations: Vec<(Operation<'a>, ItemKey)>,
    /// Whether an item occurs more than once.
    repeats: bool,
    /// Whether the client wants written items back.
    echo: bool,
}

impl<'a> Batch<'a> {
    fn parse(text: &'a [u8], request: &'a Request) -> Option<Self> {
        let partition_key = header(request, "x-ms-documentdb-partitionkey")?;
        let (mut ids, mut repeats, mut patches) = (HashSet::new(), false, false);
        let mut operations = Vec::new();
        for operation in operation::parse(text)? {
            let item = ItemKey::new(partition_key, &operation.item_id()?)?;
            repeats |= !ids.insert(item.id.clone());
            patches |= operation.kind == Kind::Patch;
            operations.push((operation, item));
        }
        // The emulator knows no patches in batches.
        let ours = !operations.is_empty() && (!repeats || patches);
        let echo = wants_content(request);
        ours.then_some(Self {
            request,
            operations,
            repeats,
            echo,
        })
    }

    async fn run(&self, engine: &Engine, state: &mut ContainerState, at: Timestamp) -> Result<Answer, Refer> {
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        outcomes.resize_with(self.operations.len(), || None);
        let mut before = Vec::with_capacity(self.operations.len());
        // First whatever can be known without writing: so that a batch that fails on it leaves no
        // trace, such as an etag that changed and changed back.
        for (index, (operation, item)) in self.operations.iter().enumerate() {
            if operation.kind == Kind::Create {
                before.push(None);
                continue;
            }
            match self.find(engine, operation, item).await? {
                Ok((outcome, existing)) => {
                    outcomes[index] = outcome;
                    before.push(existing);
                }
                Err(status) => {
                    let (index, status) = self.first_conflict(engine, index).await?.unwrap_or((index, status));
                    return self.refuse(state, index, status);
                }
            }
        }
        // Then creations: the writes that can still fail, and leave no trace when taken back.
        let mut undo = Undo::new(self.request.url());
        let (creations, others): (Vec<usize>, Vec<usize>) = (0..self.operations.len())
            .filter(|index| outcomes[*index].is_none())
            .partition(|index| self.operations[*index].0.kind == Kind::Create);
        let mut last = None;
        for index in creations.into_iter().chain(others) {
            let before = before[index].take();
            match self.write(engine, state, at, index, before.as_ref()).await {
                Ok((outcome, answer)) => {
                    outcomes[index] = Some(outcome);
                    undo.push(self.operations[index].1.clone(), before);
                    last = Some(answer);
                }
                Err(status) => {
                    undo.run(engine, state, at).await;
                    return self.refuse_write(state, index, status);
                }
            }
        }
        Ok(results::succeeded(&outcomes, last))
    }

    /// One operation after the other, because what an operation finds depends on those before it. A batch that fails
    /// leaves a trace here: items that were written and written back have another etag.
    async fn run_in_order(&self, engine: &Engine, state: &mut ContainerState, at: Timestamp) -> Result<Answer, Refer> {
        let mut outcomes = Vec::with_capacity(self.operations.len());
        let mut undo = Undo::new(self.request.url());
        let mut last = None;
        for (index, (operation, item)) in self.operations.iter().enumerate() {
            let refused = match self.find(engine, operation, item).await {
                Ok(Ok((Some(outcome), _))) => {
                    outcomes.push(Some(outcome));
                    continue;
                }
                Ok(Ok((None, before))) => match self.write(engine, state, at, index, before.as_ref()).await {
                    Ok((outcome, answer)) => {
                        outcomes.push(Some(outcome));
                        undo.push(item.clone(), before);
                        last = Some(answer);
                        continue;
                    }
                    Err(status) => self.refuse_write(state, index, status),
                },
                Ok(Err(status)) => self.refuse(state, index, status),
                Err(refer) => Err(refer),
            };
            undo.run(engine, state, at).await;
            return refused;
        }
        Ok(results::succeeded(&outcomes, last))
    }

    /// The item as it is, with the outcome of an operation that has nothing to write, or the status it fails with.
    async fn find(
        &self,
        engine: &Engine,
        operation: &Operation<'_>,
        item: &ItemKey,
    ) -> Result<Result<(Option<Outcome>, Option<Answer>), u16>, Refer> {
        let existing = self.read(engine, item).await?;
        let outcome = match operation.check(existing.as_ref()) {
            Ok(outcome) => outcome,
            Err(status) => return Ok(Err(status)),
        };
        if operation.kind == Kind::Patch
            && let Some(condition) = patch::condition(operation.body())
            && let Err(answer) = patch::check(engine, self.request.url(), item, &condition).await
        {
            return Ok(Err(answer.status.into()));
        }
        Ok(Ok((outcome, existing)))
    }

    /// Writes what the operation at `index` says; `before` is the item as it was. The status if that is refused.
    async fn write(
        &self,
        engine: &Engine,
        state: &mut ContainerState,
        at: Timestamp,
        index: usize,
        before: Option<&Answer>,
    ) -> Result<(Outcome, Answer), u16> {
        let (operation, item) = &self.operations[index];
        let write = self.write_request(operation, item);
        let answer = engine.execute(&write).await;
        if !answer.status.is_success() {
            return Err(answer.status.into());
        }
        let text = match operation.kind {
            Kind::Patch => {
                let patched = self.read(engine, item).await.ok().flatten();
                patched.map(|patched| patched.body).unwrap_or_default()
            }
            _ => Bytes::copy_from_slice(operation.body()),
        };
        let noted = Write {
            method: write.method(),
            item: Some(item.clone()),
            text: &text,
            at,
        };
        state.note(noted, &answer);
        let weigh = |item: &[u8]| Weight::of(item, &state.indexing);
        let outcome = match before {
            Some(before) if operation.kind == Kind::Delete => {
                Outcome::deleted(before, charge::delete(weigh(&before.body)))
            }
            _ => {
                let charge = charge::write(write.method(), answer.status.into(), weigh(&text));
                Outcome::written(&answer, charge, self.echo)
            }
        };
        Ok((outcome, answer))
    }

    /// The answer to a batch whose write at `index` was refused.
    fn refuse_write(&self, state: &ContainerState, index: usize, status: u16) -> Result<Answer, Refer> {
        let kind = self.operations[index].0.kind;
        if kind == Kind::Patch || (kind == Kind::Create && status == 409) {
            return self.refuse(state, index, status);
        }
        Err(Refer)
    }

    /// The answer to a batch that the operation at `index` fails. Not if one up to there belongs to
    /// another partition: that is what is wrong then.
    fn refuse(&self, state: &ContainerState, index: usize, status: u16) -> Result<Answer, Refer> {
        let belongs = |(operation, item): &(Operation<'_>, ItemKey)| {
            operation.is_in_partition(&state.partition_key_paths, &item.partition_key)
        };
        if self.operations[..=index].iter().all(belongs) {
            let tried: Vec<f64> = self.operations[..index]
                .iter()
                .map(|(operation, _)| match operation.kind {
                    Kind::Create | Kind::Upsert => charge::create(Weight::of(operation.body(), &state.indexing)),
                    Kind::Replace => charge::replace(Weight::of(operation.body(), &state.indexing)),
                    // What it was about isn't at hand any more; most items are small.
                    Kind::Delete => charge::delete(Weight::default()),
                    Kind::Patch => charge::replace(Weight::default()),
                    Kind::Read => charge::point_read(0),
                })
                .collect();
            Ok(failed(self.operations.len(), &tried, status))
        } else {
            Err(Refer)
        }
    }

    /// The first creation before `end` of an item that exists.
    async fn first_conflict(&self, engine: &Engine, end: usize) -> Result<Option<(usize, u16)>, Refer> {
        for (index, (operation, item)) in self.operations[..end].iter().enumerate() {
            if operation.kind == Kind::Create && self.read(engine, item).await?.is_some() {
                return Ok(Some((index, 409)));
            }
        }
        Ok(None)
    }

    /// The item as it is, or `None` if it isn't there.
    async fn read(&self, engine: &Engine, item: &ItemKey) -> Result<Option<Answer>, Refer> {
        let answer = engine
            .execute(&item_request(self.request.url(), Method::Get, item))
            .await;
        match u16::from(answer.status) {
            200 => Ok(Some(answer)),
            // The partition is named only if the container exists and the item doesn't.
            404 if answer.header("x-ms-documentdb-partitionkeyrangeid").is_some() => Ok(None),
            _ => Err(Refer),
        }
    }

    fn write_request(&self, operation: &Operation<'_>, item: &ItemKey) -> Request {
        let mut request = match operation.kind {
            Kind::Replace => item_request(self.request.url(), Method::Put, item),
            Kind::Delete => item_request(self.request.url(), Method::Delete, item),
            Kind::Patch => item_request(self.request.url(), Method::Patch, item),
            Kind::Create | Kind::Upsert | Kind::Read => {
                let mut request = Request::new(self.request.url().clone(), Method::Post);
                request.insert_header("x-ms-documentdb-partitionkey", item.partition_key.to_string());
                if operation.kind == Kind::Upsert {
                    request.insert_header("x-ms-documentdb-is-upsert", "true");
                }
                request
            }
        };
        let echo = if self.echo { "true" } else { "false" };
        request.insert_header(RESPONSE_ON_WRITE, echo);
        if let Some(body) = operation.resource_body {
            request.set_body(body.get().as_bytes().to_vec());
        }
        request
    }
}
