//! What a suite returns: a row per figure, with the peers it was measured beside.

use std::collections::BTreeMap;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Cell, CellAlignment, Table};
use serde::Serialize;

/// A measured suite.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// Its name.
    pub(crate) suite: String,
    /// Its figures.
    pub(crate) rows: Vec<Row>,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// Ours.
    pub(crate) ours: f64,
    /// The peers' by name; `None` for one that isn't installed.
    pub(crate) peers: BTreeMap<&'static str, Option<f64>>,
    /// Ours against the best peer's, above 1 is better for us; `None` without a peer.
    pub(crate) ratio: Option<f64>,
}

/// Which way a unit counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Better {
    /// Rates.
    Higher,
    /// Times, sizes, costs.
    #[allow(dead_code, reason = "used by suites that compare times")]
    Lower,
}

impl Row {
    /// A figure beside those of peers, measured in the same run. The ratio is against the best of them.
    pub(crate) fn beside(
        what: impl Into<String>,
        unit: &'static str,
        better: Better,
        ours: f64,
        peers: impl IntoIterator<Item = (&'static str, Option<f64>)>,
    ) -> Self {
        let peers: BTreeMap<_, _> = peers.into_iter().collect();
        let measured = peers.values().flatten().copied();
        let ratio = match better {
            Better::Higher => measured.reduce(f64::max).map(|best| ours / best),
            Better::Lower => measured.reduce(f64::min).map(|best| best / ours),
        };
        Self {
            peers,
            ratio,
            ..Self::alone(what, unit, ours)
        }
    }

    /// A figure that stands alone.
    pub(crate) fn alone(what: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            ours,
            peers: BTreeMap::new(),
            ratio: None,
        }
    }
}

impl Measured {
    /// The figures as a person reads them.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        table.set_header(
            ["what", "unit", "ours", "peers", "ratio"].map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
        );
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_cell_alignment(if index == 0 {
                CellAlignment::Left
            } else {
                CellAlignment::Right
            });
        }
        for row in &self.rows {
            let peers: Vec<_> = row
                .peers
                .iter()
                .map(|(name, value)| {
                    value.map_or_else(|| format!("{name}: none"), |value| format!("{name}: {value:.1}"))
                })
                .collect();
            let peers = if peers.is_empty() {
                "none".to_owned()
            } else {
                peers.join(", ")
            };
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            table.add_row([
                row.what.clone(),
                row.unit.to_owned(),
                format!("{:.1}", row.ours),
                peers,
                ratio,
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_against_the_best_peer_whichever_way_the_unit_counts() {
        let peers = [("slow", Some(10.0)), ("fast", Some(20.0)), ("absent", None)];
        assert_eq!(
            Row::beside("sends", "1/s", Better::Higher, 30.0, peers).ratio,
            Some(1.5)
        );
        assert_eq!(Row::beside("latency", "ms", Better::Lower, 5.0, peers).ratio, Some(2.0));
        assert_eq!(Row::beside("alone", "ms", Better::Lower, 5.0, []).ratio, None);
    }
}
