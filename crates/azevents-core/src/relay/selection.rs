//! Which events a reader wants.

use std::collections::BTreeSet;

use crate::stream::StreamId;

/// Which events to take; the others are passed over. The default takes all.
///
/// ```
/// use azevents_core::Selection;
///
/// let placed_orders = Selection::all().categories(["order"]).event_types(["OrderPlaced"]);
/// assert!(placed_orders.takes_stream(&"order-536365".parse().unwrap()));
/// assert!(!placed_orders.takes_type("LineAdded"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    categories: Option<BTreeSet<String>>,
    event_types: Option<BTreeSet<String>>,
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only streams of these categories: what stands before the first `-` of a stream's name.
    #[must_use]
    pub fn categories<T: Into<String>>(mut self, categories: impl IntoIterator<Item = T>) -> Self {
        self.categories = Some(categories.into_iter().map(Into::into).collect());
        self
    }

    /// Only events of these types.
    #[must_use]
    pub fn event_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.event_types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// Whether events of this stream are wanted at all.
    pub fn takes_stream(&self, stream: &StreamId) -> bool {
        self.categories
            .as_ref()
            .is_none_or(|wanted| wanted.contains(stream.category()))
    }

    /// Whether events of this type are wanted.
    pub fn takes_type(&self, event_type: &str) -> bool {
        self.event_types
            .as_ref()
            .is_none_or(|wanted| wanted.contains(event_type))
    }
}
