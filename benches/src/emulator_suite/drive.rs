//! The same work for every broker.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::definitions::ReceiverSettleMode;

use super::{BODY, QUEUE};
use crate::bare::{Bare, message, receive_all, send_all};
use crate::process::{EmulatorProcess, Usage};

const IN_FLIGHT: usize = 256;
const CREDIT: u32 = 1_000;
/// Messages that are settled with one disposition.
const PAGE: usize = 100;

/// Somebody to send to.
pub(super) struct Broker {
    pub(super) address: String,
    /// The queue, by the name that this broker has for it.
    pub(super) queue: String,
    pub(super) process: u32,
    pub(super) wants_token: bool,
}

/// What a broker did.
pub(super) struct Driven {
    /// Messages a second.
    pub(super) rate: f64,
    /// Microseconds of processor time a message.
    pub(super) broker: f64,
    pub(super) client: f64,
}

impl Broker {
    pub(super) fn of(emulator: &EmulatorProcess) -> Self {
        Self {
            address: emulator.servicebus_address().to_owned(),
            queue: QUEUE.to_owned(),
            process: emulator.id(),
            wants_token: true,
        }
    }

    async fn connect(&self) -> Result<Bare> {
        if self.wants_token {
            return Bare::servicebus(&self.address, &self.queue).await;
        }
        let guest = SaslProfile::Plain {
            username: "guest".to_owned(),
            password: "guest".to_owned(),
        };
        Bare::connect(&self.address, guest).await
    }
}

/// Sends so many, and receives them.
pub(super) async fn both_ways(broker: &Broker, count: usize) -> Result<[Driven; 2]> {
    let sent = send(broker, count).await?;
    Ok([sent, receive(broker, count).await?])
}

async fn send(broker: &Broker, count: usize) -> Result<Driven> {
    let mut bare = broker.connect().await.context("connecting")?;
    let mut sender = bare.sender(&broker.queue).await.context("attaching")?;
    let body = vec![b'x'; BODY];
    let clock = Clock::start(broker)?;
    let payloads = (0..count).map(|number| Ok(Sendable::from(message(number, &body, None))));
    send_all(&mut sender, payloads, IN_FLIGHT).await.context("sending")?;
    let driven = clock.stop(count)?;
    leave(sender.close().await, bare).await;
    Ok(driven)
}

/// Receives so many, which have to be there.
pub(super) async fn receive(broker: &Broker, count: usize) -> Result<Driven> {
    let mut bare = broker.connect().await.context("connecting")?;
    let clock = Clock::start(broker)?;
    let settle = ReceiverSettleMode::First;
    let mut receiver = bare
        .receiver(&broker.queue, settle, CreditMode::Auto(CREDIT), false)
        .await?;
    receive_all(&mut receiver, count, PAGE, false)
        .await
        .context("receiving")?;
    // The answer to it comes after the last settlement.
    let closed = receiver.close().await;
    let driven = clock.stop(count)?;
    leave(closed, bare).await;
    Ok(driven)
}

/// RabbitMQ answers a closing link in a way that `fe2o3-amqp` calls an illegal state; the work is done by then.
async fn leave<E: std::fmt::Debug>(closed: Result<(), E>, bare: Bare) {
    if let Err(error) = closed {
        eprintln!("while closing a link: {error:?}");
    }
    if let Err(error) = bare.close().await {
        eprintln!("while closing a connection: {error:#}");
    }
}

struct Clock {
    process: u32,
    broker: Duration,
    client: Duration,
    began: Instant,
}

impl Clock {
    fn start(broker: &Broker) -> Result<Self> {
        Ok(Self {
            process: broker.process,
            broker: Usage::of(broker.process)?.cpu,
            client: Usage::own()?.cpu,
            began: Instant::now(),
        })
    }

    fn stop(self, count: usize) -> Result<Driven> {
        let rate = count as f64 / self.began.elapsed().as_secs_f64();
        let each = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() * 1e6 / count as f64;
        Ok(Driven {
            rate,
            broker: each(Usage::of(self.process)?.cpu, self.broker),
            client: each(Usage::own()?.cpu, self.client),
        })
    }
}

/// A connection with both kinds of link on it.
pub(super) struct Connected {
    _bare: Bare,
    sender: Sender,
    receiver: Receiver,
}

impl Connected {
    pub(super) async fn open(address: &str, queue: &str) -> Result<Self> {
        let mut bare = Bare::servicebus(address, queue).await?;
        let sender = bare.sender(queue).await?;
        let receiver = bare
            .receiver(queue, ReceiverSettleMode::First, CreditMode::Manual, false)
            .await?;
        Ok(Self {
            _bare: bare,
            sender,
            receiver,
        })
    }

    /// Sends a message, and receives one, whosever.
    pub(super) async fn pass_one_on(&mut self) -> Result<()> {
        let payload = Sendable::from(message(0, &[b'x'; BODY], None));
        send_all(&mut self.sender, std::iter::once(Ok(payload)), 1).await?;
        receive_all(&mut self.receiver, 1, 1, true).await
    }
}
