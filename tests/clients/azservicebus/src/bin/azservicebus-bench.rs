//! Sends or receives messages of 1 KB with the community's client, and prints messages a second.
//!
//! Usage: azservicebus-bench send|batches|receive|sessions NUMBER CONNECTION_STRING QUEUE COUNT
//! NUMBER is how many sends are in flight, the prefetch, or how many sessions there are. A sender takes one message at
//! a time: for several in flight there are as many senders.

use std::error::Error;
use std::time::{Duration, Instant};

use azservicebus::core::BasicRetryPolicy;
use azservicebus::{
    CreateMessageBatchOptions, ServiceBusClient, ServiceBusClientOptions, ServiceBusMessage, ServiceBusReceiverOptions,
    ServiceBusSessionReceiverOptions,
};

type Client = ServiceBusClient<BasicRetryPolicy>;
type Took = Result<Duration, Box<dyn Error + Send + Sync>>;

const PAGE: u32 = 100;
const WAIT: Duration = Duration::from_secs(30);

fn message(id: usize) -> Result<ServiceBusMessage, Box<dyn Error + Send + Sync>> {
    let mut message = ServiceBusMessage::new(vec![b'x'; 1000]);
    message.set_message_id(id.to_string())?;
    Ok(message)
}

async fn send(client: &mut Client, queue: &str, in_flight: usize, count: usize) -> Took {
    let mut senders = Vec::new();
    for _ in 0..in_flight {
        senders.push(client.create_sender(queue, Default::default()).await?);
    }
    let began = Instant::now();
    let sending: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(first, mut sender)| {
            tokio::spawn(async move {
                for id in (first..count).step_by(in_flight) {
                    sender.send_message(message(id)?).await?;
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(sender)
            })
        })
        .collect();
    let mut done = Vec::new();
    for task in sending {
        done.push(task.await??);
    }
    Ok(began.elapsed())
}

async fn batches(client: &mut Client, queue: &str, count: usize) -> Took {
    let mut sender = client.create_sender(queue, Default::default()).await?;
    let began = Instant::now();
    let mut batch = sender.create_message_batch(CreateMessageBatchOptions::default())?;
    for id in 0..count {
        if batch.try_add_message(message(id)?).is_ok() {
            continue;
        }
        let next = sender.create_message_batch(CreateMessageBatchOptions::default())?;
        sender.send_message_batch(std::mem::replace(&mut batch, next)).await?;
        batch
            .try_add_message(message(id)?)
            .map_err(|_| "an empty batch has no room")?;
    }
    sender.send_message_batch(batch).await?;
    Ok(began.elapsed())
}

/// It waits for as many as are asked for, and gets no more than it prefetches before it settles.
fn page(prefetch: u32, left: usize) -> u32 {
    let page = if prefetch == 0 { PAGE } else { PAGE.min(prefetch) };
    page.min(u32::try_from(left).unwrap_or(PAGE))
}

async fn receive(client: &mut Client, queue: &str, prefetch: u32, count: usize) -> Took {
    let options = ServiceBusReceiverOptions {
        prefetch_count: prefetch,
        ..Default::default()
    };
    let mut receiver = client.create_receiver_for_queue(queue, options).await?;
    let (mut left, mut began) = (count, None);
    while left > 0 {
        let messages = receiver
            .receive_messages_with_max_wait_time(page(prefetch, left), WAIT)
            .await?;
        began.get_or_insert_with(Instant::now);
        if messages.is_empty() {
            return Err("messages are missing".into());
        }
        for message in &messages {
            receiver.complete_message(message).await?;
        }
        left -= messages.len();
    }
    let took = began.map_or(Duration::ZERO, |began| began.elapsed());
    receiver.dispose().await?;
    Ok(took)
}

async fn sessions(client: &mut Client, queue: &str, sessions: usize, count: usize) -> Took {
    let began = Instant::now();
    for _ in 0..sessions {
        let options = ServiceBusSessionReceiverOptions {
            prefetch_count: PAGE,
            ..Default::default()
        };
        let mut session = client.accept_next_session_for_queue(queue, options).await?;
        let mut left = count / sessions;
        while left > 0 {
            let messages = session
                .receive_messages_with_max_wait_time(page(PAGE, left), WAIT)
                .await?;
            if messages.is_empty() {
                return Err("messages are missing".into());
            }
            for message in &messages {
                session.complete_message(message).await?;
            }
            left -= messages.len();
        }
        session.dispose().await?;
    }
    Ok(began.elapsed())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, number, connection_string, queue, count] = &arguments[..] else {
        return Err(
            "usage: azservicebus-bench send|batches|receive|sessions NUMBER CONNECTION_STRING QUEUE COUNT".into(),
        );
    };
    let (number, count): (usize, usize) = (number.parse()?, count.parse()?);
    let mut client = ServiceBusClient::unsecured()
        .new_from_connection_string(connection_string.as_str(), ServiceBusClientOptions::default())
        .await?;
    let took = match what.as_str() {
        "send" => send(&mut client, queue, number, count).await?,
        "batches" => batches(&mut client, queue, count).await?,
        "receive" => receive(&mut client, queue, u32::try_from(number)?, count).await?,
        "sessions" => sessions(&mut client, queue, number, count).await?,
        other => return Err(format!("there is nothing called {other}").into()),
    };
    println!("{}", count as f64 / took.as_secs_f64());
    Ok(())
}
