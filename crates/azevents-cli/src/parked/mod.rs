//! `azevents parked`: what consumers of event hubs (of Kafka, of a relay) could not handle and set aside.

mod args;
mod container;
mod hub;
mod output;
mod queue;
mod redriving;

use anyhow::{Result, bail};
use azevents_core::{Parked, Publisher};
use azevents_eventhubs::Redrive;

pub(crate) use args::Command;
use args::Place;

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::List { place, max, json } => {
            let mut letters = list(&place).await?;
            letters.truncate(max);
            output::list(&letters, json)
        }
        Command::Show { place, id, json } => {
            let letters = list(&place).await?;
            match letters.iter().find(|letter| letter.message.id == id) {
                Some(letter) => output::show(letter, json),
                None => bail!("nothing is parked under the id {id}; see `azevents parked list`"),
            }
        }
        Command::Redrive { place, to, json } => {
            let hubs = place.hubs.open()?;
            let publisher = hubs.publisher(to.as_str());
            // Before anything is taken from its place: does the hub exist?
            publisher.publish(&[]).await.map_err(|failed| failed.error)?;
            let handler = Redrive::new(publisher);
            let sent = match place.kind()? {
                args::Kind::Queue(queue) => queue::redrive(&place, queue, handler).await?,
                args::Kind::Hub(hub) => hub::redrive(&place, &hubs, hub, handler).await?,
                args::Kind::Container(name) => container::redrive(&place, name, handler).await?,
            };
            output::sent(sent, &to, json)
        }
    }
}

/// What is parked, in the order in which it would be sent again.
async fn list(place: &Place) -> Result<Vec<Parked>> {
    let mut letters = match place.kind()? {
        args::Kind::Queue(queue) => queue::list(place, queue).await?,
        args::Kind::Hub(hub) => hub::list(place, hub).await?,
        args::Kind::Container(name) => container::list(place, name).await?,
    };
    letters.retain(|letter| place.filter.admits(letter));
    Ok(letters)
}
