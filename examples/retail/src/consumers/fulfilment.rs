//! Units by stock code, and every order with the arrival of its lines.

use std::sync::Arc;

use async_trait::async_trait;
use azevents::aggregate::decode_message;
use azevents::{Delivery, Handled, Handler, HandlerError, Message, ReadModel};
use serde::{Deserialize, Serialize};

use super::{Arrival, Name, update, version_of};
use crate::order::{Kind, OrderEvent};

/// Documents of this kind begin so; what follows is the stock code.
pub const STOCK: &str = "stock:";
/// Documents of this kind begin so; what follows is the order's stream.
pub const ORDER: &str = "order:";

/// One article, in one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Pieces sold, less those taken back.
    pub units: i64,
}

/// One order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSeen {
    /// What kind of invoice it is; known from the first line on.
    pub kind: Option<Kind>,
    /// How far its lines have arrived.
    pub arrival: Arrival,
}

/// The handler.
pub struct Fulfilment {
    model: Arc<dyn ReadModel>,
}

impl Fulfilment {
    /// Writes to `model`.
    pub fn new(model: Arc<dyn ReadModel>) -> Self {
        Self { model }
    }
}

#[async_trait]
impl Handler for Fulfilment {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        let event: OrderEvent = decode_message(message)?;
        let version = version_of(message)?;
        let (kind, quantity) = (event.kind(), event.line().quantity);
        let update = update(Name::Fulfilment, message)
            .change(
                format!("{STOCK}{}", event.line().stock_code),
                move |stock: &mut Stock| stock.units += quantity,
            )
            .change(format!("{ORDER}{}", message.key), move |order: &mut OrderSeen| {
                order.kind = Some(kind);
                order.arrival.saw(version);
            });
        Ok(self.model.apply(update).await?)
    }
}
