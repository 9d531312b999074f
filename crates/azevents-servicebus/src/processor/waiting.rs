//! Messages that wait for the handler, and how many of them it gets at once.

use std::collections::VecDeque;

use azevents_core::BatchLimits;
use tokio::time::Instant;

use crate::convert;
use crate::message::ReceivedMessage;

/// What the handler gets.
#[expect(
    clippy::large_enum_variant,
    reason = "the rule is one, which then needs no allocation"
)]
pub(super) enum Next {
    One(ReceivedMessage),
    /// At least two.
    Several(Vec<ReceivedMessage>),
}

/// In the order they came, which is a session's own. Without limits each message comes alone.
pub(super) struct Waiting {
    limits: Option<BatchLimits>,
    messages: VecDeque<ReceivedMessage>,
    /// The first ones that come one by one, since they did not work at once.
    alone: usize,
    /// Until when those that are here wait for others.
    until: Option<Instant>,
}

impl Waiting {
    pub(super) fn new(limits: Option<BatchLimits>) -> Self {
        Self {
            limits,
            messages: VecDeque::new(),
            alone: 0,
            until: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many more can be of use now.
    pub(super) fn room(&self) -> usize {
        self.most().saturating_sub(self.messages.len())
    }

    fn most(&self) -> usize {
        self.limits.map_or(1, |limits| limits.messages)
    }

    pub(super) fn extend(&mut self, received: Vec<ReceivedMessage>) {
        if self.messages.is_empty() {
            self.until = self.limits.and_then(|limits| Instant::now().checked_add(limits.linger));
        }
        self.messages.extend(received);
    }

    /// Until when it waits for others before it gives what it has; `None` where it does not.
    pub(super) fn lingers_until(&self) -> Option<Instant> {
        let waits = self.alone == 0 && !self.messages.is_empty() && self.room() > 0;
        self.until.filter(|until| waits && *until > Instant::now())
    }

    /// No others are waited for any more.
    pub(super) fn hurry(&mut self) {
        self.until = None;
    }

    /// The next ones for the handler, where there are enough.
    pub(super) fn next(&mut self) -> Option<Next> {
        if self.lingers_until().is_some() {
            return None;
        }
        let count = match self.limits {
            Some(limits) if self.alone == 0 => self.within(limits),
            _ => 1,
        };
        self.alone = self.alone.saturating_sub(1);
        if count < 2 {
            return self.messages.pop_front().map(Next::One);
        }
        Some(Next::Several(self.messages.drain(..count).collect()))
    }

    /// How many of the first ones make a batch.
    fn within(&self, limits: BatchLimits) -> usize {
        let mut bytes = 0;
        let fits = |message: &&ReceivedMessage| {
            bytes += convert::size(message);
            bytes <= limits.bytes
        };
        self.messages.iter().take(limits.messages).take_while(fits).count()
    }

    /// Takes messages back that did not work at once: they are the next ones, each alone.
    pub(super) fn take_apart(&mut self, batch: Vec<ReceivedMessage>) {
        self.alone += batch.len();
        for message in batch.into_iter().rev() {
            self.messages.push_front(message);
        }
    }

    pub(super) fn into_messages(self) -> VecDeque<ReceivedMessage> {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::message::{ServiceBusMessage, wire};

    fn messages(ids: &str) -> Vec<ReceivedMessage> {
        let message = |id: char| {
            let message = ServiceBusMessage::new(vec![0; 10]).with_message_id(id.to_string());
            wire::from_amqp(wire::to_amqp(&message), None, None)
        };
        ids.chars().map(message).collect()
    }

    fn next(waiting: &mut Waiting) -> Option<String> {
        let batch = match waiting.next()? {
            Next::One(one) => vec![one],
            Next::Several(batch) => batch,
        };
        Some(batch.iter().filter_map(ReceivedMessage::message_id).collect())
    }

    #[tokio::test]
    async fn batches_keep_to_their_limits_and_the_order() {
        // Each has 11 bytes.
        let limits = BatchLimits::default().with_messages(3).with_bytes(22);
        let mut waiting = Waiting::new(Some(limits));
        waiting.extend(messages("abcde"));
        assert_eq!(next(&mut waiting).as_deref(), Some("ab"));
        let Some(Next::Several(batch)) = waiting.next() else {
            panic!("two are there")
        };
        waiting.take_apart(batch);
        for alone in ["c", "d"] {
            assert_eq!(next(&mut waiting).as_deref(), Some(alone));
        }
        waiting.extend(messages("f"));
        assert_eq!(
            next(&mut waiting).as_deref(),
            Some("ef"),
            "what follows comes in batches again"
        );
        assert_eq!(next(&mut waiting), None);
    }

    #[tokio::test]
    async fn without_limits_each_message_comes_alone_and_at_once() {
        let mut waiting = Waiting::new(None);
        waiting.extend(messages("ab"));
        assert_eq!(next(&mut waiting).as_deref(), Some("a"));
        assert_eq!(next(&mut waiting).as_deref(), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_others_until_it_is_full_or_has_waited_long_enough() {
        let limits = BatchLimits::default()
            .with_messages(2)
            .with_linger(Duration::from_secs(1));
        let mut waiting = Waiting::new(Some(limits));
        waiting.extend(messages("a"));
        assert_eq!((next(&mut waiting), waiting.room()), (None, 1));
        waiting.extend(messages("bc"));
        assert_eq!(next(&mut waiting).as_deref(), Some("ab"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(next(&mut waiting).as_deref(), Some("c"));
    }
}
