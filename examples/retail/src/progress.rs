//! Progress bars on a terminal; nothing elsewhere.

use std::fmt::Write;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::consumers::Name;

/// One bar for the input, one per consumer.
pub struct Bars {
    all: MultiProgress,
    ingest: ProgressBar,
    consumers: [(Name, ProgressBar); 3],
}

impl Bars {
    /// Bars for about `rows` rows; invisible unless `shown` and on a terminal.
    pub fn new(rows: u64, shown: bool) -> Self {
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let all = MultiProgress::with_draw_target(target);
        let rate = |state: &ProgressState, out: &mut dyn Write| {
            // A bar that can't be drawn is no reason to stop.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        let style =
            ProgressStyle::with_template("{prefix:>10} {bar:40.cyan/blue} {human_pos:>8} / {human_len:8} {rate:>10}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .with_key("rate", rate);
        let bar = |name: &'static str| all.add(ProgressBar::new(rows).with_style(style.clone()).with_prefix(name));
        let ingest = bar("rows");
        let consumers = Name::ALL.map(|name| (name, bar(name.as_str())));
        Self { all, ingest, consumers }
    }

    /// Shows how far things are.
    pub fn show(&self, rows: u64, handled: impl Fn(Name) -> u64) {
        self.ingest.set_position(rows);
        for (name, bar) in &self.consumers {
            bar.set_position(handled(*name));
        }
    }

    /// Corrects the estimate once the input has been read.
    pub fn set_length(&self, rows: u64, events: u64) {
        self.ingest.set_length(rows);
        self.consumers.iter().for_each(|(_, bar)| bar.set_length(events));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // Nothing worth keeping on the screen: the report follows. A terminal that has gone away is no error.
        let _ = self.all.clear();
    }
}
