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

impl Row {
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
                    value.map_or_else(
                        || format!("{name}: not installed"),
                        |value| format!("{name}: {value:.1}"),
                    )
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
