//! Writes again what was written.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use azure_core::http::{Method, Request, StatusCode};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    Folder,
    condense::{self, Needed, Survey},
    records::{Change, Entry},
};
use crate::{
    clock::Timestamp,
    cosmos::{
        account::Account,
        changes::ItemKey,
        containers::{ContainerState, Write},
        engine::Answer,
        item::item_request,
        partitions::Partitions,
        target::{ContainerName, Target},
        writes::RESPONSE_ON_WRITE,
    },
    state::DataError,
};

/// Gives an empty account what is kept in the folder, and keeps there what it gets from then on.
pub(in crate::cosmos) async fn restore(account: &Arc<Account>, folder: &Folder) -> Result<(), DataError> {
    restore_condensed(account, folder, condense::SMALL).await
}

/// A log of `small` bytes or more is condensed, now and whenever it is twice as long.
pub(super) async fn restore_condensed(account: &Arc<Account>, folder: &Folder, small: u64) -> Result<(), DataError> {
    let mut survey = Survey::default();
    let mut recovered = folder.recover("cosmos", |record| survey.add(record))?;
    let mut needed = survey.needed();
    if recovered.written().length() >= small && !needed.is_hardly_less() {
        recovered = recovered.condensed(|log, sink| needed.write(log, sink))?;
        needed = Needed::default();
    }
    account.keeper.keeps.store(true, Ordering::Relaxed);
    account.keeper.replaying.store(true, Ordering::Relaxed);
    let log = recovered.written();
    let mut changes = Vec::new();
    needed.read(&log, |change, text| {
        changes.push((change, text));
        Ok(())
    })?;
    let mut replay = Replay {
        account,
        numbers: HashMap::new(),
    };
    for (change, bytes) in changes {
        replay.change(change, bytes).await.map_err(|what| DataError::Damaged {
            path: recovered.path().to_owned(),
            at: 0,
            what,
        })?;
    }
    account.keeper.replaying.store(false, Ordering::Relaxed);
    recovered.start_condensing(&account.keeper.journal, small, Arc::new(condense::condense))
}

struct Replay<'a> {
    account: &'a Arc<Account>,
    /// The last number by container and partition.
    numbers: HashMap<(ContainerName, u32), u64>,
}

impl Replay<'_> {
    async fn change(&mut self, change: Change, mut bytes: Bytes) -> Result<(), String> {
        match change {
            Change::Metadata(raw) => {
                let request = raw.request(self.account.endpoint(), bytes)?;
                let target = Target::of(&request);
                // A deletion that came between may have made it pointless.
                self.account.execute(request, target).await;
                let containers = &self.account.containers;
                self.numbers.retain(|(name, _), _| containers.get(name).is_some());
                Ok(())
            }
            Change::Items {
                database,
                container,
                entries,
            } => {
                let name = ContainerName { database, container };
                for entry in entries {
                    let length = entry.length();
                    if length > bytes.len() {
                        return Err("an item is cut short".to_owned());
                    }
                    let text = bytes.split_to(length);
                    self.entry(&name, entry, text).await?;
                }
                Ok(())
            }
            Change::Partitions {
                database,
                container,
                partitions,
            } => {
                let all = Partitions::new(Arc::clone(self.account));
                match partitions[..] {
                    [one] => all.split(&database, &container, one).await.map(drop),
                    [first, second] => all.merge(&database, &container, [first, second]).await.map(drop),
                    _ => Err("a split has one partition, a merge two".to_owned()),
                }
            }
        }
    }

    async fn entry(&mut self, name: &ContainerName, entry: Entry, text: Bytes) -> Result<(), String> {
        let Some(container) = self.account.containers.get(name) else {
            // Deleted later.
            return Ok(());
        };
        let mut state = container.write().await;
        match entry {
            Entry::Put {
                pk,
                id,
                partition,
                lsn,
                at,
                ..
            } => {
                let item = ItemKey::new(&pk, &id).ok_or("a partition key is not JSON")?;
                let at = Timestamp::from_millis(at);
                // The numbers between were those of items that are no more, or are later ones.
                loop {
                    let answer = self.put(&mut state, name, &item, &text, at).await?;
                    // Written down before.
                    self.account.keeper.items(name, &mut state.pending);
                    if self.reached(name, &answer, (partition, lsn))? {
                        return Ok(());
                    }
                }
            }
            Entry::Delete { pk, id, partition, lsn } => {
                let item = ItemKey::new(&pk, &id).ok_or("a partition key is not JSON")?;
                let text = placeholder(&state, &item);
                let key = (name.clone(), partition);
                while self.numbers.get(&key).copied().unwrap_or(0) + 1 < lsn {
                    let answer = self.put(&mut state, name, &item, &text, Timestamp::default()).await?;
                    if self.reached(name, &answer, (partition, lsn))? {
                        return Err(format!("item '{id}' can't be deleted under its number"));
                    }
                }
                let request = item_request(&self.account.items(name), Method::Delete, &item);
                let answer = self.account.engine.execute(&request).await;
                note(&mut state, Method::Delete, &item, (&[], Timestamp::default()), &answer);
                self.account.keeper.items(name, &mut state.pending);
                check(&answer, &id)?;
                self.reached(name, &answer, (partition, lsn)).map(drop)
            }
            Entry::Request(raw) => {
                drop(state);
                let request = raw.request(self.account.endpoint(), text)?;
                let target = Target::of(&request);
                let answer = self.account.execute(request, target).await;
                if let Some((partition, lsn)) = super::place(&answer) {
                    self.numbers.insert((name.clone(), partition), lsn);
                }
                check(&answer, "of a batch")
            }
        }
    }

    async fn put(
        &self,
        state: &mut ContainerState,
        name: &ContainerName,
        item: &ItemKey,
        text: &Bytes,
        at: Timestamp,
    ) -> Result<Answer, String> {
        let mut request = Request::new(self.account.items(name), Method::Post);
        request.insert_header("x-ms-documentdb-partitionkey", item.partition_key.to_string());
        request.insert_header("x-ms-documentdb-is-upsert", "true");
        request.insert_header(RESPONSE_ON_WRITE, "false");
        request.set_body(text.clone());
        let answer = self.account.engine.execute(&request).await;
        check(&answer, &item.id)?;
        note(state, Method::Post, item, (text, at), &answer);
        Ok(answer)
    }

    /// Whether the write has got the number it has to have.
    fn reached(&mut self, name: &ContainerName, answer: &Answer, wanted: (u32, u64)) -> Result<bool, String> {
        let (partition, lsn) = super::place(answer).ok_or("a write has no number")?;
        self.numbers.insert((name.clone(), partition), lsn);
        let (wanted_partition, wanted) = wanted;
        if partition != wanted_partition || lsn > wanted {
            return Err(format!(
                "an item of container {} has the number {lsn} in partition {partition}, and had {wanted} in \
                 {wanted_partition}",
                name.container
            ));
        }
        Ok(lsn == wanted)
    }
}

fn note(state: &mut ContainerState, method: Method, item: &ItemKey, (text, at): (&[u8], Timestamp), answer: &Answer) {
    let write = Write {
        method,
        item: Some(item.clone()),
        text,
        at,
    };
    state.note(write, answer);
}

fn check(answer: &Answer, what: &str) -> Result<(), String> {
    if answer.status.is_success() || answer.status == StatusCode::NotFound {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.body);
    Err(format!("item {what} can't be written again: {said}"))
}

/// An item with this key and nothing else.
fn placeholder(state: &ContainerState, item: &ItemKey) -> Bytes {
    let values: Vec<Value> = serde_json::from_str(&item.partition_key).unwrap_or_default();
    let mut text = Map::from_iter([("id".to_owned(), Value::from(&*item.id))]);
    for (path, value) in state.partition_key_paths.iter().zip(values) {
        // A missing value is written as an empty object.
        if value.as_object().is_some_and(Map::is_empty) {
            continue;
        }
        let mut names = path.trim_start_matches('/').split('/').peekable();
        let mut at = &mut text;
        while let Some(name) = names.next() {
            let name = name.trim_matches('"').to_owned();
            if names.peek().is_none() {
                at.insert(name, value);
                break;
            }
            let below = at.entry(name).or_insert_with(|| Value::Object(Map::new()));
            match below {
                Value::Object(below) => at = below,
                _ => break,
            }
        }
    }
    Value::Object(text).to_string().into()
}
