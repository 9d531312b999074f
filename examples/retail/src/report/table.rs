//! The report as a person likes to read it.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Cell, CellAlignment, Table};

use super::{Outcome, Report, pounds};
use crate::timing::Timings;

/// Rows of the long lists that are worth a look.
const TOP: usize = 8;

/// Prints the report to standard output.
pub fn print(report: &Report, timings: Option<&Timings>) {
    println!("{}\n", summary(report));
    println!("{}\n", countries(report));
    println!("{}", consumers(report));
    if let Some(timings) = timings {
        println!("\n{}", timings.table());
    }
    for rejected in report.rejects.iter().take(TOP) {
        println!("rejected {}:{}: {}", rejected.file, rejected.line, rejected.reason);
    }
    if report.rejects.len() > TOP {
        println!(
            "… and {} more rejected rows, all kept in the read models' partition {}",
            report.rejects.len() - TOP,
            crate::rejects::PARTITION
        );
    }
}

/// A table with a bold header, first column left, the others right.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(
        header
            .iter()
            .map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
    );
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if index == 0 {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
    }
    table
}

/// A whole number with thousands separated.
pub fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn summary(report: &Report) -> Table {
    let mut table = table(&["orders", ""]);
    let days = (
        report.lines_by_day.keys().next(),
        report.lines_by_day.keys().next_back(),
    );
    if let (Some(first), Some(last)) = days {
        let days = if first == last {
            first.clone()
        } else {
            format!("{first} to {last}")
        };
        table.add_row(["days".to_owned(), days]);
    }
    for (what, count) in [
        ("rows read", report.rows),
        ("rows rejected", report.rejected),
        ("invoices", report.orders),
        ("  of them cancellations", report.cancelled),
        ("  of them adjustments", report.adjusted),
        ("events to Service Bus", report.published.servicebus),
        ("events to Event Hubs", report.published.eventhubs),
        ("articles", report.units_by_stock_code.len() as u64),
    ] {
        table.add_row([what.to_owned(), grouped(count)]);
    }
    table.add_row(["revenue in pounds".to_owned(), pounds(report.revenue_total)]);
    table
}

fn countries(report: &Report) -> Table {
    let mut table = table(&["country", "revenue in pounds"]);
    let mut countries: Vec<_> = report.revenue_by_country.iter().collect();
    countries.sort_by(|a, b| b.1.cmp(a.1));
    for (country, revenue) in countries.iter().take(TOP) {
        table.add_row([(*country).clone(), pounds(**revenue)]);
    }
    if countries.len() > TOP {
        let rest = countries[TOP..].iter().map(|(_, revenue)| **revenue).sum();
        table.add_row([format!("{} others", countries.len() - TOP), pounds(rest)]);
    }
    table
}

fn consumers(report: &Report) -> Table {
    let mut table = table(&["consumer", "handled", "duplicates", "dead-lettered", "out of order"]);
    let consumers = &report.consumers;
    for (name, outcome) in [
        ("billing", consumers.billing),
        ("fulfilment", consumers.fulfilment),
        ("analytics", consumers.analytics),
    ] {
        let Outcome {
            handled,
            duplicates,
            dead_lettered,
            order_violations,
        } = outcome;
        let counts = [handled, duplicates, dead_lettered, order_violations].map(grouped);
        table.add_row(std::iter::once(name.to_owned()).chain(counts));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_separated() {
        let all: Vec<_> = [0_i64, 999, 1000, 42_481, -1_234_567]
            .into_iter()
            .map(grouped)
            .collect();
        assert_eq!(all, ["0", "999", "1,000", "42,481", "-1,234,567"]);
    }
}
