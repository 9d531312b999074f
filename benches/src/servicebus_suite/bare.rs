//! The same over links of `fe2o3-amqp`, with nothing around them: no retries, no recovery, no word on whether
//! a completion was in time.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::types::definitions::ReceiverSettleMode;

use super::{BODY, PAGE, SESSIONS, Scene, Work};
use crate::bare::{Bare, batch, message, receive_all, send_all};

/// Messages of 1 KB that fit into a batch of 256 KB.
const BATCH: usize = 240;

pub(super) async fn run(scene: Arc<Scene>) -> Result<f64> {
    let mut bare = Bare::servicebus(scene.emulator.servicebus_address(), scene.work.queue()).await?;
    let rate = match scene.work {
        Work::Send { in_flight } => send(&mut bare, &scene, in_flight).await,
        Work::Batches => batches(&mut bare, &scene).await,
        Work::Receive { prefetch } => receive(&mut bare, &scene, prefetch).await,
        Work::Sessions => sessions(&mut bare, &scene).await,
    };
    bare.close().await?;
    rate
}

async fn send(bare: &mut Bare, scene: &Scene, in_flight: usize) -> Result<f64> {
    let mut sender = bare.sender(scene.work.queue()).await?;
    let body = vec![b'x'; BODY];
    let began = Instant::now();
    let payloads = (0..scene.count).map(|number| Ok(Sendable::from(message(number, &body, None))));
    send_all(&mut sender, payloads, in_flight).await?;
    let rate = scene.rate(began);
    sender.close().await?;
    Ok(rate)
}

async fn batches(bare: &mut Bare, scene: &Scene) -> Result<f64> {
    let mut sender = bare.sender(scene.work.queue()).await?;
    let body = vec![b'x'; BODY];
    let numbers: Vec<usize> = (0..scene.count).collect();
    let began = Instant::now();
    let batches = numbers
        .chunks(BATCH)
        .map(|numbers| batch(numbers.iter().map(|number| message(*number, &body, None))));
    send_all(&mut sender, batches, 1).await?;
    let rate = scene.rate(began);
    sender.close().await?;
    Ok(rate)
}

async fn receive(bare: &mut Bare, scene: &Scene, prefetch: u32) -> Result<f64> {
    let credit = if prefetch == 0 {
        CreditMode::Manual
    } else {
        CreditMode::Auto(prefetch)
    };
    let began = Instant::now();
    let queue = scene.work.queue();
    let mut receiver = bare.receiver(queue, ReceiverSettleMode::Second, credit, false).await?;
    // Credit comes back by halves.
    let page = if prefetch == 0 {
        PAGE
    } else {
        PAGE.min(prefetch as usize / 2)
    };
    receive_all(&mut receiver, scene.count, page, prefetch == 0).await?;
    receiver.close().await?;
    Ok(scene.rate(began))
}

async fn sessions(bare: &mut Bare, scene: &Scene) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..SESSIONS {
        let credit = CreditMode::Auto(PAGE as u32);
        let queue = scene.work.queue();
        let mut receiver = bare.receiver(queue, ReceiverSettleMode::Second, credit, true).await?;
        receive_all(&mut receiver, scene.count / SESSIONS, PAGE / 2, false).await?;
        receiver.close().await?;
    }
    Ok(scene.rate(began))
}
