//! Dead letters in a list.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::dead_letter::{DeadLetter, DeadLetterSink};
use crate::error::Result;
use crate::message::Message;

/// A place for dead letters. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryDeadLetters(Arc<Mutex<Vec<(Message, DeadLetter)>>>);

impl MemoryDeadLetters {
    /// An empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was set aside, in order.
    pub fn all(&self) -> Vec<(Message, DeadLetter)> {
        lock(&self.0).clone()
    }
}

#[async_trait]
impl DeadLetterSink for MemoryDeadLetters {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> Result<()> {
        lock(&self.0).push((message.clone(), why.clone()));
        Ok(())
    }
}
