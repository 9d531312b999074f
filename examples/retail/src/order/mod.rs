//! One invoice is one `Order`: an aggregate whose events are its lines.

mod line;

use std::collections::HashSet;

use azevents::{Aggregate, StreamId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use line::{Kind, Line};

/// What can happen to an order. The variant says what kind of invoice the line stands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderEvent {
    /// Something was sold.
    LineAdded(Line),
    /// Something was taken back: a line of a `C…` invoice.
    LineCancelled(Line),
    /// The books were put right: a line of an `A…` invoice.
    LineAdjusted(Line),
}

impl OrderEvent {
    /// The line as an event of its kind.
    pub fn of(kind: Kind, line: Line) -> Self {
        match kind {
            Kind::Sale => Self::LineAdded(line),
            Kind::Cancellation => Self::LineCancelled(line),
            Kind::Adjustment => Self::LineAdjusted(line),
        }
    }

    /// The line.
    pub fn line(&self) -> &Line {
        match self {
            Self::LineAdded(line) | Self::LineCancelled(line) | Self::LineAdjusted(line) => line,
        }
    }

    /// The kind of invoice.
    pub fn kind(&self) -> Kind {
        match self {
            Self::LineAdded(_) => Kind::Sale,
            Self::LineCancelled(_) => Kind::Cancellation,
            Self::LineAdjusted(_) => Kind::Adjustment,
        }
    }
}

/// Rows of one invoice that belong together.
#[derive(Debug, Clone)]
pub struct RecordLines {
    /// The kind of invoice.
    pub kind: Kind,
    /// In file order.
    pub lines: Vec<Line>,
}

/// An order knows which input rows it holds already, so that reading the same input again adds nothing.
#[derive(Debug, Default)]
pub struct Order {
    rows: HashSet<Uuid>,
}

impl Aggregate for Order {
    type Event = OrderEvent;
    type Command = RecordLines;
    type Refusal = std::convert::Infallible;

    fn decide(&self, command: &RecordLines) -> Result<Vec<OrderEvent>, Self::Refusal> {
        let new = command.lines.iter().filter(|line| !self.rows.contains(&line.row));
        Ok(new.map(|line| OrderEvent::of(command.kind, line.clone())).collect())
    }

    fn evolve(&mut self, event: &OrderEvent) {
        self.rows.insert(event.line().row);
    }
}

/// The stream of an invoice.
///
/// # Errors
/// When the invoice number is too long for a stream's name.
pub fn stream_of(invoice: &str) -> azevents::Result<StreamId> {
    StreamId::new(format!("order-{invoice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(row: u128) -> Line {
        Line {
            row: Uuid::from_u128(row),
            stock_code: "85123A".into(),
            description: None,
            quantity: 6,
            unit_price: "2.55".parse().unwrap(),
            invoiced_at: time::macros::datetime!(2010-12-01 08:26),
            customer: None,
            country: "United Kingdom".into(),
        }
    }

    #[test]
    fn rows_that_are_already_there_are_not_added_again_and_identical_rows_are_separate_lines() {
        let mut order = Order::default();
        let command = RecordLines {
            kind: Kind::Sale,
            lines: vec![line(1), line(2)],
        };
        let events = order.decide(&command).unwrap();
        assert_eq!(events.len(), 2, "same content, different rows");
        for event in &events {
            order.evolve(event);
        }
        assert_eq!(order.decide(&command).unwrap(), []);
        let more = RecordLines {
            kind: Kind::Sale,
            lines: vec![line(2), line(3)],
        };
        assert_eq!(order.decide(&more).unwrap().len(), 1);
    }
}
