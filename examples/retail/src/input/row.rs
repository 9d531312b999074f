//! One row of "Online Retail" CSV.

use csv::StringRecord;
use rust_decimal::Decimal;
use time::PrimitiveDateTime;
use time::macros::format_description;
use uuid::Uuid;

use crate::order::Line;

/// The columns, in the order of the UCI data set.
pub(super) const COLUMNS: [&str; 8] = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
];

/// A row that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The invoice it stands on.
    pub invoice: String,
    /// Its content.
    pub line: Line,
}

impl Row {
    /// Reads the eight fields of a row; `id` identifies its place in the input.
    ///
    /// # Errors
    /// One sentence that names the column and the value.
    pub fn parse(fields: &StringRecord, id: Uuid) -> Result<Self, String> {
        if fields.len() != COLUMNS.len() {
            return Err(format!("{} fields instead of {}", fields.len(), COLUMNS.len()));
        }
        let required = |index: usize| match fields[index].trim() {
            "" => Err(format!("{} is empty", COLUMNS[index])),
            value => Ok(value.to_owned()),
        };
        let optional = |index: usize| Some(fields[index].trim().to_owned()).filter(|value| !value.is_empty());
        let invoice = required(0)?;
        crate::order::stream_of(&invoice).map_err(|e| format!("InvoiceNo: {e}"))?;
        Ok(Self {
            invoice,
            line: Line {
                row: id,
                stock_code: required(1)?,
                description: optional(2),
                quantity: number(&required(3)?)
                    .ok_or_else(|| format!("Quantity {:?} is not a whole number", &fields[3]))?,
                invoiced_at: date(&required(4)?).ok_or_else(|| {
                    format!(
                        "InvoiceDate {:?} is neither like 2010-12-01 08:26:00 nor like 12/1/2010 8:26",
                        &fields[4]
                    )
                })?,
                unit_price: required(5)?
                    .parse::<Decimal>()
                    .map_err(|_| format!("UnitPrice {:?} is not a decimal number", &fields[5]))?,
                // The data set's own export writes customer numbers as floating point: 17850.0.
                customer: optional(6).map(|customer| customer.trim_end_matches(".0").to_owned()),
                country: required(7)?,
            },
        })
    }
}

/// A whole number; exports of spreadsheets like to write `6.0`.
fn number(text: &str) -> Option<i64> {
    text.strip_suffix(".0").unwrap_or(text).parse().ok()
}

/// The two ways in which exports of the data set write a time.
fn date(text: &str) -> Option<PrimitiveDateTime> {
    let iso = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let us = format_description!("[month padding:none]/[day padding:none]/[year] [hour padding:none]:[minute]");
    PrimitiveDateTime::parse(text, iso)
        .or_else(|_| PrimitiveDateTime::parse(text, us))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: [&str; 8]) -> Result<Row, String> {
        Row::parse(&StringRecord::from(fields.to_vec()), Uuid::nil())
    }

    const GOOD: [&str; 8] = [
        "536365",
        "85123A",
        "HEART, \"T-LIGHT\" ",
        "6",
        "2010-12-01 08:26:00",
        "2.55",
        "17850.0",
        "United Kingdom",
    ];

    fn with(index: usize, value: &'static str) -> [&'static str; 8] {
        let mut fields = GOOD;
        fields[index] = value;
        fields
    }

    #[test]
    fn a_good_row_is_read_exactly() {
        let row = parse(GOOD).unwrap();
        assert_eq!(row.invoice, "536365");
        assert_eq!(row.line.amount().to_string(), "15.30");
        assert_eq!(row.line.customer.as_deref(), Some("17850"));
        assert_eq!(row.line.description.as_deref(), Some("HEART, \"T-LIGHT\""));
    }

    #[test]
    fn missing_customers_and_descriptions_are_fine_and_both_dates_are_read() {
        assert_eq!(parse(with(6, "")).unwrap().line.customer, None);
        assert_eq!(parse(with(2, "")).unwrap().line.description, None);
        assert_eq!(
            parse(with(4, "12/1/2010 8:26")).unwrap().line.invoiced_at,
            parse(GOOD).unwrap().line.invoiced_at
        );
        assert_eq!(parse(with(3, "-12")).unwrap().line.quantity, -12);
        assert_eq!(parse(with(5, "0")).unwrap().line.amount(), Decimal::ZERO);
    }

    #[test]
    fn a_bad_value_is_named_with_its_column() {
        for (index, value, says) in [
            (0, "  ", "InvoiceNo is empty"),
            (3, "six", "Quantity \"six\""),
            (4, "yesterday", "InvoiceDate \"yesterday\""),
            (5, "2,55", "UnitPrice \"2,55\""),
            (7, "", "Country is empty"),
        ] {
            let reason = parse(with(index, value)).unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
    }
}
