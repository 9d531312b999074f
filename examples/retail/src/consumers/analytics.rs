//! Lines by day.

use std::sync::Arc;

use async_trait::async_trait;
use azevents::aggregate::decode_message;
use azevents::{Delivery, Handled, Handler, HandlerError, Message, ReadModel};
use serde::{Deserialize, Serialize};

use super::{Arrival, Name, update, version_of};
use crate::order::OrderEvent;

/// Documents of this kind begin so; what follows is the day, as in 2010-12-01.
pub const DAY: &str = "day:";
/// Documents of this kind begin so; what follows is the order's stream.
pub const ARRIVAL: &str = "arrival:";

/// One day, in one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Invoice lines of the day.
    pub lines: u64,
}

/// The handler.
pub struct Analytics {
    model: Arc<dyn ReadModel>,
}

impl Analytics {
    /// Writes to `model`.
    pub fn new(model: Arc<dyn ReadModel>) -> Self {
        Self { model }
    }
}

#[async_trait]
impl Handler for Analytics {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        let event: OrderEvent = decode_message(message)?;
        let version = version_of(message)?;
        let day = event.line().invoiced_at.date();
        let update = update(Name::Analytics, message)
            .change(format!("{DAY}{day}"), |day: &mut Day| day.lines += 1)
            .change(format!("{ARRIVAL}{}", message.key), move |arrival: &mut Arrival| {
                arrival.saw(version);
            });
        Ok(self.model.apply(update).await?)
    }
}
