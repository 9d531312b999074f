//! Requests about one item that the emulator's front sends on its own account.

use azure_core::http::{Method, Request};
use url::Url;

use super::changes::ItemKey;

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
