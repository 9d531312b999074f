//! Messages that have arrived and were not asked for yet, and what callers ask for.
//!
//! A message leaves the buffer in the same step in which a caller gets it, so a receive that is dropped
//! loses nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::message::ReceivedMessage;
use crate::processor::renewal;

/// Look at least this often for locks to renew.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Buffer {
    prefetch: AtomicUsize,
    /// Whether each message has a lock of its own. In a session it has not: the session's lock is renewed
    /// for all of them, and leaving one out would let those behind it overtake it.
    own_locks: bool,
    state: Mutex<State>,
    /// Callers wait here for messages, errors and the end.
    arrived: Notify,
    /// The link's task waits here for callers.
    wanted: Notify,
    /// Cancelled when there will be no more messages.
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Entry>,
    /// Messages that waiting callers would take.
    demand: usize,
    /// The last failure and how many there have been: callers leave with those that happen while they wait.
    failure: Option<Error>,
    failures: u64,
    /// Why there will be no more messages.
    end: Option<Error>,
}

#[derive(Debug)]
struct Entry {
    message: ReceivedMessage,
    /// When its lock expires by our own clock; after that it belongs to somebody else.
    expires: Option<Instant>,
    /// When it should be renewed, where it waits that long.
    renew_at: Option<Instant>,
    arrived: Instant,
}

impl Entry {
    fn locked_until(&mut self, until: OffsetDateTime) {
        let remaining = remaining(until);
        self.expires = remaining.map(|remaining| Instant::now() + remaining);
        self.renew_at = remaining.map(|remaining| Instant::now() + renewal::delay(remaining));
    }
}

/// A caller's demand, withdrawn when the caller leaves.
struct Demand<'a> {
    buffer: &'a Buffer,
    count: usize,
}

impl Drop for Demand<'_> {
    fn drop(&mut self) {
        self.buffer.lock().demand -= self.count;
        self.buffer.wanted.notify_one();
    }
}

impl Buffer {
    pub(super) fn new(prefetch: u32, own_locks: bool) -> Self {
        Self {
            prefetch: AtomicUsize::new(prefetch as usize),
            own_locks,
            state: Mutex::default(),
            arrived: Notify::new(),
            wanted: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    fn prefetch(&self) -> usize {
        self.prefetch.load(Ordering::Relaxed)
    }

    /// Changes how many messages are fetched ahead. Those that are here already stay.
    pub(super) fn set_prefetch(&self, count: usize) {
        if self.prefetch.swap(count, Ordering::Relaxed) != count {
            self.wanted.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `max` messages as soon as there is one; none after `wait`.
    pub(super) async fn take(&self, max: usize, wait: Option<Duration>) -> Result<Vec<ReceivedMessage>> {
        let deadline = wait.map(|wait| Instant::now() + wait);
        let failures = {
            let mut state = self.lock();
            state.demand += max;
            state.failures
        };
        let _demand = Demand {
            buffer: self,
            count: max,
        };
        self.wanted.notify_one();
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Listen before looking, so that nothing that happens in between is missed.
            arrived.as_mut().enable();
            {
                let mut state = self.lock();
                let taken = state.take(max);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                if let Some(end) = &state.end {
                    return Err(end.clone());
                }
                if let Some(failure) = state.failure.as_ref().filter(|_| state.failures > failures) {
                    return Err(failure.clone());
                }
            }
            match deadline {
                None => arrived.await,
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                        return Ok(self.lock().take(max));
                    }
                }
            }
        }
    }

    pub(super) fn push(&self, message: ReceivedMessage) {
        let locked_until = message.locked_until.filter(|_| self.own_locks);
        let mut entry = Entry {
            message,
            expires: None,
            renew_at: None,
            arrived: Instant::now(),
        };
        if let Some(until) = locked_until {
            entry.locked_until(until);
        }
        self.lock().messages.push_back(entry);
        self.arrived.notify_waiters();
    }

    /// Everybody who waits leaves with `error`; who comes later waits anew.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.failure = Some(error);
        state.failures += 1;
        drop(state);
        self.arrived.notify_waiters();
    }

    /// What is here can still be taken, then everybody leaves with `error`.
    pub(super) fn end(&self, error: Error) {
        self.lock().end.get_or_insert(error);
        self.ended.cancel();
        self.arrived.notify_waiters();
    }

    /// Cancelled by [`end`](Self::end).
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Locks that should be renewed now, of messages that came at most `max_age` ago; and when to look again.
    pub(super) fn due(&self, max_age: Duration) -> (Vec<Uuid>, Duration) {
        let now = Instant::now();
        let mut due = Vec::new();
        let mut pause = LOOK;
        for entry in &self.lock().messages {
            let (Some(expires), Some(renew_at), Some(token)) =
                (entry.expires, entry.renew_at, entry.message.lock_token)
            else {
                continue;
            };
            if now.duration_since(entry.arrived) > max_age || expires <= now {
                continue;
            }
            if renew_at <= now {
                due.push(token);
            } else {
                pause = pause.min(renew_at - now);
            }
        }
        (due, pause)
    }

    /// Notes the new end of a lock.
    pub(super) fn renewed(&self, token: Uuid, until: OffsetDateTime) {
        let mut state = self.lock();
        let entry = state
            .messages
            .iter_mut()
            .find(|entry| entry.message.lock_token == Some(token));
        // Taken meanwhile: then it is its taker's to renew, and the new end only helps.
        if let Some(entry) = entry {
            entry.message.locked_until = Some(until);
            entry.locked_until(until);
        }
    }

    /// Takes out everything, for handing it back to the broker.
    pub(super) fn clear(&self) -> Vec<ReceivedMessage> {
        self.lock().messages.drain(..).map(|entry| entry.message).collect()
    }

    /// How many more messages the broker should be asked for.
    pub(super) fn shortfall(&self) -> usize {
        let state = self.lock();
        self.prefetch().max(state.demand).saturating_sub(state.messages.len())
    }

    /// Whether nobody waits, and nothing is to be fetched ahead either.
    pub(super) fn is_idle(&self) -> bool {
        self.prefetch() == 0 && !self.is_wanted()
    }

    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().demand > 0
    }

    /// Returns when demand may have changed.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl State {
    fn take(&mut self, max: usize) -> Vec<ReceivedMessage> {
        let now = Instant::now();
        let mut taken = Vec::with_capacity(max.min(self.messages.len()));
        while taken.len() < max {
            let Some(entry) = self.messages.pop_front() else { break };
            if entry.expires.is_some_and(|expires| expires <= now) {
                // Its lock is gone and it will be delivered again: handling it here would be a copy too many.
                tracing::debug!(
                    id = entry.message.message_id(),
                    "a prefetched message expired before its turn"
                );
                continue;
            }
            taken.push(entry.message);
        }
        taken
    }
}

/// What remains of a lock by our own clock. A lock that seems over on arrival only says that the clocks
/// differ: then nothing is known.
fn remaining(locked_until: OffsetDateTime) -> Option<Duration> {
    Some(renewal::remaining(locked_until)).filter(|remaining| !remaining.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::message::{ServiceBusMessage, wire};
    use futures::FutureExt;

    fn message(id: &str) -> ReceivedMessage {
        wire::from_amqp(
            wire::to_amqp(&ServiceBusMessage::new("").with_message_id(id)),
            None,
            None,
        )
    }

    #[tokio::test]
    async fn a_receive_that_is_dropped_loses_nothing_and_withdraws_its_demand() {
        let buffer = Buffer::new(0, true);
        {
            let mut receive = std::pin::pin!(buffer.take(2, None));
            assert!(receive.as_mut().now_or_never().is_none());
            assert_eq!(buffer.shortfall(), 2);
            buffer.push(message("1"));
        }
        assert!(!buffer.is_wanted());
        let received = buffer.take(2, None).await.unwrap();
        assert_eq!(received[0].message_id(), Some("1"));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_empty_at_the_deadline() {
        let buffer = Buffer::new(0, true);
        assert!(buffer.take(1, Some(Duration::from_secs(1))).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_failure_reaches_those_who_wait_and_not_those_who_come_later() {
        let buffer = Buffer::new(0, true);
        let mut receive = std::pin::pin!(buffer.take(1, None));
        assert!(receive.as_mut().now_or_never().is_none());
        buffer.fail(Error::new(ErrorKind::EntityNotFound, "gone"));
        assert_eq!(receive.await.unwrap_err().kind(), ErrorKind::EntityNotFound);
        assert!(buffer.take(1, None).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_whose_lock_ran_out_in_the_buffer_is_not_handed_out() {
        let buffer = Buffer::new(10, true);
        let mut expiring = message("1");
        expiring.locked_until = Some(OffsetDateTime::now_utc() + Duration::from_secs(30));
        buffer.push(expiring);
        buffer.push(message("2"));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(buffer.take(2, None).await.unwrap()[0].message_id(), Some("2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_in_the_buffer_is_due_halfway_and_lives_on_when_renewed() {
        let buffer = Buffer::new(10, true);
        let token = Uuid::from_u128(7);
        let mut waiting = message("1");
        waiting.lock_token = Some(token);
        waiting.locked_until = Some(OffsetDateTime::now_utc() + Duration::from_secs(10));
        buffer.push(waiting);
        assert!(buffer.due(Duration::MAX).0.is_empty());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(buffer.due(Duration::MAX).0, [token]);
        assert!(buffer.due(Duration::from_secs(5)).0.is_empty(), "older than allowed");
        // The calendar stands still while tokio's clock jumps.
        buffer.renewed(token, OffsetDateTime::now_utc() + Duration::from_secs(10));
        assert!(buffer.due(Duration::MAX).0.is_empty());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(buffer.take(1, None).await.unwrap()[0].message_id(), Some("1"));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_session_no_message_overtakes_one_that_has_waited_long() {
        let buffer = Buffer::new(10, false);
        let mut early = message("1");
        early.locked_until = Some(OffsetDateTime::now_utc() + Duration::from_secs(30));
        buffer.push(early);
        buffer.push(message("2"));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(buffer.take(2, None).await.unwrap()[0].message_id(), Some("1"));
    }
}
