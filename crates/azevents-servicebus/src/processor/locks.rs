//! Keeping the locks of several messages that one call has.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::renewal::{self, PAUSE};
use crate::error::Error;
use crate::management::Renewal;
use crate::message::ReceivedMessage;
use crate::receiver::Receiver;

/// The locks of messages that are not settled yet.
pub(super) struct Locks {
    held: Mutex<HashMap<Uuid, Lock>>,
    /// How long each is renewed.
    longest: Duration,
    added: Notify,
}

struct Lock {
    expires: Instant,
    renew_at: Instant,
    /// From here on it just runs out.
    give_up: Option<Instant>,
    /// Cancelled with it.
    lost: CancellationToken,
}

impl Lock {
    fn last_until(&mut self, until: OffsetDateTime) {
        let remaining = renewal::remaining(until);
        self.expires = Instant::now() + remaining;
        self.renew_at = Instant::now() + renewal::delay(remaining);
    }

    /// When it is renewed next, if at all.
    fn renewal(&self) -> Option<Instant> {
        Some(self.renew_at).filter(|at| self.give_up.is_none_or(|end| *at < end))
    }
}

impl Locks {
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            held: Mutex::default(),
            longest,
            added: Notify::new(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Uuid, Lock>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages that were received and deleted have none to keep.
    pub(super) fn add(&self, messages: &[ReceivedMessage]) {
        let now = Instant::now();
        let mut held = self.held();
        for message in messages {
            let (Some(token), Some(until)) = (message.lock_token(), message.locked_until()) else {
                continue;
            };
            let mut lock = Lock {
                expires: now,
                renew_at: now,
                give_up: now.checked_add(self.longest),
                lost: CancellationToken::new(),
            };
            lock.last_until(until);
            held.insert(token, lock);
        }
        drop(held);
        self.added.notify_one();
    }

    /// Cancelled when one of these messages' locks is lost, or was before.
    pub(super) fn watch(&self, messages: &[ReceivedMessage]) -> CancellationToken {
        let lost = CancellationToken::new();
        let mut held = self.held();
        for token in messages.iter().filter_map(ReceivedMessage::lock_token) {
            match held.get_mut(&token) {
                Some(lock) => lock.lost = lost.clone(),
                None => lost.cancel(),
            }
        }
        lost
    }

    /// Whether the message was locked for us and is no longer.
    pub(super) fn is_lost(&self, message: &ReceivedMessage) -> bool {
        message
            .lock_token()
            .is_some_and(|token| !self.held().contains_key(&token))
    }

    /// The message is about to be settled: its lock is no longer renewed, nor missed.
    pub(super) fn forget(&self, message: &ReceivedMessage) {
        if let Some(token) = message.lock_token() {
            self.held().remove(&token);
        }
    }

    /// Renews the locks until it is dropped. Tells `failed` of every attempt that did.
    pub(super) async fn keep(&self, receiver: &Receiver, failed: impl Fn(Error) + Sync) {
        loop {
            let (due, next) = self.due();
            if due.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = self.added.notified() => {}
                }
                continue;
            }
            let tell = |renewal| self.renewed(renewal, &failed);
            receiver.core().management.renew_each(&due, tell).await;
        }
    }

    /// Those to renew now, and when to look again. Locks that have run out are lost.
    fn due(&self) -> (Vec<Uuid>, Instant) {
        let now = Instant::now();
        let mut next = now + Duration::from_secs(3600);
        let mut due = Vec::new();
        self.held().retain(|token, lock| {
            if lock.expires <= now {
                lock.lost.cancel();
                return false;
            }
            match lock.renewal() {
                Some(at) if at <= now => {
                    due.push(*token);
                    // Unless it is renewed until then.
                    lock.renew_at = now + PAUSE;
                }
                at => next = next.min(at.unwrap_or(lock.expires)),
            }
            true
        });
        (due, next)
    }

    fn renewed(&self, renewal: Renewal, failed: &impl Fn(Error)) {
        match renewal {
            Renewal::Renewed(token, until) => {
                if let Some(lock) = self.held().get_mut(&token) {
                    lock.last_until(until);
                }
            }
            // One that was settled meanwhile is not missed.
            Renewal::Lost(token, error) => {
                if let Some(lock) = self.held().remove(&token) {
                    lock.lost.cancel();
                    failed(error);
                }
            }
            Renewal::Failed(error) => failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::message::{ServiceBusMessage, wire};

    fn locked(token: u128, seconds: u64) -> ReceivedMessage {
        let mut message = wire::from_amqp(wire::to_amqp(&ServiceBusMessage::new("body")), None, None);
        message.lock_token = Some(Uuid::from_u128(token));
        message.locked_until = Some(OffsetDateTime::now_utc() + Duration::from_secs(seconds));
        message
    }

    #[tokio::test(start_paused = true)]
    async fn locks_are_due_halfway_until_their_message_is_settled_and_lost_when_they_run_out() {
        let locks = Locks::new(Duration::MAX);
        let messages = [locked(1, 10), locked(2, 10), locked(3, 60)];
        locks.add(&messages);
        let lost = locks.watch(&messages[..2]);
        assert!(locks.due().0.is_empty());
        tokio::time::advance(Duration::from_secs(6)).await;
        locks.forget(&messages[0]);
        assert_eq!(locks.due().0, [Uuid::from_u128(2)]);
        assert!(locks.due().0.is_empty(), "not twice at once");
        tokio::time::advance(PAUSE).await;
        assert_eq!(
            locks.due().0,
            [Uuid::from_u128(2)],
            "an attempt without an answer is repeated"
        );
        assert!(!lost.is_cancelled());
        tokio::time::advance(Duration::from_secs(4)).await;
        locks.due();
        assert!(lost.is_cancelled());
        assert!(locks.is_lost(&messages[1]) && !locks.is_lost(&messages[2]));
        assert!(locks.watch(&messages).is_cancelled(), "one was lost before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lock_is_that_message_s_own_affair() {
        let locks = Locks::new(Duration::MAX);
        let messages = [locked(1, 10), locked(2, 10)];
        locks.add(&messages);
        let (first, second) = (locks.watch(&messages[..1]), locks.watch(&messages[1..]));
        let why = || Error::new(ErrorKind::MessageLockLost, "gone");
        locks.renewed(Renewal::Lost(Uuid::from_u128(1), why()), &|_| {});
        assert!(first.is_cancelled() && !second.is_cancelled());
        locks.forget(&messages[1]);
        locks.renewed(Renewal::Lost(Uuid::from_u128(2), why()), &|_| panic!("it was settled"));
        assert!(!second.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_time_a_lock_is_not_renewed() {
        let locks = Locks::new(Duration::from_secs(3));
        locks.add(&[locked(1, 10)]);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(locks.due().0.is_empty());
    }
}
