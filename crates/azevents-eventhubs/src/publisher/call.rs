//! What has become of the messages of one call.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use azevents_core::{Error, ErrorKind, PublishError};
use tokio::sync::Notify;

/// The messages of one call, shared by the lanes that send them and whoever waits for them.
#[derive(Debug)]
pub(super) struct Call {
    state: Mutex<State>,
    done: Notify,
}

#[derive(Debug)]
struct State {
    acknowledged: Vec<bool>,
    /// Messages of which nothing is known yet.
    open: usize,
    /// Keys of which a message failed: those behind it are not sent, for they would overtake it.
    blocked: HashSet<String>,
    /// Messages that can never be sent.
    refused: Vec<(usize, Error)>,
    /// Why others were not sent.
    stopped: Option<Error>,
}

impl Call {
    pub(super) fn new(messages: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                acknowledged: vec![false; messages],
                open: messages,
                blocked: HashSet::new(),
                refused: Vec::new(),
                stopped: None,
            }),
            done: Notify::new(),
        })
    }

    /// Whether a message with this key must not be sent any more.
    pub(super) fn blocks(&self, key: &str) -> bool {
        self.lock().blocked.contains(key)
    }

    /// The service has this message.
    pub(super) fn acknowledge(&self, index: usize) {
        let mut state = self.lock();
        state.acknowledged[index] = true;
        self.close(state, 1);
    }

    /// This message can never be sent, and those of its key behind it are not.
    pub(super) fn refuse(&self, index: usize, key: &str, error: Error) {
        let mut state = self.lock();
        state.blocked.insert(key.to_owned());
        state.refused.push((index, error));
        self.close(state, 1);
    }

    /// A message was not sent for a reason that is not its own.
    pub(super) fn stop(&self, key: &str, error: &Arc<Error>) {
        let mut state = self.lock();
        if !state.blocked.contains(key) {
            state.blocked.insert(key.to_owned());
        }
        state.stopped.get_or_insert_with(|| repeat(error));
        self.close(state, 1);
    }

    /// Nothing more will be heard of `count` messages: they stand behind a failed one of their key, or were
    /// never handed over.
    pub(super) fn give_up(&self, count: usize) {
        self.close(self.lock(), count);
    }

    /// Waits until the fate of every message is known.
    pub(super) async fn done(&self) {
        loop {
            // Registered before looking, so that no ring is missed.
            let rung = self.done.notified();
            if self.lock().open == 0 {
                return;
            }
            rung.await;
        }
    }

    /// Whether the fate of every message is known.
    pub(super) fn is_done(&self) -> bool {
        self.lock().open == 0
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.lock().acknowledged.len()
    }

    /// How many messages the service has not acknowledged.
    pub(super) fn missing(&self) -> usize {
        self.lock().acknowledged.iter().filter(|done| !**done).count()
    }

    /// The answer to the caller: the first message that was not acknowledged decides, so that a permanent
    /// error always stands for the message at `accepted`.
    pub(super) fn result(&self, hub: &str) -> Result<(), PublishError> {
        let mut state = self.lock();
        let Some(accepted) = state.acknowledged.iter().position(|done| !done) else {
            return Ok(());
        };
        let blamed = state.refused.iter().position(|(index, _)| *index == accepted);
        let error = match blamed {
            Some(place) => state.refused.swap_remove(place).1,
            None => state.stopped.take().unwrap_or_else(|| {
                Error::new(ErrorKind::OutcomeUnknown, "publish", hub).with_message("sending ended without an answer")
            }),
        };
        Err(PublishError::after(accepted, error))
    }

    fn close(&self, mut state: MutexGuard<'_, State>, count: usize) {
        state.open = state.open.saturating_sub(count);
        if state.open == 0 {
            drop(state);
            self.done.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls of a publisher of which something may be open.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Some of them are done.
    calls: Vec<Arc<Call>>,
    /// Where those are forgotten: at twice what was open the last time, so that adding stays cheap.
    forget_at: usize,
}

impl Calls {
    pub(super) fn add(&mut self, call: &Arc<Call>) {
        if self.calls.len() >= self.forget_at {
            self.calls.retain(|call| !call.is_done());
            self.forget_at = (self.calls.len() * 2).max(64);
        }
        self.calls.push(call.clone());
    }

    pub(super) fn open(&self) -> Vec<Arc<Call>> {
        self.calls.iter().filter(|call| !call.is_done()).cloned().collect()
    }
}

/// The same error once more: one failed send may fail several calls.
pub(super) fn repeat(error: &Arc<Error>) -> Error {
    let prefix = format!("{} {}: ", error.operation(), error.subject());
    let text = error.to_string();
    let repeated = Error::new(error.kind(), error.operation(), error.subject())
        .with_message(text.strip_prefix(&prefix).unwrap_or(&text))
        .with_source(Shared(error.clone()));
    match error.retry_after() {
        Some(delay) => repeated.with_retry_after(delay),
        None => repeated,
    }
}

/// An error that several errors have as their cause.
#[derive(Debug)]
struct Shared(Arc<Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "publish", "hub")
    }

    fn result(
        messages: usize,
        acknowledged: &[usize],
        refused: Option<usize>,
        stopped: bool,
    ) -> Option<(usize, ErrorKind)> {
        let call = Call::new(messages);
        for index in acknowledged {
            call.acknowledge(*index);
        }
        if let Some(index) = refused {
            call.refuse(index, "key", error(ErrorKind::TooLarge));
        }
        if stopped {
            call.stop("key", &Arc::new(error(ErrorKind::Unavailable)));
        }
        call.result("hub").err().map(|e| (e.accepted, e.error.kind()))
    }

    #[test]
    fn accepted_is_the_length_of_the_acknowledged_beginning() {
        assert_eq!(result(3, &[0, 1, 2], None, false), None);
        assert_eq!(result(4, &[0, 2, 3], None, true), Some((1, ErrorKind::Unavailable)));
    }

    #[test]
    fn a_permanent_error_always_blames_the_message_at_accepted() {
        assert_eq!(result(3, &[0, 2], Some(1), false), Some((1, ErrorKind::TooLarge)));
        // Message 0 may well go through next time; only then is it message 1's turn.
        assert_eq!(result(3, &[2], Some(1), true), Some((0, ErrorKind::Unavailable)));
    }

    #[test]
    fn one_failed_send_tells_every_call_why() {
        let cause = Arc::new(
            Error::new(ErrorKind::Throttled, "publish", "hub")
                .with_message("busy")
                .with_retry_after(std::time::Duration::from_secs(4)),
        );
        let again = repeat(&cause);
        assert_eq!(again.to_string(), cause.to_string());
        assert_eq!(again.retry_after(), cause.retry_after());
        assert!(again.is_transient());
    }
}
