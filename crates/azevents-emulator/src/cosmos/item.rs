//! Requests about one item that the emulator's front sends on its own account.

use azure_core::http::{Method, Request};
use bytes::Bytes;
use url::Url;

use super::{changes::ItemKey, writes::RESPONSE_ON_WRITE};

/// The address of an item, or of all; `items` is that of its container's `docs`.
pub(super) fn address(items: &Url, id: Option<&str>) -> Url {
    let mut url = items.clone();
    url.set_query(None);
    if let (Ok(mut segments), Some(id)) = (url.path_segments_mut(), id) {
        segments.push(id);
    }
    url
}

/// A request for an item; `items` is the address of its container's `docs`.
pub(super) fn item_request(items: &Url, method: Method, item: &ItemKey) -> Request {
    let mut request = Request::new(address(items, Some(&item.id)), method);
    request.insert_header("x-ms-documentdb-partitionkey", item.partition_key.to_string());
    request
}

/// A request to write an item whether or not it is there, and not to send it back.
pub(super) fn upsert_request(items: &Url, item: &ItemKey, text: Bytes) -> Request {
    let mut request = Request::new(items.clone(), Method::Post);
    request.insert_header("x-ms-documentdb-partitionkey", item.partition_key.to_string());
    request.insert_header("x-ms-documentdb-is-upsert", "true");
    request.insert_header(RESPONSE_ON_WRITE, "false");
    request.set_body(text);
    request
}
