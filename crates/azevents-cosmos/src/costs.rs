//! Telling observers what each request has cost, as the service says in its answer.

use std::sync::Arc;

use azevents_core::{Cost, CostObserver, CostOf};
use azure_data_cosmos::diagnostics::DiagnosticsContext;

/// Who is told. Cheap to clone; mostly nobody.
#[derive(Clone, Default)]
pub(crate) struct Costs(Arc<[Arc<dyn CostObserver>]>);

impl Costs {
    /// These and one more.
    pub(crate) fn with(&self, observer: Arc<dyn CostObserver>) -> Self {
        Self(self.0.iter().cloned().chain([observer]).collect())
    }

    /// Whether anybody is told, so that nothing is counted for nobody.
    pub(crate) fn is_watched(&self) -> bool {
        !self.0.is_empty()
    }

    /// One call of the SDK, which may have made several requests. `operations` is how many each held.
    pub(crate) fn observe(
        &self,
        of: CostOf<'_>,
        diagnostics: Option<&DiagnosticsContext>,
        operations: usize,
        sent: usize,
        received: usize,
    ) {
        if !self.is_watched() {
            return;
        }
        let requests = diagnostics.map_or(1, |diagnostics| diagnostics.request_count() as u64);
        let cost = Cost {
            requests,
            operations: requests * operations as u64,
            sent: requests * sent as u64,
            received: received as u64,
            request_units: diagnostics.map_or(0.0, |diagnostics| diagnostics.total_request_charge().value()),
        };
        for observer in self.0.iter() {
            observer.observe(of, cost);
        }
    }
}
