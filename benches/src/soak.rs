//! A long run: messages pass through our client and the emulator, and the memory of neither grows.
//!
//! At a steady pace, a quarter of what the machine can do: senders, a receiver that completes most, abandons
//! some and dead-letters a few, another that empties the dead-letter queue, and sessions that are accepted,
//! emptied and closed over and over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use azevents_servicebus::{
    ReceiverOptions, Sender, ServiceBusClient, ServiceBusMessage, SessionReceiverOptions, dead_letter_queue,
};
use bytes::Bytes;
use futures::future::try_join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::process::{EmulatorProcess, Usage};
use crate::rows::Row;

/// Messages in each tenth of a second, on either queue.
const PAGE: usize = 100;
const PACE: Duration = Duration::from_millis(100);
const SESSIONS: usize = 10;
const SAMPLE: Duration = Duration::from_secs(15);
const WAIT: Duration = Duration::from_secs(1);
/// Growth beyond this, from a fifth of the time on to the end, is a leak.
const ALLOWED: f64 = 8.0;

/// What has happened.
#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    completed: AtomicU64,
    dead: AtomicU64,
    in_sessions: AtomicU64,
}

struct Run {
    client: ServiceBusClient,
    counts: Counts,
    stop: CancellationToken,
    body: Bytes,
}

/// Runs for so long.
///
/// # Errors
/// When anything fails, messages are lost, or memory grows.
pub(crate) async fn measure(length: Duration) -> Result<Vec<Row>> {
    let emulator = EmulatorProcess::start(
        "[[queue]]\nname = \"work\"\nmax_delivery_count = 10\n[[queue]]\nname = \"sessions\"\nsessions = true\n",
    )
    .await?;
    let run = Arc::new(Run {
        client: ServiceBusClient::from_connection_string(emulator.servicebus())?,
        counts: Counts::default(),
        stop: CancellationToken::new(),
        body: Bytes::from(vec![b'x'; 1_000]),
    });
    let sending = tokio::spawn(Arc::clone(&run).send());
    let draining = CancellationToken::new();
    let receiving = [
        tokio::spawn(Arc::clone(&run).receive(draining.clone())),
        tokio::spawn(Arc::clone(&run).receive_dead(draining.clone())),
        tokio::spawn(Arc::clone(&run).receive_sessions(draining.clone())),
    ];
    let samples = run.watch(&emulator, length).await?;
    run.stop.cancel();
    sending.await??;
    // What was sent is received by now or soon: nothing may be left then.
    let deadline = Instant::now() + Duration::from_secs(60);
    while run.received() < run.counts.sent.load(Ordering::Relaxed) && Instant::now() < deadline {
        tokio::time::sleep(PACE).await;
    }
    draining.cancel();
    for task in receiving {
        task.await??;
    }
    run.client.close().await;
    let (sent, received) = (run.counts.sent.load(Ordering::Relaxed), run.received());
    ensure!(
        sent == received,
        "{sent} messages were sent and {received} came through"
    );
    report(&samples, sent, length)
}

impl Run {
    fn received(&self) -> u64 {
        let Counts {
            completed,
            dead,
            in_sessions,
            ..
        } = &self.counts;
        [completed, dead, in_sessions]
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Memory of emulator and client, in MiB, now and then.
    async fn watch(&self, emulator: &EmulatorProcess, length: Duration) -> Result<Vec<[f64; 2]>> {
        let began = Instant::now();
        let mut samples = Vec::new();
        while began.elapsed() < length {
            tokio::time::sleep(SAMPLE.min(length / 20)).await;
            let sample = [emulator.usage()?.mebibytes(), Usage::own()?.mebibytes()];
            eprintln!(
                "{:>4} s: {:>8} sent, {:>8} through, {:>6} dead-lettered; emulator {:.1} MiB, client {:.1} MiB",
                began.elapsed().as_secs(),
                self.counts.sent.load(Ordering::Relaxed),
                self.received(),
                self.counts.dead.load(Ordering::Relaxed),
                sample[0],
                sample[1],
            );
            samples.push(sample);
        }
        Ok(samples)
    }

    async fn send(self: Arc<Self>) -> Result<()> {
        let (plain, sessions) = (self.client.create_sender("work"), self.client.create_sender("sessions"));
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0_u64;
        while !self.stop.is_cancelled() {
            pace.tick().await;
            let messages: Vec<_> = (0..PAGE)
                .map(|_| {
                    number += 1;
                    ServiceBusMessage::new(self.body.clone()).with_message_id(number.to_string())
                })
                .collect();
            self.sent(
                try_join_all(messages.iter().map(|message| plain.send(message)))
                    .await?
                    .len(),
            );
            self.send_batch(&sessions, messages).await?;
        }
        Ok(())
    }

    async fn send_batch(&self, sender: &Sender, messages: Vec<ServiceBusMessage>) -> Result<()> {
        let mut batch = sender.create_batch().await?;
        for (place, message) in messages.into_iter().enumerate() {
            let message = message.with_session_id((place % SESSIONS).to_string());
            ensure!(batch.try_add(&message)?, "a hundred messages fit into a batch");
        }
        sender.send_batch(batch).await?;
        self.sent(PAGE);
        Ok(())
    }

    fn sent(&self, count: usize) {
        self.counts.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    async fn receive(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        let options = ReceiverOptions::default().with_prefetch(200);
        let receiver = self.client.create_receiver_with("work", &options);
        while !stop.is_cancelled() {
            let page = receiver.receive_batch(PAGE, WAIT).await?;
            try_join_all(page.iter().map(async |message| {
                let number = message.sequence_number();
                if number % 50 == 0 && message.delivery_count() == 1 {
                    return receiver.abandon(message).await;
                }
                if number % 31 == 0 {
                    return receiver.dead_letter(message, "Soak", "every 31st").await;
                }
                receiver.complete(message).await?;
                self.counts.completed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }))
            .await?;
        }
        receiver.close().await;
        Ok(())
    }

    async fn receive_dead(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        let receiver = self.client.create_receiver(&dead_letter_queue("work"));
        while !stop.is_cancelled() {
            let page = receiver.receive_batch(PAGE, WAIT).await?;
            try_join_all(page.iter().map(|message| receiver.complete(message))).await?;
            self.counts.dead.fetch_add(page.len() as u64, Ordering::Relaxed);
        }
        receiver.close().await;
        Ok(())
    }

    async fn receive_sessions(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        let options = SessionReceiverOptions::default()
            .with_prefetch(50)
            .with_accept_timeout(WAIT);
        while !stop.is_cancelled() {
            let Some(session) = self.client.accept_next_session("sessions", &options).await? else {
                continue;
            };
            loop {
                let page = session.receive_batch(PAGE, PACE / 2).await?;
                if page.is_empty() {
                    break;
                }
                try_join_all(page.iter().map(|message| session.complete(message))).await?;
                self.counts.in_sessions.fetch_add(page.len() as u64, Ordering::Relaxed);
            }
            session.set_state(Some(b"emptied")).await?;
            session.close().await;
        }
        Ok(())
    }
}

fn report(samples: &[[f64; 2]], sent: u64, length: Duration) -> Result<Vec<Row>> {
    let settled = samples.len() / 5;
    let mut rows = vec![Row::alone(
        format!("messages through in {} s, none lost", length.as_secs()),
        "messages",
        sent as f64,
    )];
    for (who, what) in ["emulator", "client"].into_iter().enumerate() {
        let sizes: Vec<f64> = samples.iter().map(|sample| sample[who]).collect();
        let (first, last) = (
            sizes.get(settled).context("too short")?,
            sizes.last().context("too short")?,
        );
        let largest = sizes.iter().copied().fold(0.0, f64::max);
        rows.push(Row::alone(
            format!("memory of the {what}: after a fifth of the time"),
            "MiB",
            *first,
        ));
        rows.push(Row::alone(format!("memory of the {what}: at the end"), "MiB", *last));
        rows.push(Row::alone(format!("memory of the {what}: the most"), "MiB", largest));
        ensure!(
            last - first <= ALLOWED,
            "the {what} grew from {first:.1} to {last:.1} MiB"
        );
    }
    Ok(rows)
}
