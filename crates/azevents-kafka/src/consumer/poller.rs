//! The thread that polls librdkafka.
//!
//! Some of its calls wait: a commit before a partition is given away, leaving the group. And it must be polled
//! whatever the handlers do, or the group goes on without this consumer. So polling has a thread of its
//! own; handlers run on the caller's runtime.

use std::sync::Arc;
use std::time::{Duration, Instant};

use azevents_core::error::chain;
use azevents_core::{Error, ErrorKind, Result};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, TopicPartitionList};
use time::OffsetDateTime;

use super::rebalance::Rebalancing;
use super::session::{Phase, Session};
use super::worker::Received;
use crate::error::{from_kafka, kind_of};
use crate::message::decode;

const OPERATION: &str = "receive";
/// The pause before a new consumer takes the place of one that failed for good.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one poll waits; also how soon a paused partition goes on, and the run ends.
const TICK: Duration = Duration::from_millis(20);

/// Polls until the session is over, with a new consumer where one fails in a way that only that mends.
///
/// # Errors
/// What an operator must mend.
pub(super) fn poll(session: &Arc<Session>, config: &ClientConfig) -> Result<()> {
    loop {
        let ended = Poller::start(session.clone(), config).and_then(Poller::run);
        match ended {
            Err(error) if error.is_transient() && session.phase() == Phase::Running => {
                tracing::warn!(
                    topic = session.topic,
                    error = chain(&error),
                    "consumer failed, joining again"
                );
                std::thread::sleep(AGAIN);
            }
            ended => return ended,
        }
    }
}

struct Poller {
    session: Arc<Session>,
    consumer: BaseConsumer<Rebalancing>,
    committed_at: Instant,
    ticked_at: Instant,
    /// Whether anything was ever received or assigned: until then a refusal is the operator's to mend.
    admitted: bool,
    /// Whether partitions were paused for the end.
    quiet: bool,
}

impl Poller {
    /// Joins the group.
    fn start(session: Arc<Session>, config: &ClientConfig) -> Result<Self> {
        let open = || {
            let consumer: BaseConsumer<Rebalancing> = config.create_with_context(Rebalancing(session.clone()))?;
            consumer.subscribe(&[&session.topic])?;
            Ok(consumer)
        };
        let consumer = open().map_err(|e| from_kafka("connect", &session.topic, e))?;
        Ok(Self {
            session,
            consumer,
            committed_at: Instant::now(),
            ticked_at: Instant::now(),
            admitted: false,
            quiet: false,
        })
    }

    /// Polls until the session is over, or an error ends this consumer.
    fn run(mut self) -> Result<()> {
        loop {
            match self.session.phase() {
                Phase::Running => {}
                Phase::Draining if self.quiet => {}
                Phase::Draining => self.fall_silent(),
                Phase::Finished => {
                    self.commit_the_rest();
                    return Ok(());
                }
                Phase::Crashed => return Ok(()),
            }
            match self.consumer.poll(TICK) {
                Some(Ok(record)) => {
                    self.admitted = true;
                    if self.session.phase() == Phase::Running {
                        Self::hand_on(&self.session, &self.consumer, &record);
                    }
                }
                Some(Err(error)) => self.judge(error)?,
                None => {}
            }
            if let Some(why) = self.session.context.take_refusal()
                && !self.admitted
            {
                return Err(Error::new(ErrorKind::Unauthorized, "connect", &self.session.topic).with_message(why));
            }
            if self.ticked_at.elapsed() >= TICK {
                self.ticked_at = Instant::now();
                self.resume();
                if self.committed_at.elapsed() >= self.session.options.commit_interval {
                    self.commit(0);
                } else {
                    self.commit(self.session.options.commit_events);
                }
            }
        }
    }

    fn hand_on(session: &Arc<Session>, consumer: &BaseConsumer<Rebalancing>, record: &BorrowedMessage<'_>) {
        let received = Received {
            offset: record.offset(),
            message: decode(record),
            enqueued_at: enqueued_at(record),
        };
        if session.hand_on(record.partition(), received) {
            let mut full = TopicPartitionList::new();
            full.add_partition(&session.topic, record.partition());
            if let Err(error) = consumer.pause(&full) {
                tracing::debug!(topic = session.topic, %error, "partition could not be paused");
            }
        }
    }

    /// Lets paused partitions go on that have room again.
    fn resume(&self) {
        let mut free = TopicPartitionList::new();
        for (partition, assigned) in self.session.partitions().iter_mut() {
            if assigned.paused && !self.quiet && assigned.completion.in_hand() <= self.session.options.max_in_hand / 2 {
                assigned.paused = false;
                free.add_partition(&self.session.topic, *partition);
            }
        }
        if free.count() > 0
            && let Err(error) = self.consumer.resume(&free)
        {
            tracing::debug!(topic = self.session.topic, %error, "partitions could not be resumed");
        }
    }

    /// Pauses everything, so that nothing more comes while the rest is finished.
    fn fall_silent(&mut self) {
        self.quiet = true;
        if let Ok(assigned) = self.consumer.assignment() {
            let _ = self.consumer.pause(&assigned);
        }
    }

    /// Commits what is due, and waits for the answer: rdkafka does not report what becomes of an asynchronous
    /// commit, and librdkafka repeats one that failed, so that an older one may land behind a newer one.
    /// `false` when it failed.
    fn commit(&mut self, least: usize) -> bool {
        if least == 0 {
            self.committed_at = Instant::now();
        }
        let Some(due) = self.session.due(least) else {
            return true;
        };
        let Err(error) = self.consumer.commit(&due, CommitMode::Sync) else {
            return true;
        };
        tracing::info!(topic = self.session.topic, %error, "offsets not committed, trying again");
        self.session.put_back(&due);
        false
    }

    /// The last commit, tried for as long as the group would wait for this consumer.
    fn commit_the_rest(&mut self) {
        let until = Instant::now() + self.session.options.session_timeout;
        while !self.commit(0) {
            if Instant::now() > until {
                tracing::warn!(
                    topic = self.session.topic,
                    "the last offsets could not be committed; their records come again"
                );
                return;
            }
            let _ = self.consumer.poll(TICK);
        }
    }

    /// Whether an error ends the run. librdkafka reconnects by itself.
    fn judge(&mut self, error: KafkaError) -> Result<()> {
        let topic = &self.session.topic;
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        self.admitted |= self.consumer.assignment().is_ok_and(|assigned| assigned.count() > 0);
        let ends = match kind_of(code) {
            // A cluster that is starting knows a topic later than it answers.
            ErrorKind::NotFound => !self.admitted,
            ErrorKind::Unauthorized => code != RDKafkaErrorCode::Authentication || !self.admitted,
            ErrorKind::InvalidInput | ErrorKind::Unsupported => true,
            _ => fatal,
        };
        if ends {
            return Err(from_kafka(OPERATION, topic, error));
        }
        tracing::debug!(topic, %error, "receiving goes on after an error");
        Ok(())
    }
}

fn enqueued_at(record: &BorrowedMessage<'_>) -> Option<OffsetDateTime> {
    let millis = record.timestamp().to_millis()?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
}
