//! What a request costs in request units.
//!
//! The service doesn't publish its formula. This is a model that meets the figures which are
//! published, so that a change that makes a service dearer shows in a test. The figures:
//!
//! | figure | source |
//! | --- | --- |
//! | a point read of 1 KB: 1 RU, of 100 KB: 10 RU | "Optimize request cost in Azure Cosmos DB" |
//! | inserting 1 KB without indexing: about 5.5 RU; each indexed property adds to it | the same |
//! | small item: create 5.71, replace 10.67, delete 5.71 | Azure Cosmos DB capacity planner |
//! | each of two items of a batch: 6.2857 | a live account, in Microsoft's in-memory emulator |
//! | writing 100 KB: ten times writing 1 KB | "Key-value store cost with Azure Cosmos DB" |
//! | a query that finds one item of 10 KB: 3.19 | "SQL query execution metrics" |
//! | a patch costs what a replace does | "Partial document update: frequently asked questions" |
//!
//! Charges of the service come in steps of 4/21 RU, which is taken as the price of one indexed
//! value. What the model leaves out: what a query reads without returning it, stronger consistency
//! than session, regions, and that inserts grow dearer as a partition fills.

mod indexing;

use azure_core::http::Method;

pub(super) use indexing::IndexingPolicy;

use super::engine::Answer;

/// A point read of an item that isn't there, or is as the client knows it.
pub(super) const NOTHING_READ: f64 = 1.0;

/// A write that is refused: the item is there already, isn't there, or has another etag. The
/// figure is the one of Microsoft's emulator for an operation of a batch.
pub(super) const REFUSED: f64 = 1.24;

/// Reads and changes of databases, containers and throughput.
pub(super) const METADATA: f64 = 1.0;

/// Writing 1 KB without an indexed value.
const WRITE: f64 = 116.0 / 21.0;

/// One indexed value.
const INDEXED_VALUE: f64 = 4.0 / 21.0;

/// How much dearer replacing an item is than creating it: 10.67 to 5.71.
const REPLACE: f64 = 28.0 / 15.0;

/// The least a page of a query costs.
const QUERY: f64 = 2.3;

/// What each KB after the first adds to a read: from 1 RU at 1 KB to 10 RU at 100 KB.
const READ_EACH_KB: f64 = 1.0 / 11.0;

/// What makes an item dear to write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    bytes: usize,
    indexed_values: usize,
}

impl Weight {
    /// Of an item in JSON.
    pub(super) fn of(item: &[u8], policy: &IndexingPolicy) -> Self {
        Self {
            bytes: item.len(),
            indexed_values: serde_json::from_slice(item).map_or(0, |item| policy.indexed_values(&item)),
        }
    }
}

pub(super) fn point_read(bytes: usize) -> f64 {
    size_factor(bytes)
}

/// Creating an item, also by an upsert.
pub(super) fn create(item: Weight) -> f64 {
    WRITE * size_factor(item.bytes) + INDEXED_VALUE * item.indexed_values as f64
}

/// Replacing an item, also by an upsert or a patch.
pub(super) fn replace(item: Weight) -> f64 {
    REPLACE * create(item)
}

/// Deleting an item: what it has cost to create.
pub(super) fn delete(item: Weight) -> f64 {
    create(item)
}

/// A write of one item that was answered with `status`.
pub(super) fn write(method: Method, status: u16, item: Weight) -> f64 {
    match (method, status) {
        (Method::Delete, 200..300) => delete(item),
        (_, 201) => create(item),
        (_, 200..300) => replace(item),
        _ => REFUSED,
    }
}

/// A page of a query that returns this much.
pub(super) fn query(bytes: usize) -> f64 {
    QUERY + READ_EACH_KB * bytes as f64 / 1024.0
}

/// A page of the change feed.
pub(super) fn changes(bytes: usize) -> f64 {
    NOTHING_READ + READ_EACH_KB * bytes as f64 / 1024.0
}

/// Tells the client what its request has cost.
pub(super) fn set(answer: &mut Answer, charge: f64) {
    answer.headers.insert("x-ms-request-charge", format!("{charge:.2}"));
}

/// 1 at 1 KB, 10 at 100 KB, in steps of 1 KB.
fn size_factor(bytes: usize) -> f64 {
    let kilobytes = bytes.div_ceil(1024).max(1);
    1.0 + READ_EACH_KB * (kilobytes - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn about(charge: f64, published: f64) {
        assert!((charge - published).abs() < 0.03, "{charge} is not {published}");
    }

    fn item(bytes: usize, indexed_values: usize) -> Weight {
        Weight { bytes, indexed_values }
    }

    #[test]
    fn published_figures_are_met() {
        about(point_read(1000), 1.0);
        about(point_read(100 * 1024), 10.0);
        about(create(item(1000, 0)), 5.52);
        about(create(item(50, 1)), 5.71);
        about(create(item(200, 4)), 6.2857);
        about(replace(item(50, 1)), 10.67);
        about(delete(item(50, 1)), 5.71);
        about(create(item(100 * 1024, 0)), 10.0 * create(item(1024, 0)));
        about(query(9_963), 3.19);
    }

    #[test]
    fn more_to_index_or_to_store_costs_more() {
        assert!(create(item(100, 5)) > create(item(100, 4)));
        assert!(create(item(1025, 0)) > create(item(1024, 0)));
        about(create(item(1, 0)), create(item(1024, 0)));
    }
}
