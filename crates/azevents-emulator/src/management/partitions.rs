//! Splitting and merging the physical partitions of a container.

use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::reply::{self, Reply};
use crate::Partitions;

/// What is to be done, in a request's body.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Split(u32),
    Merge([u32; 2]),
}

/// Answers for `{database}/{container}`, percent-encoded.
pub(super) async fn answer(partitions: &Partitions, container: &str, method: &Method, body: &[u8]) -> Reply {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let Some((database, container)) = container.split_once('/') else {
        return bad_request("Write /partitions/{database}/{container}.");
    };
    let (database, container) = (decoded(database), decoded(container));
    let changed = match *method {
        Method::GET => Ok(()),
        Method::POST => match serde_json::from_slice(body) {
            Ok(Change::Split(partition)) => partitions.split(&database, &container, partition).await.map(drop),
            Ok(Change::Merge(two)) => partitions.merge(&database, &container, two).await.map(drop),
            Err(error) => {
                return bad_request(&format!(
                    "The body says not what to change: {error}. Write {{\"split\":0}} or {{\"merge\":[1,2]}}."
                ));
            }
        },
        _ => {
            return reply::failed(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("/partitions takes GET and POST, not {method}."),
            );
        }
    };
    match changed {
        Ok(()) => reply::json(&serde_json::json!({ "partitions": partitions.list(&database, &container) })),
        Err(sentence) => bad_request(&sentence),
    }
}

fn bad_request(sentence: &str) -> Reply {
    reply::failed(StatusCode::BAD_REQUEST, sentence)
}
