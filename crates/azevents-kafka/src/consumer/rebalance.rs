//! What happens when the group shares out its partitions anew.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::OAuthToken;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::options::StartFrom;
use super::session::{Phase, Session};
use crate::client::Context;

/// How long the broker may take to say what is committed, while a partition is being assigned.
const ASK: Duration = Duration::from_secs(10);

/// The context of a consumer: what happens when the group shares out its partitions anew. Called on the
/// poller's thread.
pub(super) struct Rebalancing(pub(super) Arc<Session>);

impl ClientContext for Rebalancing {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.context.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.0.context.generate_oauth_token(config)
    }
}

impl ConsumerContext for Rebalancing {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let session = &self.0;
        match rebalance {
            Rebalance::Assign(assigned) => {
                tracing::debug!(
                    topic = session.topic,
                    partitions = assigned.count(),
                    "partitions assigned"
                );
                if session.options.start == StartFrom::Latest
                    && let Err(error) = begin_at_the_end(consumer, assigned)
                {
                    tracing::warn!(topic = session.topic, %error, "the end of new partitions could not be committed");
                }
            }
            Rebalance::Revoke(revoked) => {
                tracing::debug!(
                    topic = session.topic,
                    partitions = revoked.count(),
                    "partitions revoked"
                );
                let due = session.give_up(revoked);
                if due.count() == 0 || session.phase() == Phase::Crashed || consumer.assignment_lost() {
                    return;
                }
                if let Err(error) = consumer.commit(&due, CommitMode::Sync) {
                    tracing::info!(topic = session.topic, %error, "offsets of revoked partitions not committed");
                }
            }
            Rebalance::Error(error) => tracing::warn!(topic = session.topic, %error, "rebalance failed"),
        }
    }
}

/// Commits the end of newly assigned partitions of which the group has committed nothing, so that a
/// restart does not skip what is published in between.
fn begin_at_the_end(consumer: &BaseConsumer<Rebalancing>, assigned: &TopicPartitionList) -> KafkaResult<()> {
    let committed = consumer.committed_offsets(assigned.clone(), ASK)?;
    let mut begin = TopicPartitionList::new();
    for element in committed.elements() {
        if element.offset() == Offset::Invalid {
            let (_, end) = consumer.fetch_watermarks(element.topic(), element.partition(), ASK)?;
            begin.add_partition_offset(element.topic(), element.partition(), Offset::Offset(end))?;
        }
    }
    if begin.count() == 0 {
        return Ok(());
    }
    consumer.commit(&begin, CommitMode::Sync)
}
