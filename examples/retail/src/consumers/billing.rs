//! Revenue by country.

use std::sync::Arc;

use async_trait::async_trait;
use azevents::aggregate::decode_message;
use azevents::{Delivery, Handled, Handler, HandlerError, Message, ReadModel};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Name, update};
use crate::order::OrderEvent;

/// Documents of this kind begin so; what follows is the country.
pub const COUNTRY: &str = "country:";

/// One country, in one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revenue {
    /// Pounds, exact.
    pub revenue: Decimal,
}

/// The handler.
pub struct Billing {
    model: Arc<dyn ReadModel>,
}

impl Billing {
    /// Writes to `model`.
    pub fn new(model: Arc<dyn ReadModel>) -> Self {
        Self { model }
    }
}

#[async_trait]
impl Handler for Billing {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        let event: OrderEvent = decode_message(message)?;
        let amount = event.line().amount();
        let update = update(Name::Billing, message).change(
            format!("{COUNTRY}{}", event.line().country),
            move |country: &mut Revenue| country.revenue += amount,
        );
        Ok(self.model.apply(update).await?)
    }
}
