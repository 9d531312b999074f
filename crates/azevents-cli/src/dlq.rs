//! `azevents dlq`.

use anyhow::{Context, Result, bail};
use azevents_servicebus::{DeadLetters, RedriveOptions, RedriveTarget, ServiceBusClient};

use crate::args::{Dlq, Limits, Source};
use crate::interrupt::interrupted;
use crate::output;

pub(crate) async fn run(command: Dlq) -> Result<()> {
    match command {
        Dlq::List { source, filter, max } => {
            let dead = open(&source)?;
            output::list(&dead.list(&filter.into(), max).await?, source.json)
        }
        Dlq::Show {
            source,
            sequence_number,
        } => match open(&source)?.get(sequence_number).await? {
            Some(message) => output::show(&message, source.json),
            None => bail!(
                "{} has no dead letter with sequence number {sequence_number}; see `azevents dlq list`",
                source.address()
            ),
        },
        Dlq::Redrive {
            source,
            filter,
            limits,
            to,
            through_topic,
            rate,
            max_redrives,
        } => {
            let target = match (to, through_topic) {
                (Some(entity), _) => RedriveTarget::Entity(entity),
                (None, true) => RedriveTarget::TopicForThisSubscription,
                (None, false) => RedriveTarget::Origin,
            };
            let mut options = options(&limits)
                .with_filter(filter.into())
                .with_target(target)
                .with_max_redrives(max_redrives);
            if let Some(rate) = rate {
                options = options.with_rate(rate);
            }
            let dead = open(&source)?;
            let report = dead.redrive(&options, interrupted()).await;
            let report = report.context("redrive stopped; run it again to go on")?;
            output::report(report, "sent again", limits.dry_run, source.json)
        }
        Dlq::Purge {
            source, filter, limits, ..
        } => {
            let options = options(&limits).with_filter(filter.into());
            let report = open(&source)?.purge(&options, interrupted()).await;
            let report = report.context("purge stopped; run it again to go on")?;
            output::report(report, "thrown away", limits.dry_run, source.json)
        }
    }
}

fn open(source: &Source) -> Result<DeadLetters> {
    let client = ServiceBusClient::from_connection_string(&source.connection_string)
        .context("--connection-string or SERVICEBUS_CONNECTION_STRING")?;
    Ok(DeadLetters::new(client, source.address()))
}

fn options(limits: &Limits) -> RedriveOptions {
    RedriveOptions::default()
        .with_max(limits.max.unwrap_or(usize::MAX))
        .with_dry_run(limits.dry_run)
}
