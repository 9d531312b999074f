//! One lane: a queue of accepted messages, sent in order, one batch at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use azevents_core::{Error, ErrorKind, Message};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use super::Target;
use super::entry::Entry;
use super::sender::Sender;

/// How many messages of one key are looked for behind the first, where a batch holds one key only.
const LOOK_AHEAD: usize = 1_000;

/// Sends what comes through a queue until nobody can add to it and it is empty.
pub(super) struct Lane {
    pub(super) target: Arc<Target>,
    pub(super) queue: mpsc::UnboundedReceiver<Entry>,
    /// Ends the linger.
    pub(super) hurry: Arc<Notify>,
    pub(super) sender: Sender,
    /// Taken from the queue, oldest first.
    pub(super) waiting: VecDeque<Entry>,
}

impl Lane {
    /// To be spawned on the SDK's runtime. Nobody's dropping of a call stops it.
    pub(super) async fn run(mut self) {
        while self.fill().await {
            self.drop_blocked();
            let batch = self.choose();
            if !batch.is_empty() {
                self.send(&batch).await;
            }
        }
    }

    /// Waits for a message, lingers for others, and takes all there are. `false` at the end.
    async fn fill(&mut self) -> bool {
        if self.waiting.is_empty() {
            let Some(first) = self.queue.recv().await else {
                return false;
            };
            self.waiting.push_back(first);
            self.linger(self.target.options.linger).await;
        }
        while let Ok(next) = self.queue.try_recv() {
            self.waiting.push_back(next);
        }
        true
    }

    async fn linger(&mut self, linger: Duration) {
        let until = Instant::now() + linger;
        let mut bytes = self.waiting.iter().map(|entry| entry.message.size()).sum::<usize>();
        let hurry = self.hurry.clone();
        let hurried = hurry.notified();
        tokio::pin!(hurried);
        while !linger.is_zero() && bytes < self.target.options.batch_bytes {
            tokio::select! {
                biased;
                next = timeout_at(until, self.queue.recv()) => match next {
                    Ok(Some(next)) => {
                        bytes += next.message.size();
                        self.waiting.push_back(next);
                    }
                    // Time is up, or nobody is left to send more.
                    Ok(None) | Err(_) => return,
                },
                () = &mut hurried => return,
            }
        }
    }

    /// Gives up what stands behind a failed message of its call and key.
    fn drop_blocked(&mut self) {
        self.waiting.retain(|entry| !entry.is_blocked());
    }

    /// Places of the messages that may form the next batch.
    fn choose(&self) -> Vec<usize> {
        let limit = self.target.options.batch_bytes;
        let mut chosen = Vec::new();
        let mut bytes = 0;
        let one_key = self
            .sender
            .one_key
            .then(|| self.waiting.front().map(|first| &first.message.key));
        let ahead = one_key.map_or(usize::MAX, |_| LOOK_AHEAD);
        for (place, entry) in self.waiting.iter().enumerate().take(ahead) {
            if one_key.is_some_and(|key| key != Some(&entry.message.key)) {
                continue;
            }
            // An event without a key would get that of its batch, which is its first event's.
            if self.waiting[0].message.key.is_empty() != entry.message.key.is_empty() {
                break;
            }
            bytes += entry.message.size();
            if bytes > limit && !chosen.is_empty() {
                break;
            }
            chosen.push(place);
        }
        chosen
    }

    async fn send(&mut self, places: &[usize]) {
        let messages: Vec<&Message> = places.iter().map(|place| &self.waiting[*place].message).collect();
        let mut sent = self.sender.send(&messages).await;
        if messages.len() > 1 && sent.as_ref().is_err_and(blames_message) {
            // Whose fault it is shows when each goes alone.
            sent = self.sender.send(&messages[..1]).await;
        }
        match sent {
            Ok(count) => {
                for entry in self.take(&places[..count]) {
                    entry.acknowledge();
                }
            }
            Err(error) if blames_message(&error) => {
                if let Some(entry) = self.take(&places[..1]).pop() {
                    entry.refuse(error);
                }
            }
            Err(error) => self.stop(&Arc::new(error)),
        }
    }

    /// Takes messages out of the queue, by places in ascending order.
    fn take(&mut self, places: &[usize]) -> Vec<Entry> {
        if places.last().is_some_and(|last| last + 1 == places.len()) {
            return self.waiting.drain(..places.len()).collect();
        }
        let mut taken: Vec<_> = places
            .iter()
            .rev()
            .filter_map(|place| self.waiting.remove(*place))
            .collect();
        taken.reverse();
        taken
    }

    /// Fails everything that was accepted before now: what stands behind the failed batch would overtake it.
    fn stop(&mut self, error: &Arc<Error>) {
        while let Ok(next) = self.queue.try_recv() {
            self.waiting.push_back(next);
        }
        for entry in self.waiting.drain(..) {
            entry.stop(error);
        }
    }
}

/// Whether the message itself can never be sent. A missing hub or a refused credential is permanent too, but
/// no message's fault.
fn blames_message(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::InvalidInput)
}
