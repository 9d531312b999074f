//! The writes of one partition, one after the other: each gets the number that it had.

use std::sync::Arc;

use azure_core::http::{Method, Request, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc::Receiver;
use url::Url;

use super::replay::check;
use crate::{
    clock::Timestamp,
    cosmos::{
        account::Account,
        changes::ItemKey,
        containers::{self, Container},
        engine::Answer,
        item::{item_request, upsert_request},
        target::ContainerName,
    },
};

/// A write of one item.
pub(super) struct Write {
    pub(super) pk: String,
    pub(super) id: String,
    /// The number it has to get.
    pub(super) lsn: u64,
    /// When an item was written; `None` for a deletion.
    pub(super) at: Option<i64>,
}

pub(super) struct Lane {
    account: Arc<Account>,
    container: Arc<Container>,
    /// The address of the container's items.
    items: Url,
    partition: u32,
    /// Where items have their partition key.
    key_paths: Vec<String>,
    /// The partition's last number.
    number: u64,
}

impl Lane {
    /// `None` if there is no such container.
    pub(super) async fn new(account: &Arc<Account>, name: &ContainerName, partition: u32) -> Option<Self> {
        let container = account.containers.get(name)?;
        let key_paths = container.read().await.partition_key_paths.clone();
        let items = account.items(name);
        Some(Self {
            number: last_number(account, &items, partition).await,
            account: Arc::clone(account),
            container,
            items,
            partition,
            key_paths,
        })
    }

    pub(super) async fn run(mut self, mut writes: Receiver<(Write, Bytes)>) -> Result<(), String> {
        while let Some((write, text)) = writes.recv().await {
            self.write(write, text).await?;
        }
        Ok(())
    }

    async fn write(&mut self, write: Write, text: Bytes) -> Result<(), String> {
        let item = ItemKey::new(&write.pk, &write.id).ok_or("a partition key is not JSON")?;
        self.skip_to(write.lsn, &item, &text).await?;
        let (method, answer) = if write.at.is_some() {
            (Method::Post, self.put(&item, text.clone()).await)
        } else {
            let request = item_request(&self.items, Method::Delete, &item);
            (Method::Delete, self.account.engine.execute(&request).await)
        };
        check(&answer, &item.id)?;
        self.counted(&answer)?;
        if answer.status.is_success() && self.number != write.lsn {
            return Err(format!(
                "item {} has the number {} in partition {}, and had {}",
                item.id, self.number, self.partition, write.lsn
            ));
        }
        let noted = containers::Write {
            method,
            item: Some(item),
            text: &text,
            at: Timestamp::from_millis(write.at.unwrap_or_default()),
        };
        self.container.write().await.note(noted, &answer);
        Ok(())
    }

    /// Makes up the numbers before `lsn`, which were those of writes that are left out: Microsoft's emulator
    /// counts only by writing.
    async fn skip_to(&mut self, lsn: u64, item: &ItemKey, text: &Bytes) -> Result<(), String> {
        if self.number + 1 >= lsn {
            return Ok(());
        }
        let mut filler = self.placeholder(item);
        let mut is_placeholder = true;
        while self.number + 1 < lsn {
            let mut answer = self.put(item, filler.clone()).await;
            if answer.status == StatusCode::Conflict && is_placeholder {
                // Another item has none of the values either that have to be unique.
                is_placeholder = false;
                filler = if text.is_empty() {
                    let read = item_request(&self.items, Method::Get, item);
                    self.account.engine.execute(&read).await.body
                } else {
                    text.clone()
                };
                answer = self.put(item, filler.clone()).await;
            }
            if !answer.status.is_success() {
                check(&answer, &item.id)?;
                return Err(format!("item {} can't be written again", item.id));
            }
            self.counted(&answer)?;
        }
        Ok(())
    }

    async fn put(&self, item: &ItemKey, text: Bytes) -> Answer {
        let request = upsert_request(&self.items, item, text);
        self.account.engine.execute(&request).await
    }

    /// Notes the number that a write got, if it was one.
    fn counted(&mut self, answer: &Answer) -> Result<(), String> {
        if !answer.status.is_success() {
            return Ok(());
        }
        match super::place(answer) {
            Some((partition, lsn)) if partition == self.partition => {
                self.number = lsn;
                Ok(())
            }
            place => Err(format!("a write to partition {} got to {place:?}", self.partition)),
        }
    }

    /// An item with this key and nothing else.
    fn placeholder(&self, item: &ItemKey) -> Bytes {
        let values: Vec<Value> = serde_json::from_str(&item.partition_key).unwrap_or_default();
        let mut text = Map::from_iter([("id".to_owned(), Value::from(&*item.id))]);
        for (path, value) in self.key_paths.iter().zip(values) {
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
}

/// The last number of a partition, which after a split or a merge is not zero to begin with.
async fn last_number(account: &Account, items: &Url, partition: u32) -> u64 {
    #[derive(Default, Deserialize)]
    struct Ranges {
        #[serde(rename = "PartitionKeyRanges")]
        ranges: Vec<Range>,
    }
    #[derive(Deserialize)]
    struct Range {
        id: String,
        #[serde(rename = "_lsn")]
        lsn: u64,
    }
    let mut url = items.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop().push("pkranges");
    }
    let answer = account.engine.execute(&Request::new(url, Method::Get)).await;
    let Ranges { ranges } = serde_json::from_slice(&answer.body).unwrap_or_default();
    let range = ranges.into_iter().find(|range| range.id == partition.to_string());
    range.map_or(0, |range| range.lsn)
}
