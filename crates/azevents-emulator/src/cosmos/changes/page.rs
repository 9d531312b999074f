//! One page of the change feed as an answer.

use azure_core::http::{Method, Request, StatusCode, headers::Headers};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::{ChangeLog, ItemKey, Lineage, Place, Token};
use crate::cosmos::{
    engine::{Answer, Engine},
    item::item_request,
    target::header,
};

/// The service ends a page by its size as well; this many commits are within it.
const MAX_PAGE: usize = 1000;

/// A feed request this log can answer.
#[derive(Debug)]
pub(in crate::cosmos) struct FeedRequest {
    partition: String,
    from: Position,
    limit: usize,
    /// Whether the client wants each item with metadata around it.
    envelopes: bool,
}

#[derive(Debug)]
enum Position {
    Beginning,
    Now,
    After(u64),
}

impl FeedRequest {
    /// `None` for what only the emulator can answer: full fidelity, a point in time, a part of a
    /// partition, one logical partition.
    pub(in crate::cosmos) fn parse(request: &Request) -> Option<Self> {
        let narrower = [
            "x-ms-start-epk",
            "x-ms-end-epk",
            "x-ms-documentdb-partitionkey",
            "if-modified-since",
        ];
        if narrower.into_iter().any(|name| header(request, name).is_some())
            || !header(request, "a-im")?.eq_ignore_ascii_case("Incremental Feed")
        {
            return None;
        }
        let partition = header(request, "x-ms-documentdb-partitionkeyrangeid")?;
        let from = match header(request, "if-none-match") {
            None => Position::Beginning,
            Some("*") => Position::Now,
            // Those of the emulator may stand between two items with the same number.
            Some(etag) => Position::After(Token::parse(etag).filter(Token::is_behind_all)?.lsn),
        };
        let limit = header(request, "x-ms-max-item-count")
            .and_then(|limit| limit.trim().parse().ok())
            .filter(|limit| *limit > 0)
            .map_or(MAX_PAGE, |limit: usize| limit.min(MAX_PAGE));
        Some(Self {
            partition: without_container(partition).to_owned(),
            from,
            limit,
            envelopes: header(request, "x-ms-cosmos-changefeed-wire-format-version").is_some(),
        })
    }
}

/// Whether every version of an item is asked for, and deletions.
pub(in crate::cosmos) fn is_of_all_versions(request: &Request) -> bool {
    header(request, "a-im").is_some_and(|mode| mode.eq_ignore_ascii_case("Full-Fidelity Feed"))
}

/// A partition's number; clients may write `{container rid},{range id}`.
fn without_container(partition: &str) -> &str {
    partition.rsplit(',').next().unwrap_or(partition)
}

/// Answers from Microsoft's emulator, also where the position is of a partition that was split or merged since.
pub(in crate::cosmos) async fn translated(lineage: &Lineage, request: &Request, engine: &Engine) -> Answer {
    let partition = header(request, "x-ms-documentdb-partitionkeyrangeid")
        .and_then(|partition| without_container(partition).parse::<u32>().ok());
    let asked = header(request, "if-none-match").and_then(Token::parse);
    let here = asked
        .zip(partition)
        .and_then(|(token, partition)| lineage.translate(&token, partition));
    let mut answer = match here {
        Some(here) => {
            let mut request = request.clone();
            request.insert_header("if-none-match", here.to_string());
            engine.execute(&request).await
        }
        None => engine.execute(request).await,
    };
    if let Some(token) = answer.header("etag").and_then(Token::parse) {
        answer.headers.insert("etag", token.in_partition(partition).to_string());
    }
    answer
}

/// A partition's whole feed, which Microsoft's emulator gives in one page; the numbers come from the items.
/// `items` is the address of the container's `docs`, `key_paths` where items have their partition key.
pub(in crate::cosmos) async fn all(
    items: &Url,
    key_paths: &[String],
    partition: u32,
    engine: &Engine,
) -> Option<Vec<Place>> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(rename = "Documents")]
        documents: Vec<Value>,
    }
    let mut request = Request::new(items.clone(), Method::Get);
    request.insert_header("a-im", "Incremental Feed");
    request.insert_header("x-ms-documentdb-partitionkeyrangeid", partition.to_string());
    let answer = engine.execute(&request).await;
    let page = match answer.status {
        StatusCode::NotModified => return Some(Vec::new()),
        StatusCode::Ok => serde_json::from_slice::<Page>(&answer.body).ok()?,
        _ => return None,
    };
    let mut places = Vec::with_capacity(page.documents.len());
    for item in page.documents {
        // A missing value of a key is written as an empty object.
        let key: Value = key_paths
            .iter()
            .map(|path| item.pointer(path).cloned().unwrap_or_else(|| Value::Object(Map::new())))
            .collect();
        let key = ItemKey::new(&key.to_string(), item["id"].as_str()?)?;
        let read = item_request(items, Method::Get, &key);
        places.push(Place {
            lsn: engine.execute(&read).await.header("x-ms-item-lsn")?.parse().ok()?,
            item: key,
            rid: item["_rid"].as_str()?.to_owned(),
        });
    }
    Some(places)
}

/// Answers from the log. `None` if the emulator says something unexpected about an item; it is
/// then the one to ask.
pub(in crate::cosmos) async fn answer(
    log: &ChangeLog,
    container_rid: &str,
    feed: &FeedRequest,
    request: &Request,
    engine: &Engine,
) -> Option<Answer> {
    let after = match feed.from {
        Position::Beginning => 0,
        Position::After(lsn) => lsn,
        Position::Now => log.end(&feed.partition),
    };
    let changes = log.after(&feed.partition, after, feed.limit);
    let count = changes.items.len();
    let mut headers = Headers::new();
    headers.insert("x-ms-documentdb-partitionkeyrangeid", feed.partition.clone());
    headers.insert("content-type", "application/json");
    let place = Token::behind(feed.partition.parse().ok(), changes.lsn);
    headers.insert("etag", place.to_string());
    headers.insert("lsn", log.end(&feed.partition).to_string());
    headers.insert("x-ms-request-charge", "1.00");
    if !changes.session_token.is_empty() {
        headers.insert("x-ms-session-token", changes.session_token);
    }
    if let Some(activity) = header(request, "x-ms-activity-id") {
        headers.insert("x-ms-activity-id", activity.to_owned());
    }
    if count == 0 {
        return Some(Answer {
            status: StatusCode::NotModified,
            headers,
            body: Bytes::new(),
        });
    }
    headers.insert("x-ms-item-count", count.to_string());
    let mut body = Vec::from(br#"{"Documents":["#);
    for (index, item) in changes.items.iter().enumerate() {
        let read = engine.execute(&item_request(request.url(), Method::Get, item)).await;
        if read.status != StatusCode::Ok {
            return None;
        }
        if index > 0 {
            body.push(b',');
        }
        append(&mut body, &read, feed.envelopes)?;
    }
    body.extend_from_slice(format!(r#"],"_rid":"{container_rid}","_count":{count}}}"#).as_bytes());
    Some(Answer {
        status: StatusCode::Ok,
        headers,
        body: body.into(),
    })
}

/// Adds one item, alone or in the envelope of the latest-version feed.
fn append(body: &mut Vec<u8>, read: &Answer, envelope: bool) -> Option<()> {
    #[derive(Deserialize)]
    struct Written {
        #[serde(rename = "_ts")]
        at: u64,
    }
    let item = &read.body;
    if !envelope {
        body.extend_from_slice(item);
        return Some(());
    }
    let written: Written = serde_json::from_slice(item).ok()?;
    body.extend_from_slice(br#"{"current":"#);
    body.extend_from_slice(item);
    let lsn = read.header("x-ms-item-lsn")?;
    body.extend_from_slice(format!(r#","metadata":{{"lsn":{lsn},"crts":{}}}}}"#, written.at).as_bytes());
    Some(())
}
