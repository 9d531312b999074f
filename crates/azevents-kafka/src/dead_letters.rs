//! A topic as the place for dead letters.

use async_trait::async_trait;
use azevents_core::{DeadLetter, DeadLetterSink, Message, Publisher, Result};

use crate::publisher::KafkaPublisher;

/// Keeps dead letters in a topic, with the reason in two headers, under the same key: those of one key lie in
/// order. Acknowledged by all in-sync replicas before [`set_aside`](DeadLetterSink::set_aside) returns.
#[derive(Debug)]
pub struct KafkaDeadLetters(KafkaPublisher);

impl KafkaDeadLetters {
    /// Dead letters through a publisher of your own.
    pub fn new(publisher: KafkaPublisher) -> Self {
        Self(publisher)
    }
}

#[async_trait]
impl DeadLetterSink for KafkaDeadLetters {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> Result<()> {
        self.0
            .publish(&[why.mark(message)])
            .await
            .map_err(|failed| failed.error)
    }
}
