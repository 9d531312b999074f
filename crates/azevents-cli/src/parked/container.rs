//! Parked in a Cosmos DB container.

use anyhow::{Result, bail};
use azevents_core::{Delivery, Handler, Parked, Settlement};
use azevents_cosmos::{Cosmos, CosmosConfig, CosmosDeadLetters};

use super::args::Place;
use super::redriving::pipeline;

pub(super) async fn list(place: &Place, container: &str) -> Result<Vec<Parked>> {
    Ok(open(place, container).await?.list().await?)
}

/// One after the other, each removed once it was sent.
pub(super) async fn redrive(place: &Place, container: &str, handler: impl Handler + 'static) -> Result<u64> {
    let parking = open(place, container).await?;
    let pipeline = pipeline(handler);
    for letter in parking.list().await? {
        let id = &letter.message.id;
        match pipeline.process(&letter.message, &Delivery::new(1)).await {
            Settlement::Complete => parking.remove(id).await?,
            Settlement::Abandon(_) | Settlement::Release => bail!("{id} could not be sent; run it again to go on"),
            Settlement::DeadLetter(why) => bail!("{id} cannot be sent, and stays: {why}"),
        };
    }
    Ok(pipeline.stats().handled)
}

async fn open(place: &Place, container: &str) -> Result<CosmosDeadLetters> {
    let source = place.source()?;
    let cosmos = Cosmos::connect(CosmosConfig::from_env(None)?).await?;
    Ok(CosmosDeadLetters::open(&cosmos, container, source).await?)
}
