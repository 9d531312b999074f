//! Options that every request of this crate carries, and small helpers around the SDK's types.

use std::num::NonZeroU32;
use std::time::Duration;

use azevents_core::Result;
use azure_core::http::Etag;
use azure_data_cosmos::models::TransactionalBatchResponse;
use azure_data_cosmos::options::{
    BinaryEncodingOptions, ItemReadOptions, ItemWriteOptions, MaxItemCountHint, OperationOptions, Precondition,
    QueryOptions,
};
use uuid::Uuid;

/// Most operations of one batch (Azure Cosmos DB service quotas).
pub(crate) const MAX_BATCH_OPERATIONS: usize = 100;
/// Most bytes of one item, and of one batch (Azure Cosmos DB service quotas).
pub(crate) const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes of a partition key, all levels together (Azure Cosmos DB service quotas, large keys).
pub(crate) const MAX_KEY_BYTES: usize = 2048;
/// Room in a batch for what surrounds each document: the name of the operation, commas, brackets.
pub(crate) const OPERATION_BYTES: usize = 128;
/// Room in a request for what surrounds the documents: names of operations, commas, brackets.
pub(crate) const ENVELOPE_BYTES: usize = 512;

/// A time to live as the service takes it: whole seconds from 1 to 2^31 - 1.
pub(crate) fn ttl_seconds(ttl: Duration) -> u32 {
    ttl.as_secs().clamp(1, i32::MAX as u64) as u32
}

/// Answers come as text: raw JSON inside a document, which is handed on without parsing it, has no
/// form in Cosmos DB's binary encoding.
pub(crate) fn operation() -> OperationOptions {
    let mut options = OperationOptions::default();
    options.binary_encoding = Some(BinaryEncodingOptions::new().with_enabled(false));
    options
}

pub(crate) fn read() -> ItemReadOptions {
    ItemReadOptions::default().with_operation_options(operation())
}

pub(crate) fn write() -> ItemWriteOptions {
    ItemWriteOptions::default().with_operation_options(operation())
}

/// A write that fails with 412 unless the item still has this etag.
pub(crate) fn write_if(etag: &Etag) -> ItemWriteOptions {
    write().with_precondition(Precondition::IfMatch(etag.clone()))
}

pub(crate) fn query(page: Option<NonZeroU32>) -> QueryOptions {
    let options = QueryOptions::default().with_operation_options(operation());
    match page {
        Some(items) => options.with_max_item_count(MaxItemCountHint::Limit(items)),
        None => options,
    }
}

/// The operation that made a batch fail: its index and status. The others answer 424, "failed
/// dependency".
pub(crate) fn failure(answer: &TransactionalBatchResponse) -> Option<(usize, u16)> {
    let failed = |status: u16| status >= 400;
    let results = answer.results();
    let culprit = results
        .iter()
        .position(|result| failed(result.status_code()) && result.status_code() != 424)
        .or_else(|| results.iter().position(|result| failed(result.status_code())))?;
    Some((culprit, results[culprit].status_code()))
}

/// Counts the bytes of a value's JSON without keeping it.
pub(crate) fn json_len<T: serde::Serialize + ?Sized>(value: &T) -> serde_json::Result<usize> {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value)?;
    Ok(counter.0)
}

/// How often a write whose outcome is unknown is repeated to find out.
const REPETITIONS: u32 = 4;
/// Bound of the pause before the first repetition; it doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// Repeats a write while its error is transient, a few times. Only for writes that recognise
/// themselves: the SDK repeats on its own as well, so the first answer may already follow a success.
pub(crate) async fn settled<T, F>(operation: &'static str, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = PAUSE;
    for _ in 0..REPETITIONS {
        match attempt().await {
            Err(error) if error.is_transient() => {
                let wait = error.retry_after().unwrap_or_else(|| jittered(pause));
                tracing::debug!(operation, %error, ?wait, "repeated");
                tokio::time::sleep(wait).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}

/// A time between zero and `bound`, so that those who failed together don't come back together.
pub(crate) fn jittered(bound: Duration) -> Duration {
    // A version 4 UUID is 122 random bits; this crate needs no generator for anything else.
    let random = Uuid::new_v4().as_u64_pair().1 as u32;
    bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Pages of one item.
pub(crate) fn one() -> Option<NonZeroU32> {
    NonZeroU32::new(1)
}
