//! Taking the chosen dead letters out of the queue.
//!
//! A queue gives its messages in order, and none by its number. So the chosen ones are found by peeking first;
//! then everything is received, and what was not chosen stays locked until the end, so that it is not
//! received over and over.

use std::collections::HashSet;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::copy;
use super::options::{RedriveOptions, RedriveReport};
use crate::error::{ErrorKind, Result};
use crate::message::{ReceivedMessage, ServiceBusMessage};
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Messages received at once: few enough to be dealt with while their locks last.
const BATCH: usize = 50;
/// How long one receive waits.
const WAIT: Duration = Duration::from_secs(1);
/// A lock that ends sooner is not relied on: the message comes again.
const MARGIN: time::Duration = time::Duration::seconds(1);

/// What is done with a dead letter before it is taken out.
pub(super) enum Action {
    Send { sender: Sender, mark: Option<String> },
    Purge,
}

pub(super) struct Sweep<'a> {
    entity: &'a str,
    options: &'a RedriveOptions,
    action: Action,
    /// Numbers of the chosen messages that are still in the queue.
    wanted: HashSet<i64>,
    /// Those whose copy is acknowledged, and that could not be taken out yet.
    sent: HashSet<i64>,
    /// Received and not wanted.
    held: Vec<ReceivedMessage>,
    /// When the rate allows the next one.
    next: Instant,
    report: RedriveReport,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(entity: &'a str, options: &'a RedriveOptions, action: Action) -> Self {
        Self {
            entity,
            options,
            action,
            wanted: HashSet::new(),
            sent: HashSet::new(),
            held: Vec::new(),
            next: Instant::now(),
            report: RedriveReport::default(),
        }
    }

    /// Takes a message that passes the filter in; `false` when there are enough.
    pub(super) fn choose(&mut self, message: &ReceivedMessage) -> bool {
        if self.wanted.len() >= self.options.max {
            return false;
        }
        let sends = matches!(self.action, Action::Send { .. });
        if sends && copy::redrives(message) >= self.options.max_redrives {
            self.report.too_often += 1;
        } else {
            self.wanted.insert(message.sequence_number());
            self.report.chosen += 1;
        }
        true
    }

    pub(super) fn report(&self) -> RedriveReport {
        RedriveReport {
            left: self.wanted.len(),
            ..self.report
        }
    }

    /// Deals with the chosen ones until none is left, none comes any more, or `stop`.
    pub(super) async fn run(&mut self, receiver: &Receiver, stop: &CancellationToken) -> Result<()> {
        let result = self.take(receiver, stop).await;
        for message in self.held.drain(..) {
            receiver.core().release(&message).await;
        }
        result
    }

    async fn take(&mut self, receiver: &Receiver, stop: &CancellationToken) -> Result<()> {
        let mut last_progress = Instant::now();
        while !self.wanted.is_empty() && last_progress.elapsed() < self.options.patience {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                received = receiver.receive_batch(self.batch(), WAIT) => received?,
            };
            let mut received = received.into_iter();
            while let Some(message) = received.next() {
                if !self.wanted.contains(&message.sequence_number()) {
                    self.hold(message);
                    continue;
                }
                let turn = tokio::select! {
                    biased;
                    () = stop.cancelled() => false,
                    () = tokio::time::sleep_until(self.next) => true,
                };
                if !turn {
                    self.hold(message);
                    received.for_each(|message| self.hold(message));
                    return Ok(());
                }
                match self.deal_with(&message, receiver).await {
                    Ok(true) => last_progress = Instant::now(),
                    Ok(false) => {}
                    Err(error) => {
                        self.hold(message);
                        received.for_each(|message| self.hold(message));
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends, then takes out; `false` where the lock is lost and the message comes again.
    async fn deal_with(&mut self, message: &ReceivedMessage, receiver: &Receiver) -> Result<bool> {
        let number = message.sequence_number();
        let ends = message.locked_until();
        if ends.is_some_and(|ends| ends < OffsetDateTime::now_utc() + MARGIN) {
            return Ok(false);
        }
        if let Action::Send { sender, mark } = &self.action
            && !self.sent.contains(&number)
        {
            sender.send(&copy::of(message, self.entity, mark.as_deref())).await?;
            self.sent.insert(number);
            if let Some(rate) = self.options.rate {
                self.next = self.next.max(Instant::now()) + Duration::from_secs_f64(1.0 / rate);
            }
        }
        match receiver.complete(message).await {
            Ok(()) => {
                self.wanted.remove(&number);
                self.sent.remove(&number);
                self.report.moved += 1;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::MessageLockLost => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps a message's lock, and nothing else of it.
    fn hold(&mut self, mut message: ReceivedMessage) {
        message.message = ServiceBusMessage::default();
        self.held.push(message);
    }

    /// With a rate no more than a second's worth, so that locks do not run out before their turn.
    fn batch(&self) -> usize {
        let per_second = self.options.rate.map_or(BATCH, |rate| rate as usize);
        per_second.clamp(1, BATCH)
    }
}
