//! One line of an invoice.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::PrimitiveDateTime;
use uuid::Uuid;

/// What an invoice is, by the first letter of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An ordinary invoice.
    Sale,
    /// `C…`: goods taken back, quantities are negative.
    Cancellation,
    /// `A…`: an adjustment for bad debt.
    Adjustment,
}

impl Kind {
    /// The kind of an invoice number.
    pub fn of(invoice: &str) -> Self {
        match invoice.as_bytes().first() {
            Some(b'C' | b'c') => Self::Cancellation,
            Some(b'A' | b'a') => Self::Adjustment,
            _ => Self::Sale,
        }
    }
}

time::serde::format_description!(
    invoice_time,
    PrimitiveDateTime,
    "[year]-[month]-[day]T[hour]:[minute]:[second]"
);

/// One row of the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Identifies the row: its file and its place in it. Two rows with the same content are two lines.
    pub row: Uuid,
    /// The article.
    pub stock_code: String,
    /// The article's name, where the input has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Pieces; negative when taken back.
    pub quantity: i64,
    /// Pounds per piece.
    pub unit_price: Decimal,
    /// The invoice's time, on the shop's clock.
    #[serde(with = "invoice_time")]
    pub invoiced_at: PrimitiveDateTime,
    /// The customer's number, where the input has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Where the customer lives.
    pub country: String,
}

impl Line {
    /// Quantity times unit price, exact.
    pub fn amount(&self) -> Decimal {
        Decimal::from(self.quantity) * self.unit_price
    }
}
