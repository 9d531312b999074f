//! Receiving from a broker.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::pipeline::Pipeline;

/// Receives from one source (a queue, a subscription, a consumer group) and hands every message to a
/// [`Pipeline`].
///
/// # Contract
/// - Every message is passed to [`Pipeline::process`] at least once, and settled as it answers. Settling
///   comes after the pipeline has answered, never before: a crash in between repeats the message.
/// - Messages with the same key are processed one after another, in order, where the source keeps order
///   (session subscriptions, event hubs).
/// - `run` recovers from lost connections by itself. It returns an error only for what an operator must
///   mend: the entity does not exist, the credential is refused.
/// - When `stop` is cancelled, no new message is taken, running handlers are waited for and settled, and
///   `run` returns `Ok`. Dropping the future instead is a crash: unsettled messages come again.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Receives until `stop` is cancelled.
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<()>;
}
