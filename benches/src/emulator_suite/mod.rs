//! The emulator as a broker: how soon it is there, how large it is, what it carries and what it holds, beside
//! RabbitMQ (3.10, AMQP 1.0 plug-in, classic queue, transient messages) where the work is the same.
//!
//! A plain `fe2o3-amqp` client drives both, over one connection. Beside each rate stand the processor times
//! of broker and client: whose is larger is what limits the rate on a machine with a core for each.

mod drive;
mod rabbitmq;

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};

use self::drive::{Broker, Driven};
use self::rabbitmq::RabbitMq;
use crate::bare::{Bare, batch, message, send_all};
use crate::process::EmulatorProcess;
use crate::rows::{Better, Row};

const BODY: usize = 1_000;
const QUEUE: &str = "work";
/// As the emulator's users have it: several starts, for the first reads the program from disk.
const STARTS: usize = 5;
const ROUNDS: usize = 3;
/// Messages in a batch of 256 KB.
const BATCH: usize = 240;

/// Measures the suite.
///
/// # Errors
/// When the emulator fails at something. RabbitMQ is left out where it is missing.
pub(crate) async fn measure(quick: bool) -> Result<Vec<Row>> {
    let (messages, connections, queued) = if quick {
        (5_000, 200, 100_000)
    } else {
        (50_000, 1_000, 1_000_000)
    };
    let mut rows = Vec::new();
    let rabbit = RabbitMq::start().await?;
    starting(rabbit.as_ref(), &mut rows).await?;
    driving(rabbit.as_ref(), messages, &mut rows).await?;
    drop(rabbit);
    connecting(connections, &mut rows).await?;
    queueing(queued, &mut rows).await?;
    Ok(rows)
}

async fn start() -> Result<EmulatorProcess> {
    EmulatorProcess::start(&format!("[[queue]]\nname = \"{QUEUE}\"\nlock_duration = \"5m\"\n")).await
}

async fn starting(rabbit: Option<&RabbitMq>, rows: &mut Vec<Row>) -> Result<()> {
    let mut times = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..STARTS {
        let emulator = start().await?;
        times.push(milliseconds(emulator.ready_after));
        sizes.push(emulator.usage()?.mebibytes());
    }
    let rabbit_size = match rabbit {
        Some(rabbit) => Some(rabbit.usage()?.mebibytes()),
        None => None,
    };
    let rabbit_time = rabbit.map(|rabbit| milliseconds(rabbit.ready_after));
    rows.push(Row::beside(
        "from its start to its ready line",
        "ms",
        Better::Lower,
        median(times),
        [("rabbitmq", rabbit_time)],
    ));
    rows.push(Row::beside(
        "resident memory when ready",
        "MiB",
        Better::Lower,
        median(sizes),
        [("rabbitmq", rabbit_size)],
    ));
    Ok(())
}

async fn driving(rabbit: Option<&RabbitMq>, messages: usize, rows: &mut Vec<Row>) -> Result<()> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..ROUNDS {
        let emulator = start().await?;
        ours.push(
            drive::both_ways(&Broker::of(&emulator), messages)
                .await
                .context("the emulator")?,
        );
        if let Some(rabbit) = rabbit {
            theirs.push(drive::both_ways(&rabbit.broker(), messages).await.context("rabbitmq")?);
        }
    }
    for (what, pick) in [("send, 256 in flight", 0), ("receive and settle, credit 1000", 1)] {
        let pick = |driven: &[[Driven; 2]], figure: fn(&Driven) -> f64| -> Option<f64> {
            (!driven.is_empty()).then(|| median(driven.iter().map(|driven| figure(&driven[pick])).collect()))
        };
        let figures = |figure: fn(&Driven) -> f64| (pick(&ours, figure).unwrap_or_default(), pick(&theirs, figure));
        let (rate, rabbit_rate) = figures(|driven| driven.rate);
        let (broker, rabbit_broker) = figures(|driven| driven.broker);
        let (client, _) = figures(|driven| driven.client);
        rows.push(Row::beside(
            what,
            "messages/s",
            Better::Higher,
            rate,
            [("rabbitmq", rabbit_rate)],
        ));
        let processor = [("rabbitmq", rabbit_broker), ("the client that drives", Some(client))];
        rows.push(Row::beside(
            format!("{what}: processor time"),
            "µs/message",
            Better::Lower,
            broker,
            processor,
        ));
    }
    Ok(())
}

async fn connecting(connections: usize, rows: &mut Vec<Row>) -> Result<()> {
    let emulator = start().await?;
    let before = emulator.usage()?;
    let address = emulator.servicebus_address();
    let began = std::time::Instant::now();
    let mut all: Vec<_> = stream::iter(0..connections)
        .map(|_| drive::Connected::open(address, QUEUE))
        .buffer_unordered(64)
        .try_collect()
        .await?;
    let opened = began.elapsed();
    let size = emulator.usage()?.resident.saturating_sub(before.resident);
    let began = std::time::Instant::now();
    stream::iter(&mut all)
        .map(drive::Connected::pass_one_on)
        .buffer_unordered(connections)
        .try_collect::<()>()
        .await?;
    let passed = began.elapsed();
    rows.push(Row::alone(
        format!("{connections} connections at once, with a sender and a receiver each: opened"),
        "ms",
        milliseconds(opened),
    ));
    rows.push(Row::alone(
        "a message sent, received and settled by each",
        "ms",
        milliseconds(passed),
    ));
    rows.push(Row::alone(
        "memory for each of them",
        "KiB",
        size as f64 / 1024.0 / connections as f64,
    ));
    Ok(())
}

async fn queueing(count: usize, rows: &mut Vec<Row>) -> Result<()> {
    let emulator = start().await?;
    let before = emulator.usage()?;
    let mut bare = Bare::servicebus(emulator.servicebus_address(), QUEUE).await?;
    let mut sender = bare.sender(QUEUE).await?;
    let body = vec![b'x'; BODY];
    let began = std::time::Instant::now();
    let batches = (0..count).step_by(BATCH).map(|first| {
        let numbers = first..count.min(first + BATCH);
        batch(numbers.map(|number| message(number, &body, None)))
    });
    send_all(&mut sender, batches, 4).await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    sender.close().await?;
    let grown = emulator.usage()?.resident.saturating_sub(before.resident);
    rows.push(Row::alone(
        format!("{count} messages queued, in batches"),
        "messages/s",
        rate,
    ));
    rows.push(Row::alone(
        "memory for each beyond its body",
        "bytes",
        grown as f64 / count as f64 - BODY as f64,
    ));
    bare.close().await?;
    let taken = (count / 20).max(1_000);
    let driven = drive::receive(&Broker::of(&emulator), taken).await?;
    rows.push(Row::alone(
        format!("receive and settle the first {taken} of them"),
        "messages/s",
        driven.rate,
    ));
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
