//! The parts of the system, each as it runs in a process of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use azevents::{Consumer, Pipeline, RelayOptions, RetryPolicy, eventhubs, servicebus};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::consumers::Name;
use crate::relays::{self, Destination};
use crate::services::{EVENT_HUB, Services, TOPIC};
use crate::status;

/// How long a killed process's leases hold up its successor.
const LEASE: Duration = Duration::from_secs(10);

/// Publishes until stopped.
///
/// # Errors
/// What waiting cannot mend.
pub async fn relay(services: Services, only: Option<Destination>, owner: Option<String>) -> Result<()> {
    let stop = stop_on_signal();
    let mut relays = JoinSet::new();
    for destination in Destination::ALL
        .into_iter()
        .filter(|one| only.is_none_or(|only| only == *one))
    {
        let relay = relays::relay(
            &services,
            destination,
            services.leases.clone(),
            relay_options(owner.clone()),
        )?;
        let stop = stop.clone();
        relays.spawn(async move { relay.run(stop).await });
    }
    while let Some(ended) = relays.join_next().await {
        ended??;
    }
    Ok(())
}

/// Runs a consumer until stopped.
///
/// # Errors
/// What waiting cannot mend.
pub async fn consume(services: Services, name: Name, owner: Option<String>) -> Result<()> {
    let stop = stop_on_signal();
    let pipeline = pipeline(name.handler(services.read_model.clone()));
    let consumer = consumer(&services, name, owner)?;
    // The counters are written down once more after the consumer has stopped.
    let stopped = CancellationToken::new();
    let status = tokio::spawn(status::keep(services, name, pipeline.clone(), stopped.clone()));
    let ended = consumer.run(pipeline, stop).await;
    stopped.cancel();
    status.await??;
    Ok(ended?)
}

/// A handler's pipeline as all processes of this example have it.
pub fn pipeline(handler: Arc<dyn azevents::Handler>) -> Arc<Pipeline> {
    let retry = RetryPolicy::default()
        .with_base(Duration::from_millis(20))
        .with_cap(Duration::from_secs(2));
    Arc::new(Pipeline::new(handler).with_retry(retry))
}

/// A relay's options as all processes of this example have them.
pub fn relay_options(owner: Option<String>) -> RelayOptions {
    let options = RelayOptions::default()
        .with_lease_duration(LEASE)
        .with_checkpoint_interval(Duration::from_millis(250))
        .with_poll_interval(Duration::from_millis(250));
    match owner {
        Some(owner) => options.with_owner(owner),
        None => options,
    }
}

/// A consumer with a connection of its own.
///
/// # Errors
/// A connection string that can't be read, or no identity.
pub fn consumer(services: &Services, name: Name, owner: Option<String>) -> Result<Box<dyn Consumer>> {
    if name == Name::Analytics {
        let (leases, parking) = (services.leases.clone(), services.dead_letters.clone());
        let options = eventhubs::ConsumerOptions::default()
            .with_concurrency(64)
            .with_lease_duration(LEASE)
            .with_checkpoints(2000, Duration::from_millis(250));
        let options = match owner {
            Some(owner) => options.with_owner(owner),
            None => options,
        };
        let consumer = services
            .event_hubs()?
            .consumer(EVENT_HUB, name.as_str(), leases, parking);
        return Ok(Box::new(consumer.with_options(options)));
    }
    let client = services.service_bus()?;
    let subscription = servicebus::subscription(TOPIC, name.as_str());
    if name == Name::Fulfilment {
        // An order is short: whoever has received its lines moves on to the next one soon.
        let options = servicebus::SessionConsumerOptions::default()
            .with_sessions(64)
            .with_idle_timeout(Duration::from_millis(20));
        return Ok(Box::new(servicebus::SessionConsumer::new(
            client,
            subscription,
            options,
        )));
    }
    let options = servicebus::ConsumerOptions::default()
        .with_concurrency(256)
        .with_prefetch(512);
    Ok(Box::new(servicebus::ServiceBusConsumer::new(
        client,
        subscription,
        options,
    )))
}

/// Cancelled by Ctrl-C or SIGTERM.
fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let interrupt = tokio::signal::ctrl_c();
        #[cfg(unix)]
        {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut terminate) => tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                },
                Err(_) => drop(interrupt.await),
            }
        }
        #[cfg(not(unix))]
        drop(interrupt.await);
        token.cancel();
    });
    stop
}
