//! What the tests share: the figures that a report must show, computed from the input without any of
//! the parts under test.

use std::collections::{BTreeMap, BTreeSet};

use retail::report::{Consumers, Outcome, Published, Report};
use rust_decimal::Decimal;

/// The figures of well-formed CSV.
pub(crate) fn expected(csv: &str) -> Report {
    let mut report = Report::default();
    let mut invoices = BTreeSet::new();
    for record in csv::Reader::from_reader(csv.as_bytes()).records() {
        let record = record.expect("well-formed CSV");
        let quantity: i64 = record[3].parse().expect("a quantity");
        let price: Decimal = record[5].parse().expect("a price");
        report.rows += 1;
        invoices.insert(record[0].to_owned());
        *report.revenue_by_country.entry(record[7].to_owned()).or_default() += Decimal::from(quantity) * price;
        *report.units_by_stock_code.entry(record[1].to_owned()).or_default() += quantity;
        *report.lines_by_day.entry(record[4][..10].to_owned()).or_default() += 1;
    }
    report.events = report.rows;
    report.orders = invoices.len() as u64;
    report.cancelled = invoices.iter().filter(|invoice| invoice.starts_with('C')).count() as u64;
    report.adjusted = invoices.iter().filter(|invoice| invoice.starts_with('A')).count() as u64;
    report.revenue_total = report.revenue_by_country.values().sum();
    report.published = Published {
        servicebus: report.rows,
        eventhubs: report.rows,
    };
    let handled = Outcome {
        handled: report.rows,
        ..Outcome::default()
    };
    report.consumers = Consumers {
        billing: handled,
        fulfilment: handled,
        analytics: handled,
    };
    report
}

/// A report without what may differ from run to run: the time it took, and how many copies arrived.
pub(crate) fn settled(mut report: Report) -> Report {
    report.elapsed_ms = 0;
    report.rejects.clear();
    let consumers = &mut report.consumers;
    for outcome in [
        &mut consumers.billing,
        &mut consumers.fulfilment,
        &mut consumers.analytics,
    ] {
        outcome.duplicates = 0;
    }
    report
}

/// Copies that the consumers have recognised.
pub(crate) fn duplicates(report: &Report) -> BTreeMap<&'static str, u64> {
    let consumers = &report.consumers;
    [
        ("billing", consumers.billing.duplicates),
        ("fulfilment", consumers.fulfilment.duplicates),
        ("analytics", consumers.analytics.duplicates),
    ]
    .into()
}
