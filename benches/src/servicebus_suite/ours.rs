//! Our own client, as its documentation uses it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use azevents_servicebus::{
    ReceivedMessage, ReceiverOptions, Sender, ServiceBusClient, ServiceBusMessage, SessionReceiverOptions,
};
use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt, stream};

use super::{BODY, PAGE, SESSIONS, Scene, Work};

const WAIT: Duration = Duration::from_secs(30);

pub(super) async fn run(scene: Arc<Scene>) -> Result<f64> {
    let client = ServiceBusClient::from_connection_string(scene.emulator.servicebus())?;
    let rate = match scene.work {
        Work::Send { in_flight } => send(&client, &scene, in_flight).await,
        Work::Batches => batches(&client, &scene).await,
        Work::Receive { prefetch } => receive(&client, &scene, prefetch).await,
        Work::Sessions => sessions(&client, &scene).await,
    };
    client.close().await;
    rate
}

fn messages(count: usize) -> impl Iterator<Item = ServiceBusMessage> {
    let body = Bytes::from(vec![b'x'; BODY]);
    (0..count).map(move |number| ServiceBusMessage::new(body.clone()).with_message_id(number.to_string()))
}

async fn sender(client: &ServiceBusClient, scene: &Scene) -> Result<Sender> {
    let sender = client.create_sender(scene.work.queue());
    // Opens the link.
    sender.create_batch().await?;
    Ok(sender)
}

async fn send(client: &ServiceBusClient, scene: &Scene, in_flight: usize) -> Result<f64> {
    let sender = sender(client, scene).await?;
    let began = Instant::now();
    if in_flight == 1 {
        for message in messages(scene.count) {
            sender.send(&message).await?;
        }
    } else {
        stream::iter(messages(scene.count))
            .map(|message| {
                let sender = &sender;
                async move { sender.send(&message).await }
            })
            .buffer_unordered(in_flight)
            .try_for_each(|()| async { Ok(()) })
            .await?;
    }
    Ok(scene.rate(began))
}

async fn batches(client: &ServiceBusClient, scene: &Scene) -> Result<f64> {
    let sender = sender(client, scene).await?;
    let began = Instant::now();
    let mut batch = sender.create_batch().await?;
    for message in messages(scene.count) {
        if !batch.try_add(&message)? {
            let full = std::mem::replace(&mut batch, sender.create_batch().await?);
            sender.send_batch(full).await?;
            ensure!(batch.try_add(&message)?, "an empty batch has room");
        }
    }
    sender.send_batch(batch).await?;
    Ok(scene.rate(began))
}

async fn receive(client: &ServiceBusClient, scene: &Scene, prefetch: u32) -> Result<f64> {
    let options = ReceiverOptions::default().with_prefetch(prefetch);
    let receiver = Arc::new(client.create_receiver_with(scene.work.queue(), &options));
    let (mut left, mut began) = (scene.count, None);
    let mut completing = FuturesUnordered::new();
    while left > 0 {
        let page = receiver.receive_batch(PAGE, WAIT).await?;
        began.get_or_insert_with(Instant::now);
        left -= checked(&page)?;
        let receiver = Arc::clone(&receiver);
        completing.push(async move {
            try_join_all(page.iter().map(|message| receiver.complete(message)))
                .await
                .map(|done| done.len())
        });
        // Bare links don't wait for the broker's word at all. We let a page wait for it while the next one comes.
        let mut waiting = completing.len() * PAGE;
        while waiting > PAGE.max(prefetch as usize) {
            completing.try_next().await?;
            waiting -= PAGE;
        }
    }
    while completing.try_next().await?.is_some() {}
    Ok(scene.rate(began.unwrap_or_else(Instant::now)))
}

async fn sessions(client: &ServiceBusClient, scene: &Scene) -> Result<f64> {
    let options = SessionReceiverOptions::default().with_prefetch(PAGE as u32);
    let began = Instant::now();
    for _ in 0..SESSIONS {
        let session = client.accept_next_session(scene.work.queue(), &options).await?;
        let session = session.ok_or_else(|| anyhow::anyhow!("a session is missing"))?;
        let mut left = scene.count / SESSIONS;
        let mut completing = FuturesUnordered::new();
        while left > 0 {
            let page = session.receive_batch(PAGE, WAIT).await?;
            left -= checked(&page)?;
            let session = &session;
            completing.push(async move { try_join_all(page.iter().map(|message| session.complete(message))).await });
            // As in `receive`.
            if completing.len() > 1 {
                completing.try_next().await?;
            }
        }
        while completing.try_next().await?.is_some() {}
        drop(completing);
        session.close().await;
    }
    Ok(scene.rate(began))
}

/// How many there are, all with their bodies.
fn checked(page: &[ReceivedMessage]) -> Result<usize> {
    ensure!(!page.is_empty(), "messages are missing");
    ensure!(
        page.iter().all(|message| message.body().len() == BODY),
        "a body is short"
    );
    Ok(page.len())
}
