//! Reading the figures back from the read models, the relays' progress and the consumers' counters.

use azevents::{LeaseStore, ReadModel, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use rust_decimal::Decimal;

use super::Report;
use crate::consumers::analytics::{ARRIVAL, DAY, Day};
use crate::consumers::billing::{COUNTRY, Revenue};
use crate::consumers::fulfilment::{ORDER, OrderSeen, STOCK, Stock};
use crate::consumers::{Arrival, Name, SHARDS, TOTALS, Totals};
use crate::order::Kind;
use crate::relays::Destination;
use crate::services::Services;
use crate::{rejects, status};

/// Shards read at the same time.
const CONCURRENCY: usize = 8;

/// Reads everything.
///
/// # Errors
/// What the stores report.
pub async fn collect(services: &Services) -> Result<Report> {
    let mut report = Report::default();
    for name in Name::ALL {
        let shards = stream::iter(0..SHARDS)
            .map(|shard| async move {
                let documents = services.read_model.documents(Some(&name.partition(shard)));
                documents.try_collect::<Vec<_>>().await
            })
            .buffer_unordered(CONCURRENCY);
        let documents: Vec<_> = shards.try_collect().await?;
        for document in documents.into_iter().flatten() {
            add(&mut report, name, &document)?;
        }
    }
    report.revenue_total = report.revenue_by_country.values().sum::<Decimal>();
    report.published.servicebus = published(services, Destination::ServiceBus).await?;
    report.published.eventhubs = published(services, Destination::EventHubs).await?;
    for entry in status::list(services).await? {
        let Some(name) = entry.consumer() else { continue };
        let outcome = outcome_of(&mut report, name);
        outcome.duplicates += entry.duplicates;
        outcome.dead_lettered += entry.dead_lettered;
    }
    report.rejects = rejects::list(services).await?;
    report.rejected = report.rejects.len() as u64;
    report.rows = report.consumers.analytics.handled + report.rejected;
    Ok(report)
}

/// How many messages a consumer has handled, by its read model.
///
/// # Errors
/// What the store reports.
pub async fn handled(model: &dyn ReadModel, name: Name) -> Result<u64> {
    let shards = stream::iter(0..SHARDS)
        .map(|shard| async move {
            let Some(totals) = model.get(&name.partition(shard), TOTALS).await? else {
                return Ok(0);
            };
            totals.parse::<Totals>().map(|totals| totals.lines)
        })
        .buffer_unordered(CONCURRENCY);
    shards.try_fold(0, |sum, lines| async move { Ok(sum + lines) }).await
}

/// Events that a relay has published and recorded.
///
/// # Errors
/// What the store reports.
pub async fn published(services: &Services, destination: Destination) -> Result<u64> {
    let leases = services.leases.list(destination.as_str()).await?;
    Ok(leases
        .iter()
        .filter_map(|lease| lease.checkpoint.as_ref())
        .map(|checkpoint| checkpoint.events)
        .sum())
}

/// Adds one document of one shard to the figures.
fn add(report: &mut Report, name: Name, document: &azevents::Document) -> Result<()> {
    // "country:France" is a document of the kind "country:" about France; "totals" is about nothing.
    let (kind, subject) = document
        .id
        .split_at(document.id.find(':').map_or(document.id.len(), |colon| colon + 1));
    match (name, kind) {
        (_, TOTALS) => outcome_of(report, name).handled += document.parse::<Totals>()?.lines,
        (Name::Billing, COUNTRY) => {
            *report.revenue_by_country.entry(subject.to_owned()).or_default() += document.parse::<Revenue>()?.revenue;
        }
        (Name::Fulfilment, STOCK) => {
            *report.units_by_stock_code.entry(subject.to_owned()).or_default() += document.parse::<Stock>()?.units;
        }
        (Name::Fulfilment, ORDER) => {
            let order: OrderSeen = document.parse()?;
            report.orders += 1;
            report.cancelled += u64::from(order.kind == Some(Kind::Cancellation));
            report.adjusted += u64::from(order.kind == Some(Kind::Adjustment));
            report.events += order.arrival.version;
            report.consumers.fulfilment.order_violations += order.arrival.violations;
        }
        (Name::Analytics, DAY) => {
            *report.lines_by_day.entry(subject.to_owned()).or_default() += document.parse::<Day>()?.lines;
        }
        (Name::Analytics, ARRIVAL) => {
            report.consumers.analytics.order_violations += document.parse::<Arrival>()?.violations;
        }
        // A later release may keep more than this one knows.
        _ => {}
    }
    Ok(())
}

fn outcome_of(report: &mut Report, name: Name) -> &mut super::Outcome {
    match name {
        Name::Billing => &mut report.consumers.billing,
        Name::Fulfilment => &mut report.consumers.fulfilment,
        Name::Analytics => &mut report.consumers.analytics,
    }
}
