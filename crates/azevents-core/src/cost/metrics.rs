//! Costs as OpenTelemetry metrics. Only the API is used: which SDK exports them is the program's choice.

use std::fmt;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

use super::{Cost, CostObserver, CostOf};

/// Counts costs with these instruments, each with the attributes `operation` and `category`:
///
/// | counter | unit |
/// | --- | --- |
/// | `azevents.store.requests` | `{request}` |
/// | `azevents.store.operations` | `{operation}` |
/// | `azevents.store.sent` | `By` |
/// | `azevents.store.received` | `By` |
/// | `azevents.store.request_units` | `{request_unit}` |
///
/// Categories should be few: each makes a time series of its own.
pub struct CostMetrics {
    requests: Counter<u64>,
    operations: Counter<u64>,
    sent: Counter<u64>,
    received: Counter<u64>,
    request_units: Counter<f64>,
}

impl CostMetrics {
    /// Makes the instruments with `meter`.
    pub fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, unit: &'static str, about: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(about).build()
        };
        Self {
            requests: counter(
                "azevents.store.requests",
                "{request}",
                "Requests, repetitions included.",
            ),
            operations: counter(
                "azevents.store.operations",
                "{operation}",
                "Operations in the requests.",
            ),
            sent: counter("azevents.store.sent", "By", "Bytes of documents sent."),
            received: counter("azevents.store.received", "By", "Bytes of documents received."),
            request_units: meter
                .f64_counter("azevents.store.request_units")
                .with_unit("{request_unit}")
                .with_description("Request units that the service has charged.")
                .build(),
        }
    }
}

impl CostObserver for CostMetrics {
    fn observe(&self, of: CostOf<'_>, cost: Cost) {
        let attributes = [
            KeyValue::new("operation", of.operation),
            KeyValue::new("category", of.category.to_owned()),
        ];
        self.requests.add(cost.requests, &attributes);
        self.operations.add(cost.operations, &attributes);
        self.sent.add(cost.sent, &attributes);
        self.received.add(cost.received, &attributes);
        self.request_units.add(cost.request_units, &attributes);
    }
}

impl fmt::Debug for CostMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CostMetrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use opentelemetry::metrics::{InstrumentBuilder, InstrumentProvider, SyncInstrument};

    use super::*;

    type Seen = Arc<Mutex<BTreeMap<String, String>>>;

    struct Recorder(Seen);

    struct Instrument(String, Seen);

    impl<T: ToString> SyncInstrument<T> for Instrument {
        fn measure(&self, value: T, attributes: &[KeyValue]) {
            let attributes: Vec<_> = attributes.iter().map(|one| one.value.to_string()).collect();
            let line = format!("{} {}", value.to_string(), attributes.join(" "));
            self.1.lock().unwrap().insert(self.0.clone(), line);
        }
    }

    impl InstrumentProvider for Recorder {
        fn u64_counter(&self, builder: InstrumentBuilder<'_, Counter<u64>>) -> Counter<u64> {
            Counter::new(Arc::new(Instrument(builder.name.into_owned(), self.0.clone())))
        }

        fn f64_counter(&self, builder: InstrumentBuilder<'_, Counter<f64>>) -> Counter<f64> {
            Counter::new(Arc::new(Instrument(builder.name.into_owned(), self.0.clone())))
        }
    }

    #[test]
    fn every_part_of_a_cost_is_counted_by_operation_and_category() {
        let seen = Seen::default();
        let metrics = CostMetrics::new(&Meter::new(Arc::new(Recorder(seen.clone()))));
        let cost = Cost {
            requests: 1,
            operations: 2,
            sent: 300,
            received: 400,
            request_units: 6.71,
        };
        metrics.observe(CostOf::new("append", "order"), cost);
        let seen = seen.lock().unwrap();
        let counted: Vec<_> = seen.iter().map(|(name, line)| format!("{name} {line}")).collect();
        assert_eq!(
            counted,
            [
                "azevents.store.operations 2 append order",
                "azevents.store.received 400 append order",
                "azevents.store.request_units 6.71 append order",
                "azevents.store.requests 1 append order",
                "azevents.store.sent 300 append order",
            ]
        );
    }
}
